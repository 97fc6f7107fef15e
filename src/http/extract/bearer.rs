//! The access token of a request (RFC 6750 section 2.1, RFC 9449 section 7.1): from one `Authorization` header and nowhere
//! else.

use std::fmt;

use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::{HttpMessage, HttpRequest};

use super::parameters;
use crate::error::{Error, ErrorCode, Result};

/// The longest accepted token, in bytes. Ours have 76; anything up to this length is answered `invalid_token`, longer input
/// is refused unread.
const LONGEST: usize = 512;

/// The scheme of an `Authorization` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer` (RFC 6750).
    Bearer,
    /// `DPoP` (RFC 9449).
    Dpop,
}

/// A presented token, unchecked.
pub struct Bearer {
    scheme: Scheme,
    token: String,
}

impl Bearer {
    /// The token's text.
    pub fn expose(&self) -> &str {
        &self.token
    }

    /// How it was presented.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The token of a request that carries one nowhere else.
    ///
    /// # Errors
    /// Those of [`Self::of_headers`]; `invalid_request` if there is a token in the address or a form in the body.
    pub fn read(request: &HttpRequest) -> Result<Self> {
        if parameters::has(request.query_string().as_bytes(), "access_token") {
            return Err(Error::invalid_request(
                "An access token in the URL is not accepted. Send it in the Authorization header.",
            ));
        }
        if request.content_type().eq_ignore_ascii_case("application/x-www-form-urlencoded")
            && has_body(request)
        {
            return Err(Error::invalid_request(
                "This address takes no form; send the access token in the Authorization header.",
            ));
        }
        Self::of_headers(request.headers())
    }

    /// The token in these headers, whatever else the request has: a gateway passes on the query and the headers of its
    /// visitor.
    ///
    /// # Errors
    /// `missing_token` if there is no token with one of the schemes; `invalid_request` if the header is malformed or there
    /// are two.
    pub fn of_headers(headers: &HeaderMap) -> Result<Self> {
        let mut headers = headers.get_all(AUTHORIZATION);
        let Some(header) = headers.next() else { return Err(ErrorCode::MissingToken.into()) };
        if headers.next().is_some() {
            return Err(Error::invalid_request(
                "More than one Authorization header was sent. Send exactly one.",
            ));
        }
        let malformed = || Error::invalid_request("The Authorization header is malformed.");
        let header = header.to_str().map_err(|_| malformed())?;
        let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
        let scheme = match scheme {
            bearer if bearer.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
            dpop if dpop.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
            _ => return Err(ErrorCode::MissingToken.into()),
        };
        let token = token.trim_start_matches(' ');
        if token.len() <= LONGEST && is_token68(token) {
            Ok(Self { scheme, token: token.to_owned() })
        } else {
            Err(malformed())
        }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Bearer(…)")
    }
}

/// Whether a body follows the head (RFC 9112 section 6.3). A gateway that asks about a visitor's request may forward the
/// visitor's `Content-Type` without the body: that is not a form.
fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let is_empty = headers.get(CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0");
    headers.contains_key(TRANSFER_ENCODING) || !is_empty
}

/// RFC 9110 section 11.2: letters, digits and `-._~+/`, then any number of `=`.
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    use super::*;

    fn read(headers: &[&[u8]]) -> std::result::Result<String, ErrorCode> {
        let mut request = TestRequest::get();
        for header in headers {
            request = request.append_header((AUTHORIZATION, HeaderValue::from_bytes(header).unwrap()));
        }
        Bearer::read(&request.to_http_request()).map(|bearer| bearer.token).map_err(|error| error.code())
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        for header in ["Bearer tbk_a", "bearer tbk_a", "BEARER  tbk_a"] {
            assert_eq!(read(&[header.as_bytes()]).unwrap(), "tbk_a");
        }
        assert_eq!(read(&[b"Bearer a-._~+/9=="]).unwrap(), "a-._~+/9==");
        let scheme = |text: &'static str| {
            let request = TestRequest::get().insert_header((AUTHORIZATION, text)).to_http_request();
            Bearer::read(&request).unwrap().scheme()
        };
        for (text, expected) in [
            ("Bearer a", Scheme::Bearer),
            ("bearer a", Scheme::Bearer),
            ("DPoP a", Scheme::Dpop),
            ("dpop a", Scheme::Dpop),
        ] {
            assert_eq!(scheme(text), expected, "{text}");
        }
    }

    #[test]
    fn no_credentials_or_another_scheme_is_missing() {
        assert_eq!(read(&[]), Err(ErrorCode::MissingToken));
        assert_eq!(read(&[b"Basic YTpi"]), Err(ErrorCode::MissingToken));
        assert_eq!(read(&[b""]), Err(ErrorCode::MissingToken));
    }

    #[test]
    fn unreadable_credentials_are_a_bad_request() {
        let long = format!("Bearer {}", "a".repeat(LONGEST + 1));
        for bad in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Bearer a b",
            b"Bearer a, Bearer b",
            b"Bearer a\xff",
            b"Bearer \xc3\xbc",
            b"Bearer ==",
            long.as_bytes(),
        ] {
            assert_eq!(read(&[bad]), Err(ErrorCode::InvalidRequest));
        }
        assert_eq!(read(&[b"Bearer a", b"Bearer a"]), Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_token_in_query_or_form_is_refused_even_beside_a_valid_header() {
        let header = ("authorization", "Bearer tbk_a");
        for uri in ["/api/me?access_token=x", "/api/me?a=1&access%5Ftoken"] {
            let request = TestRequest::with_uri(uri).insert_header(header).to_http_request();
            assert_eq!(Bearer::read(&request).unwrap_err().code(), ErrorCode::InvalidRequest, "{uri}");
        }
        let form = ("content-type", "application/x-www-form-urlencoded");
        for body in [("content-length", "7"), ("transfer-encoding", "chunked")] {
            let request = TestRequest::post().insert_header(header).insert_header(form).insert_header(body);
            let refused = Bearer::read(&request.to_http_request()).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidRequest, "{body:?}");
        }
    }

    #[test]
    fn the_media_type_of_a_form_without_a_body_is_not_a_form() {
        let header = ("authorization", "Bearer tbk_a");
        let form = ("content-type", "application/x-www-form-urlencoded");
        for request in [TestRequest::get(), TestRequest::get().insert_header(("content-length", "0"))] {
            let request = request.insert_header(header).insert_header(form).to_http_request();
            assert_eq!(Bearer::read(&request).unwrap().expose(), "tbk_a");
        }
    }

    #[test]
    fn debug_output_hides_the_token() {
        let bearer = Bearer { scheme: Scheme::Bearer, token: "tbk_a".into() };
        assert_eq!(format!("{bearer:?}"), "Bearer(…)");
    }
}
