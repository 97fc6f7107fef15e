//! The cookie of a logout that has gone on to the provider: one for each browser, for ten minutes.

use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::dev::Payload;
use actix_web::http::header::{COOKIE, HeaderMap};
use actix_web::{FromRequest, HttpRequest, web};

use crate::domain::lifetimes;
use crate::error::{Error, ErrorCode};
use crate::state::Broker;

/// Refused by browsers unless Secure, HttpOnly, of `Path=/`, without Domain and set by an HTTP answer.
const SECURE_NAME: &str = "__Host-Http-tb_logout";

/// For development over plain http on the loopback interface, where browsers refuse the other.
const PLAIN_NAME: &str = "tb_logout";

fn name(secure: bool) -> &'static str {
    if secure { SECURE_NAME } else { PLAIN_NAME }
}

/// The sealed attempt that the browser presents; nothing where it presents two different ones.
pub struct LogoutCookie(pub Option<String>);

impl LogoutCookie {
    fn read(headers: &HeaderMap, secure: bool) -> Self {
        let lines = headers.get_all(COOKIE).filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(found, _)| *found == name(secure)).map(|(_, value)| value);
        let first = values.next();
        Self(first.filter(|first| values.all(|other| other == *first)).map(str::to_owned))
    }
}

impl FromRequest for LogoutCookie {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let broker = request.app_data::<web::Data<Broker>>();
        ready(
            broker
                .map(|broker| Self::read(request.headers(), broker.secure_cookies()))
                .ok_or_else(|| ErrorCode::ServerError.into()),
        )
    }
}

/// The cookie that keeps an attempt.
pub fn keep(attempt: String, secure: bool) -> Cookie<'static> {
    build(attempt, time::Duration::seconds(lifetimes::LOGOUT_ATTEMPT.num_seconds()), secure)
}

/// The cookie that makes the browser forget it.
pub fn forget(secure: bool) -> Cookie<'static> {
    build(String::new(), time::Duration::ZERO, secure)
}

fn build(value: String, lifetime: time::Duration, secure: bool) -> Cookie<'static> {
    Cookie::build(name(secure), value)
        .path("/")
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Lax)
        .max_age(lifetime)
        .finish()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn hd_08_the_cookie_has_every_attribute() {
        assert_eq!(
            keep("v".to_owned(), true).to_string(),
            "__Host-Http-tb_logout=v; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600"
        );
        assert_eq!(forget(false).to_string(), "tb_logout=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    }

    #[test]
    fn hd_09_two_values_are_believed_neither() {
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
