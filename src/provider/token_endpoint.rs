//! The token request and its response (RFC 6749 sections 4.1.3, 4.1.4, 5.1 and 5.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::http_client::{Deadline, HttpClient, RESPONSE_LIMIT};
use super::json::Object;
use super::settings::ClientAuth;
use super::{CodeExchange, ProviderError, Registration};

/// The characters that are not percent-encoded in Basic credentials. With this set, ordinary credentials are the same for
/// providers that decode them and for providers that do not.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The error codes of RFC 6749 section 5.2. No other part of an error response is used or logged.
const KNOWN_ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// The response to a successful token request.
pub(super) struct Tokens {
    /// The access token, for UserInfo or the profile endpoints.
    pub(super) access_token: SecretString,
    /// The ID token, not verified yet.
    pub(super) id_token: Option<SecretString>,
}

/// Exchanges the code, which is sent in the body, together with the verifier. The request is never retried, because
/// providers revoke the tokens of a code that is used twice (RFC 6749 section 4.1.2).
pub(super) async fn exchange(
    http: &HttpClient,
    registration: &Registration,
    endpoint: &Url,
    exchange: &CodeExchange<'_>,
    deadline: Deadline,
) -> Result<Tokens, ProviderError> {
    let request = request(http, registration, endpoint, exchange);
    let answer = http.send("token endpoint", request, RESPONSE_LIMIT, deadline).await?;
    let document = match answer.object() {
        Ok(document) => document,
        Err(error) => return Err(named_error(answer.into_parts()).unwrap_or(error)),
    };
    read(&document).map_err(|problem| {
        named_error((StatusCode::OK, Some(document)))
            .unwrap_or_else(|| ProviderError::Unusable(format!("token endpoint: {problem}")))
    })
}

fn request(
    http: &HttpClient,
    registration: &Registration,
    endpoint: &Url,
    exchange: &CodeExchange<'_>,
) -> RequestBuilder {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", exchange.code),
        ("redirect_uri", registration.redirect_uri.as_str()),
        ("code_verifier", exchange.verifier.expose()),
    ];
    let request = http.post(endpoint);
    match registration.client_auth {
        ClientAuth::Basic => request.header(AUTHORIZATION, basic_credentials(registration)).form(&form),
        ClientAuth::Post => {
            form.push(("client_id", &registration.client_id));
            form.push(("client_secret", registration.client_secret.expose_secret()));
            request.form(&form)
        }
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

fn read(document: &Object) -> Result<Tokens, &'static str> {
    let text = |name: &str| document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let access_token = text("access_token").ok_or("access_token is missing")?;
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err("token_type is not Bearer");
    }
    Ok(Tokens { access_token: access_token.into(), id_token: text("id_token").map(Into::into) })
}

/// The error code of an error response, if it is a known one.
fn named_error((status, document): (StatusCode, Option<Object>)) -> Option<ProviderError> {
    let document = document?;
    let named = document.get("error")?.as_str()?;
    let known = KNOWN_ERRORS.into_iter().find(|known| *known == named)?;
    Some(ProviderError::Unusable(format!("token endpoint: status {}, error {known}", status.as_u16())))
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
        exchange(http, &registration, &endpoint, &attempt.exchange(), http.deadline()).await
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
