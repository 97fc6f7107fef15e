//! The token request and its answer (RFC 6749 sections 4.1.3, 4.1.4, 5.1 and 5.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::http_client::{ANSWER_LIMIT, Deadline, HttpClient};
use super::json::Object;
use super::settings::ClientAuth;
use super::{CodeExchange, ProviderError, Registration};

/// What stays as it is in Basic credentials: with it, providers that decode them and providers that do not
/// read the same.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The errors of RFC 6749 section 5.2. Nothing else of an error answer goes anywhere.
const KNOWN_ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// The answer of a successful token request.
pub(super) struct Tokens {
    /// For UserInfo or the profile endpoints.
    pub(super) access_token: SecretString,
    /// Not verified yet.
    pub(super) id_token: Option<SecretString>,
}

/// Exchanges the code: sent once, in the body, with the verifier; never repeated, because a second use of a
/// code makes providers revoke what the first one gave (RFC 6749 section 4.1.2).
pub(super) async fn exchange(
    http: &HttpClient,
    registration: &Registration,
    endpoint: &Url,
    exchange: &CodeExchange<'_>,
    deadline: Deadline,
) -> Result<Tokens, ProviderError> {
    let request = request(http, registration, endpoint, exchange);
    let answer = http.send("token endpoint", request, ANSWER_LIMIT, deadline).await?;
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

/// The error that an error answer names, where it is a known one.
fn named_error((status, document): (StatusCode, Option<Object>)) -> Option<ProviderError> {
    let document = document?;
    let named = document.get("error")?.as_str()?;
    let known = KNOWN_ERRORS.into_iter().find(|known| *known == named)?;
    Some(ProviderError::Unusable(format!("token endpoint: status {}, error {known}", status.as_u16())))
}
