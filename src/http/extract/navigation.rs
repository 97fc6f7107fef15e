//! Requests that must be a navigation of the browser's own window, not a fetch, a frame or a prefetch.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use crate::error::{Error, ErrorCode};

/// Proof that nothing in the request speaks against a navigation. Browsers without Fetch Metadata pass.
#[derive(Debug)]
pub struct Navigation;

impl FromRequest for Navigation {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let other_destination = request.headers().get_all("sec-fetch-dest").any(|value| value != "document");
        let prefetch = request
            .headers()
            .get_all("sec-purpose")
            .any(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"prefetch"));
        let verdict =
            if other_destination || prefetch { Err(ErrorCode::NotANavigation.into()) } else { Ok(Self) };
        ready(verdict)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[actix_web::test]
    async fn only_navigations_pass() {
        for (name, value, passes) in [
            ("x-nothing", "", true),
            ("sec-fetch-dest", "document", true),
            ("sec-fetch-dest", "iframe", false),
            ("sec-fetch-dest", "empty", false),
            ("sec-fetch-dest", "image", false),
            ("sec-purpose", "prefetch", false),
            ("sec-purpose", "prefetch;prerender", false),
        ] {
            let request = TestRequest::get().insert_header((name, value)).to_http_request();
            let verdict = Navigation::extract(&request).await;
            assert_eq!(verdict.is_ok(), passes, "{name}: {value}");
        }
    }
}
