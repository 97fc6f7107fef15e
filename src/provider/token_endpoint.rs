//! The token request and its response (RFC 6749 sections 4.1.3, 4.1.4, 5.1 and 5.2).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use serde_json_path::JsonPath;
use url::Url;
use zeroize::Zeroizing;

use super::dialect::{Dialect, TokenAnswer, TokenRequest, claims_of};
use super::http_client::{Deadline, HttpClient, RESPONSE_LIMIT};
use super::json::Object;
use super::settings::ClientAuth;
use super::{CodeExchange, ProviderError, Registration};

/// The characters that are not percent-encoded in Basic credentials. With this set, ordinary credentials are the same for
/// providers that decode them and for providers that do not.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The error codes of RFC 6749 section 5.2, and those of GitHub. No other text of an error response is used or logged.
const KNOWN_ERRORS: [&str; 9] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "bad_verification_code",
    "incorrect_client_credentials",
    "redirect_uri_mismatch",
];

/// Members in which providers report an error as a number.
const ERROR_NUMBERS: [&str; 4] = ["error", "error_code", "errcode", "code"];

/// The response to a successful token request.
pub(super) struct Tokens {
    /// The access token, for UserInfo or the profile endpoints.
    pub(super) access_token: SecretString,
    /// The ID token, not verified yet.
    pub(super) id_token: Option<SecretString>,
    /// The rest of the response: what it says about the user.
    pub(super) claims: Object,
}

/// Exchanges the code, which is sent in the body, together with the verifier. The request is never retried, because
/// providers revoke the tokens of a code that is used twice (RFC 6749 section 4.1.2).
pub(super) async fn exchange(
    http: &HttpClient,
    registration: &Registration,
    endpoint: &Url,
    exchange: &CodeExchange<'_>,
    dialect: &Dialect,
    deadline: Deadline,
) -> Result<Tokens, ProviderError> {
    let request = request(http, registration, endpoint, exchange, dialect);
    let answer = http.send_once("token endpoint", request, RESPONSE_LIMIT, deadline).await?;
    let answer = if dialect.token_answer.accepts_undeclared_json() { answer.into_json() } else { answer };
    let document = match dialect.token_answer {
        TokenAnswer::Form => answer.form(),
        TokenAnswer::Json | TokenAnswer::UndeclaredJson => answer.object(),
    };
    let document = match document {
        Ok(document) => document,
        Err(error) => return Err(named_error(answer.into_parts()).unwrap_or(error)),
    };
    read(document, dialect).map_err(|(problem, document)| {
        named_error((StatusCode::OK, Some(document)))
            .unwrap_or_else(|| ProviderError::Unusable(format!("token endpoint: {problem}")))
    })
}

fn request(
    http: &HttpClient,
    registration: &Registration,
    endpoint: &Url,
    exchange: &CodeExchange<'_>,
    dialect: &Dialect,
) -> RequestBuilder {
    let names = &dialect.token_names;
    let mut parameters = vec![
        (names.of("grant_type"), "authorization_code"),
        (names.of("code"), exchange.code),
        (names.of("redirect_uri"), registration.redirect_uri.as_str()),
        (names.of("code_verifier"), exchange.verifier.expose()),
    ];
    if registration.client_auth == ClientAuth::Post {
        parameters.push((names.of("client_id"), &registration.client_id));
        parameters.push((names.of("client_secret"), registration.client_secret.expose_secret()));
    }
    let further = registration.token_parameters.iter();
    parameters.extend(further.map(|(name, value)| (name.as_str(), value.as_str())));
    let request = match dialect.token_request {
        TokenRequest::Form => http.post(endpoint).form(&parameters),
        TokenRequest::Json => http.post(endpoint).json(&BTreeMap::from_iter(parameters)),
        TokenRequest::Query => http.get(endpoint).query(&parameters),
    };
    match registration.client_auth {
        ClientAuth::Basic => request.header(AUTHORIZATION, basic_credentials(registration)),
        ClientAuth::Post => request,
    }
}

/// `Basic base64(encoded id ":" encoded secret)` (RFC 6749 section 2.3.1).
#[expect(clippy::expect_used, reason = "base64 is always a valid header value")]
fn basic_credentials(registration: &Registration) -> HeaderValue {
    let id = utf8_percent_encode(&registration.client_id, UNRESERVED);
    let secret = utf8_percent_encode(registration.client_secret.expose_secret(), UNRESERVED);
    let credentials = Zeroizing::new(format!("{id}:{secret}"));
    let header = Zeroizing::new(format!("Basic {}", STANDARD.encode(credentials.as_bytes())));
    let mut header = HeaderValue::from_str(&header).expect("base64 is visible ASCII");
    header.set_sensitive(true);
    header
}

fn read(document: Object, dialect: &Dialect) -> Result<Tokens, (&'static str, Object)> {
    let text = |name: &str| document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let access_token = only_text(&dialect.access_token, &document);
    let bearer = match document.get("token_type") {
        None => dialect.token_type_optional,
        Some(kind) => kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")),
    };
    let id_token = text("id_token").map(SecretString::from);
    match access_token {
        None => Err(("access_token is missing", document)),
        Some(_) if !bearer => Err(("token_type is not Bearer", document)),
        Some(access_token) => {
            let claims = claims_of(document, &access_token);
            Ok(Tokens { access_token: access_token.into(), id_token, claims })
        }
    }
}

fn only_text(path: &JsonPath, document: &Object) -> Option<String> {
    match path.query(&Value::Object(document.clone())).all().as_slice() {
        [Value::String(text)] if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// The error code of an error response, if it is a known one or a number.
fn named_error((status, document): (StatusCode, Option<Object>)) -> Option<ProviderError> {
    let document = document?;
    let named = document.get("error").and_then(Value::as_str);
    let known = named.and_then(|named| KNOWN_ERRORS.into_iter().find(|known| *known == named));
    let number = || {
        let numbers = ERROR_NUMBERS.iter().filter_map(|name| document.get(*name)?.as_i64());
        numbers.filter(|number| *number != 0).map(|number| number.to_string()).next()
    };
    let code = known.map(str::to_owned).or_else(number)?;
    Some(ProviderError::Unusable(format!("token endpoint: status {}, error {code}", status.as_u16())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::keys::changed;
    use super::super::fake::server::{Reply, Server};
    use super::super::fake::{Attempt, CLIENT_ID, CLIENT_SECRET, kind, registration};
    use super::*;

    async fn sent_to(server: &Server, client_auth: ClientAuth) -> Result<Tokens, ProviderError> {
        let registration = registration(|settings| settings.client_auth = client_auth);
        let (http, attempt) = (&registration.http, Attempt::new());
        let endpoint = server.url("/token");
        exchange(http, &registration, &endpoint, &attempt.exchange(), &Dialect::default(), http.deadline())
            .await
    }

    async fn answered(reply: Reply) -> Result<Tokens, ProviderError> {
        sent_to(&Server::start(move |_| reply.clone()), ClientAuth::Basic).await
    }

    fn good() -> Value {
        json!({"access_token": "at", "token_type": "Bearer", "id_token": "it"})
    }

    #[tokio::test]
    async fn the_code_is_sent_once_in_the_body_with_its_verifier() {
        for client_auth in [ClientAuth::Basic, ClientAuth::Post] {
            let server = Server::start(|_| Reply::json(&good()));
            assert_eq!(sent_to(&server, client_auth).await.unwrap().access_token.expose_secret(), "at");
            let [request] = server.received().try_into().unwrap();
            assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/token"));
            assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
            assert_eq!(request.header("accept"), Some("application/json"));
            assert_eq!(request.form("grant_type").unwrap(), "authorization_code");
            assert_eq!(request.form("code").unwrap(), "the code&=+");
            assert_eq!(request.form("code_verifier").unwrap(), Attempt::new().verifier.expose());
            let redirect_uri = request.form("redirect_uri").unwrap();
            assert_eq!(redirect_uri, "https://auth.example.com/oauth2_callback/corp");
        }
    }

    #[tokio::test]
    async fn basic_credentials_go_into_the_header_only() {
        let server = Server::start(|_| Reply::json(&good()));
        sent_to(&server, ClientAuth::Basic).await.unwrap();
        let request = &server.received()[0];
        let header = request.header("authorization").unwrap().strip_prefix("Basic ").unwrap();
        let credentials = String::from_utf8(STANDARD.decode(header).unwrap()).unwrap();
        assert_eq!(credentials, "broker%3Aa%20b:s%2Be%2Fc%25r~et");
        assert_eq!((request.form("client_id"), request.form("client_secret")), (None, None));
    }

    #[tokio::test]
    async fn post_credentials_go_into_the_body_only() {
        let server = Server::start(|_| Reply::json(&good()));
        sent_to(&server, ClientAuth::Post).await.unwrap();
        let request = &server.received()[0];
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.form("client_id").unwrap(), CLIENT_ID);
        assert_eq!(request.form("client_secret").unwrap(), CLIENT_SECRET);
    }

    #[tokio::test]
    async fn the_code_is_never_sent_again() {
        let no_answer = Reply::Raw(Vec::new());
        for reply in [no_answer, Reply::status(500), Reply::status(503), Reply::status(400)] {
            let server = Server::start(move |_| reply.clone());
            assert!(sent_to(&server, ClientAuth::Basic).await.is_err());
            assert_eq!(server.received().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_bearer_token_in_any_case_is_accepted() {
        for token_type in ["Bearer", "bearer", "BEARER"] {
            let reply =
                Reply::json(&changed(&good(), json!({"token_type": token_type, "expires_in": "300"})));
            let tokens = answered(reply).await.unwrap();
            assert_eq!(tokens.id_token.unwrap().expose_secret(), "it");
        }
    }

    #[tokio::test]
    async fn other_responses_are_errors() {
        let changes = [
            json!({"access_token": null}),
            json!({"access_token": ""}),
            json!({"access_token": 1}),
            json!({"token_type": null}),
            json!({"token_type": "mac"}),
            json!({"token_type": "DPoP"}),
            json!({"token_type": ["Bearer"]}),
        ];
        for change in changes {
            let reply = Reply::json(&changed(&good(), change.clone()));
            assert_eq!(kind(answered(reply).await), "unusable", "{change}");
        }
        let twice = r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#;
        assert_eq!(kind(answered(Reply::text(twice)).await), "unusable");
        let form = Reply::new(200, "content-type: application/x-www-form-urlencoded\r\n", "access_token=at");
        assert_eq!(kind(answered(form).await), "unusable");
    }

    #[tokio::test]
    async fn a_form_is_read_only_for_a_provider_that_answers_so() {
        let registration = registration(|_| {});
        let (http, attempt) = (&registration.http, Attempt::new());
        let form =
            Dialect { token_answer: TokenAnswer::Form, token_type_optional: true, ..Dialect::default() };
        for (body, expected) in [
            ("access_token=a%2Bt&expires_in=3600", "ok"),
            ("access_token=at&token_type=bearer", "ok"),
            ("access_token=at&token_type=mac", "unusable"),
            ("access_token=at&access_token=other", "unusable"),
            ("access_token=", "unusable"),
            ("error=invalid_grant", "unusable"),
            (r#"{"access_token":"at"}"#, "unusable"),
        ] {
            let reply = Reply::new(200, "content-type: text/plain\r\n", body);
            let server = Server::start(move |_| reply.clone());
            let endpoint = server.url("/token");
            let tokens =
                exchange(http, &registration, &endpoint, &attempt.exchange(), &form, http.deadline()).await;
            if body.starts_with("access_token=a%2Bt") {
                assert_eq!(tokens.as_ref().unwrap().access_token.expose_secret(), "a+t");
            }
            assert_eq!(kind(tokens), expected, "{body}");
        }
    }

    #[tokio::test]
    async fn only_known_error_codes_are_reported() {
        let json = "content-type: application/json\r\n";
        for (status, body, named) in [
            (401, r#"{"error":"invalid_client","error_description":"private"}"#, "error invalid_client"),
            (400, r#"{"error":"invalid_grant"}"#, "error invalid_grant"),
            (200, r#"{"error":"invalid_grant"}"#, "error invalid_grant"),
            (400, r#"{"error":"private"}"#, "status 400"),
            (400, r#"{"error":["private"]}"#, "status 400"),
            (403, "private", "status 403"),
        ] {
            let error = answered(Reply::new(status, json, body)).await.err().unwrap();
            let text = error.to_string();
            assert!(text.ends_with(named) && !text.contains("private"), "{text}");
            assert_eq!(kind::<()>(Err(error)), "unusable");
        }
    }
}
