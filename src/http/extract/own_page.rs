//! Forms that only the broker's own page may send: the defence against cross-site requests.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, ORIGIN};
use actix_web::{FromRequest, HttpRequest, web};

use crate::error::{Error, ErrorCode};
use crate::state::Broker;

/// Proof that the browser says the request comes from a page of ours: by `Origin`, by `Sec-Fetch-Site`, or by
/// both. One that says neither is refused: every browser of today says one of them with a form.
#[derive(Debug)]
pub struct OwnPage;

impl OwnPage {
    fn check(headers: &HeaderMap, own_origin: &str) -> Result<Self, Error> {
        let origins = headers.get_all(ORIGIN).all(|origin| origin == own_origin);
        let sites = headers.get_all("sec-fetch-site").all(|site| site == "same-origin");
        let said = headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site");
        if said && origins && sites { Ok(Self) } else { Err(ErrorCode::OriginNotAllowed.into()) }
    }
}

impl FromRequest for OwnPage {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(broker) = request.app_data::<web::Data<Broker>>() else {
            return ready(Err(ErrorCode::ServerError.into()));
        };
        let own_origin = broker.public_url.origin().ascii_serialization();
        ready(Self::check(request.headers(), &own_origin))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const OWN: &str = "https://auth.example.com";

    fn passes(headers: &[(&str, &str)]) -> bool {
        let mut request = TestRequest::post();
        for header in headers {
            request = request.append_header(*header);
        }
        OwnPage::check(request.to_http_request().headers(), OWN).is_ok()
    }

    #[test]
    fn only_what_says_that_it_comes_from_our_own_page_passes() {
        let (own, same) = (("origin", OWN), ("sec-fetch-site", "same-origin"));
        for good in [&[own, same][..], &[own], &[same]] {
            assert!(passes(good), "{good:?}");
        }
        for origin in [
            "null",
            "https://app.example.com",
            "http://auth.example.com",
            "https://auth.example.com:8443",
            "",
        ] {
            assert!(!passes(&[("origin", origin), same]), "{origin}");
        }
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!passes(&[own, ("sec-fetch-site", site)]), "{site}");
            assert!(!passes(&[same, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!passes(&[]));
        assert!(!passes(&[own, ("origin", "https://evil.example")]));
    }
}
