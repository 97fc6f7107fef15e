//! The form of the endpoints that resource servers call: a token, and who asks (RFC 7662 section 2.1, RFC 7009 section
//! 2.1).
//!
//! The caller names itself in the `Authorization` header (`client_secret_basic`), in the form (`client_secret_post`), or by a
//! signed assertion in the form (`private_key_jwt`), in one way only (RFC 6749 section 2.3).

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use utoipa::ToSchema;

use super::body::{self, MediaType};
use super::parameters::{self, Parameters, parameters};
use crate::domain::client_assertion::ASSERTION_TYPE;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::resource_server::ClientCredentials;

parameters! {
    /// A token, and who asks.
    #[derive(ToSchema)]
    pub struct TokenForm {
        /// The token.
        #[schema(value_type = String, required, example = "tbk_…")]
        token,
        /// What kind of token it is; ignored, because the broker sees that itself.
        #[schema(example = "access_token")]
        token_type_hint,
        /// The id of the resource server; at the revocation endpoint also that of the client the token was issued to. Not
        /// beside an `Authorization` header.
        #[schema(example = "orders")]
        client_id,
        /// The secret of the resource server. Not beside an `Authorization` header.
        #[schema(example = "tbs_…")]
        client_secret,
        /// Always `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` (RFC 7523 section 2.2).
        #[schema(example = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")]
        client_assertion_type,
        /// A JWT that the resource server has signed, instead of a secret.
        #[schema(example = "eyJ…")]
        client_assertion,
    }
}

/// What was sent.
#[derive(Debug)]
pub struct TokenRequest {
    /// The presented token, unchecked.
    pub token: String,
    /// Who asks, unchecked.
    pub credentials: ClientCredentials,
}

/// Reads a request.
///
/// # Errors
/// `unsupported_media_type` if it is not a form; `invalid_request` if the token is missing, repeated or in the address,
/// and if the caller names itself in two ways; `invalid_client` (401) for an unreadable or unsupported `Authorization`
/// header.
pub async fn read(request: &HttpRequest, payload: web::Payload) -> Result<TokenRequest> {
    let query = request.query_string().as_bytes();
    if ["token", "client_secret", "client_assertion"].iter().any(|name| parameters::has(query, name)) {
        return Err(Error::invalid_request(
            "Send the token and the credentials in the body, not in the address.",
        ));
    }
    if MediaType::of(request)? != MediaType::Form {
        return Err(
            Error::new(ErrorCode::UnsupportedMediaType).detail("Send application/x-www-form-urlencoded.")
        );
    }
    let body = body::read(payload).await?;
    let form = TokenForm::read(&body)?;
    let assertion = assertion(form.client_assertion_type.as_deref(), form.client_assertion)?;
    let credentials = credentials(request, form.client_id, form.client_secret, assertion)?;
    let token = form.token.ok_or_else(|| Error::invalid_request("The parameter 'token' is missing."))?;
    Ok(TokenRequest { token, credentials })
}

/// The assertion, if there is one, of the only type that is supported (RFC 7521 section 4.2).
fn assertion(kind: Option<&str>, assertion: Option<String>) -> Result<Option<String>> {
    match (kind, assertion) {
        (None, None) => Ok(None),
        (Some(ASSERTION_TYPE), Some(assertion)) => Ok(Some(assertion)),
        (Some(ASSERTION_TYPE), None) => {
            Err(Error::invalid_request("The parameter 'client_assertion' is missing."))
        }
        (None, Some(_)) => Err(Error::invalid_request("The parameter 'client_assertion_type' is missing.")),
        (Some(_), _) => Err(Error::new(ErrorCode::UnauthenticatedClient).detail(
            "The client_assertion_type is not supported. Use urn:ietf:params:oauth:client-assertion-type:jwt-bearer.",
        )),
    }
}

/// Who asks.
fn credentials(
    request: &HttpRequest,
    posted_id: Option<String>,
    posted_secret: Option<String>,
    assertion: Option<String>,
) -> Result<ClientCredentials> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let header = headers.next();
    if headers.next().is_some() {
        return Err(Error::invalid_request("There are two Authorization headers."));
    }
    let ways = [header.is_some(), posted_secret.is_some(), assertion.is_some()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err(Error::invalid_request("Authenticate in one way only: by header or in the form."));
    }
    if let Some(assertion) = assertion {
        return Ok(ClientCredentials::Assertion { id: posted_id, assertion });
    }
    let Some(header) = header else {
        return Ok(match (posted_id, posted_secret) {
            (Some(id), Some(secret)) => ClientCredentials::Secret { id, secret },
            (Some(id), None) => ClientCredentials::Id(id),
            (None, Some(_)) => return Err(Error::invalid_request("The parameter 'client_id' is missing.")),
            (None, None) => ClientCredentials::None,
        });
    };
    let (id, secret) = basic(header.as_bytes()).ok_or(ErrorCode::UnauthenticatedClient)?;
    if posted_id.is_some_and(|posted| posted != id) {
        return Err(Error::invalid_request(
            "The client_id differs from the one in the Authorization header.",
        ));
    }
    Ok(ClientCredentials::Secret { id, secret })
}

/// Id and secret of an `Authorization` header with the scheme `Basic` (RFC 7617 section 2).
///
/// RFC 6749 section 2.3.1 wants both halves form-encoded, and many libraries do not encode them. Both are understood:
/// the broker's ids and secrets contain neither `%` nor `+`, so what is not encoded is not changed by decoding.
fn basic(header: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some((parameters::decode(&pair[..colon])?, parameters::decode(&pair[colon + 1..])?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "tbs_0aZ";

    fn encoded(pair: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(pair)).into_bytes()
    }

    #[test]
    fn both_halves_are_read_encoded_and_as_they_are() {
        let expected = Some(("my-api_1".to_owned(), SECRET.to_owned()));
        for pair in ["my-api_1:tbs_0aZ", "my%2Dapi%5F1:tbs%5F0aZ", "my%2dapi_1:%74bs_0aZ"] {
            assert_eq!(basic(&encoded(pair)), expected, "{pair}");
        }
        let scheme = |scheme: &str| basic(format!("{scheme}{}", STANDARD.encode("a:b")).as_bytes());
        for good in ["Basic ", "basic ", "BASIC   "] {
            assert_eq!(scheme(good), Some(("a".to_owned(), "b".to_owned())), "{good}");
        }
        assert_eq!(basic(&encoded("a:b:c")), Some(("a".to_owned(), "b:c".to_owned())));
    }

    #[test]
    fn what_is_not_id_and_secret_is_refused() {
        for bad in [
            "Basic",
            "Basic ",
            "Basic !",
            "Basic YQ==",
            "Bearer YTpi",
            "Basic YTpi, Basic YTpi",
            "Basic  /w==",
        ] {
            assert_eq!(basic(bad.as_bytes()), None, "{bad}");
        }
        for pair in ["a%", "a:%zz", "a%ff:b"] {
            assert_eq!(basic(&encoded(pair)), None, "{pair}");
        }
        assert_eq!(basic(&[0xff; 20]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = basic(&bytes);
            let _ = basic(&[b"Basic ", STANDARD.encode(&bytes).as_bytes()].concat());
        }
    }
}
