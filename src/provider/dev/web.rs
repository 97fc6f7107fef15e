//! Small parts of requests and answers that every endpoint needs.

use std::collections::BTreeMap;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The parameters of a request, each given once.
pub(super) type Params = BTreeMap<String, String>;

/// Reads a query or a form. Nothing, if a name is repeated (RFC 6749 section 3.1).
pub(super) fn parse(encoded: &[u8]) -> Option<Params> {
    let mut params = Params::new();
    for (name, value) in url::form_urlencoded::parse(encoded) {
        if params.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(params)
}

/// The parameters of an endpoint that takes GET with a query and POST with a form.
pub(super) fn query_or_form(request: &HttpRequest, body: &[u8]) -> Option<Params> {
    if *request.method() == Method::POST { parse(body) } else { parse(request.query_string().as_bytes()) }
}

/// The token of `Authorization: Bearer …` (RFC 6750 section 2.1).
pub(super) fn bearer(request: &HttpRequest) -> Option<&str> {
    authorization(request, "bearer")
}

/// User and password of `Authorization: Basic …`, decoded as RFC 6749 section 2.3.1 wants it.
pub(super) fn basic(request: &HttpRequest) -> Option<(String, String)> {
    let decoded = STANDARD.decode(authorization(request, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((form_decode(user), form_decode(password)))
}

fn authorization<'a>(request: &'a HttpRequest, wanted: &str) -> Option<&'a str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then_some(rest)
}

fn form_decode(text: &str) -> String {
    // A form of one field: the escaped separators cannot end it early.
    let whole = format!("x={}", text.replace('&', "%26"));
    url::form_urlencoded::parse(whole.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// A JSON answer that must not be cached.
pub(super) fn json(status: StatusCode, body: &Value) -> HttpResponse {
    uncached(status).json(body)
}

/// An OAuth error (RFC 6749 section 5.2).
pub(super) fn oauth_error(status: StatusCode, error: &str, description: &str) -> HttpResponse {
    json(status, &json!({"error": error, "error_description": description}))
}

/// 401 as RFC 6750 section 3 wants it.
pub(super) fn unauthorized() -> HttpResponse {
    let challenge = HeaderValue::from_static(r#"Bearer realm="dev-provider", error="invalid_token""#);
    uncached(StatusCode::UNAUTHORIZED)
        .insert_header((header::WWW_AUTHENTICATE, challenge))
        .json(json!({"error": "invalid_token"}))
}

/// An answer with `Cache-Control: no-store`.
pub(super) fn uncached(status: StatusCode) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn repeated_parameters_are_refused() {
        assert_eq!(parse(b"a=1&b=%C3%BC+x").unwrap()["b"], "ü x");
        assert_eq!(parse(b"a=1&a=1"), None);
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        let credentials = STANDARD.encode("broker:s%3Ae%26cr+et%25");
        let request = TestRequest::default().insert_header(("Authorization", format!("basic {credentials}")));
        assert_eq!(basic(&request.to_http_request()), Some(("broker".into(), "s:e&cr et%".into())));
    }
}
