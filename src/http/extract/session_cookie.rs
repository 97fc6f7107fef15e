//! The cookie of the browser's session.

use std::fmt;
use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, time};
use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use chrono::TimeDelta;

use super::cookies::{self, CookieName};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::browser_session::SessionCookieChange;

const NAME: CookieName = CookieName { secure: "__Host-Http-tb_session", plain: "tb_session" };

/// The session cookie that the browser presents, as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub enum SessionCookie {
    /// None.
    Absent,
    /// One value.
    Presented(String),
    /// Two different values, as when one was planted (RFC 6265bis section 8.6): neither is believed.
    Conflicting,
}

impl fmt::Debug for SessionCookie {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Absent => "Absent",
            Self::Presented(_) => "Presented(…)",
            Self::Conflicting => "Conflicting",
        })
    }
}

impl SessionCookie {
    /// The value, where there is just one.
    pub fn value(self) -> Option<String> {
        match self {
            Self::Presented(value) => Some(value),
            Self::Absent | Self::Conflicting => None,
        }
    }

    fn read(headers: &HeaderMap, secure: bool) -> Self {
        let name = NAME.get(secure);
        let mut values =
            cookies::presented(headers).filter(|(found, _)| *found == name).map(|(_, value)| value);
        let Some(first) = values.next() else { return Self::Absent };
        if values.all(|other| other == first) { Self::Presented(first.to_owned()) } else { Self::Conflicting }
    }
}

impl FromRequest for SessionCookie {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(cookies::are_secure(request).map(|secure| Self::read(request.headers(), secure)))
    }
}

/// Tells the browser what becomes of its session cookie.
pub fn change(response: &mut HttpResponse, change: SessionCookieChange, secure: bool) -> Result<()> {
    let cookie = match change {
        SessionCookieChange::None => return Ok(()),
        SessionCookieChange::Keep { value, lives } => keep(value, lives, secure),
    };
    response.add_cookie(&cookie).map_err(|cause| Error::new(ErrorCode::ServerError).caused_by(cause))
}

/// The cookie that keeps a session for as long as it `lives`.
fn keep(value: String, lives: TimeDelta, secure: bool) -> Cookie<'static> {
    cookies::build(NAME.get(secure), value, time::Duration::seconds(lives.num_seconds()), secure)
}

/// The cookie that makes the browser forget its session.
pub fn forget(secure: bool) -> Cookie<'static> {
    cookies::build(NAME.get(secure), String::new(), time::Duration::ZERO, secure)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::COOKIE;
    use actix_web::test::TestRequest;

    use super::*;

    fn read(lines: &[&str], secure: bool) -> SessionCookie {
        let mut request = TestRequest::get();
        for line in lines {
            request = request.append_header((COOKIE, *line));
        }
        SessionCookie::read(request.to_http_request().headers(), secure)
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let line = "a=b; __Host-Http-tb_session=v1; tb_session=v2; tb_login_x=y; broken";
        assert_eq!(read(&[line], true), SessionCookie::Presented("v1".to_owned()));
        assert_eq!(read(&[line], false), SessionCookie::Presented("v2".to_owned()));
        for absent in ["", "tb_session", "xtb_session=v", "tb_session_=v", "__Host-tb_session=v"] {
            assert_eq!(read(&[absent], false), SessionCookie::Absent, "{absent}");
            assert_eq!(read(&[absent], true), SessionCookie::Absent, "{absent}");
        }
    }

    #[test]
    fn two_values_are_believed_neither() {
        let same = read(&["tb_session=v1; tb_session=v1"], false);
        assert_eq!(same.value().as_deref(), Some("v1"));
        for lines in [&["tb_session=v1; tb_session=v2"][..], &["tb_session=v1", "tb_session=v2"]] {
            let conflicting = read(lines, false);
            assert_eq!(conflicting, SessionCookie::Conflicting);
            assert_eq!(conflicting.value(), None);
        }
    }

    #[test]
    fn the_cookie_has_every_attribute_and_lives_as_long_as_its_session() {
        assert_eq!(
            keep("v".to_owned(), TimeDelta::milliseconds(5_900), true).to_string(),
            "__Host-Http-tb_session=v; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=5"
        );
        assert_eq!(forget(false).to_string(), "tb_session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    }

    #[test]
    fn the_value_is_not_printed() {
        assert_eq!(format!("{:?}", SessionCookie::Presented("v".to_owned())), "Presented(…)");
    }
}
