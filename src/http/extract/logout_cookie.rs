//! The cookie of a logout that has gone on to the provider: one for each browser, for ten minutes.

use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, time};
use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest};

use super::cookies::{self, CookieName};
use crate::domain::lifetimes;
use crate::error::Error;

const NAME: CookieName = CookieName { secure: "__Host-Http-tb_logout", plain: "tb_logout" };

/// The sealed attempt that the browser presents; nothing where it presents two different ones.
pub struct LogoutCookie(pub Option<String>);

impl LogoutCookie {
    fn read(headers: &HeaderMap, secure: bool) -> Self {
        let name = NAME.get(secure);
        let mut values =
            cookies::presented(headers).filter(|(found, _)| *found == name).map(|(_, value)| value);
        let first = values.next();
        Self(first.filter(|first| values.all(|other| other == *first)).map(str::to_owned))
    }
}

impl FromRequest for LogoutCookie {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(cookies::are_secure(request).map(|secure| Self::read(request.headers(), secure)))
    }
}

/// The cookie that keeps an attempt.
pub fn keep(attempt: String, secure: bool) -> Cookie<'static> {
    cookies::build(
        NAME.get(secure),
        attempt,
        time::Duration::seconds(lifetimes::LOGOUT_ATTEMPT.num_seconds()),
        secure,
    )
}

/// The cookie that makes the browser forget it.
pub fn forget(secure: bool) -> Cookie<'static> {
    cookies::build(NAME.get(secure), String::new(), time::Duration::ZERO, secure)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::COOKIE;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_cookie_has_every_attribute() {
        assert_eq!(
            keep("v".to_owned(), true).to_string(),
            "__Host-Http-tb_logout=v; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600"
        );
        assert_eq!(forget(false).to_string(), "tb_logout=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    }

    #[test]
    fn two_values_are_believed_neither() {
        let read = |line: &str| {
            let request = TestRequest::get().insert_header((COOKIE, line)).to_http_request();
            LogoutCookie::read(request.headers(), false).0
        };
        assert_eq!(read("a=b; tb_logout=v; tb_session=x").as_deref(), Some("v"));
        assert_eq!(read("tb_logout=v; tb_logout=v").as_deref(), Some("v"));
        for none in ["tb_logout=v; tb_logout=w", "", "__Host-Http-tb_logout=v"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
