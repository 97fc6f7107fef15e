//! The cookies of login attempts: a name of its own for each, so that parallel tabs do not disturb each other.

use std::future::{Ready, ready};

use actix_web::cookie::{Cookie, time};
use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest};

use super::cookies::{self, CookieName};
use crate::domain::lifetimes;
use crate::domain::login_attempt::AttemptId;
use crate::error::Error;
use crate::flow::AttemptCookie;

const PREFIX: CookieName = CookieName { secure: "__Host-Http-tb_login_", plain: "tb_login_" };

/// The attempts that the browser presents.
#[derive(Default)]
pub struct AttemptCookies {
    /// Each attempt once.
    pub attempts: Vec<AttemptCookie>,
    /// Attempts presented with two values, as a planted cookie would be (RFC 6265bis section 8.6).
    pub conflicting: Vec<AttemptId>,
}

impl AttemptCookies {
    fn read(headers: &HeaderMap, secure: bool) -> Self {
        let mut found = Self::default();
        for (name, value) in cookies::presented(headers) {
            let Some(Ok(id)) = name.strip_prefix(PREFIX.get(secure)).map(str::parse::<AttemptId>) else {
                continue;
            };
            match found.attempts.iter().find(|attempt| attempt.id == id) {
                None => found.attempts.push(AttemptCookie { id, value: value.to_owned() }),
                Some(same) if same.value == value => {}
                Some(_) => found.conflicting.push(id),
            }
        }
        found.attempts.retain(|attempt| !found.conflicting.contains(&attempt.id));
        found
    }
}

impl FromRequest for AttemptCookies {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(cookies::are_secure(request).map(|secure| Self::read(request.headers(), secure)))
    }
}

/// The cookie that keeps an attempt.
pub fn keep(attempt: AttemptCookie, secure: bool) -> Cookie<'static> {
    let lifetime = time::Duration::seconds(lifetimes::LOGIN_ATTEMPT.num_seconds());
    build(&attempt.id, attempt.value, lifetime, secure)
}

/// The cookie that makes the browser forget an attempt.
pub fn forget(id: &AttemptId, secure: bool) -> Cookie<'static> {
    build(id, String::new(), time::Duration::ZERO, secure)
}

fn build(id: &AttemptId, value: String, lifetime: time::Duration, secure: bool) -> Cookie<'static> {
    cookies::build(format!("{}{}", PREFIX.get(secure), id.as_str()), value, lifetime, secure)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::COOKIE;
    use actix_web::test::TestRequest;

    use super::*;

    fn read(lines: &[&str], secure: bool) -> (Vec<String>, Vec<String>) {
        let mut request = TestRequest::get();
        for line in lines {
            request = request.append_header((COOKIE, *line));
        }
        let found = AttemptCookies::read(request.to_http_request().headers(), secure);
        let attempts = found.attempts.iter().map(|a| format!("{}={}", a.id.as_str(), a.value)).collect();
        (attempts, found.conflicting.iter().map(|id| id.as_str().to_owned()).collect())
    }

    #[test]
    fn attempts_are_found_among_other_cookies() {
        let line = "a=b; __Host-Http-tb_login_AAAAAAAAAAAA=v1; tb_login_CCCCCCCCCCCC=v3; broken";
        let other = "__Host-Http-tb_login_BBBBBBBBBBBB=v2; __Host-Http-tb_login_short=v";
        let (attempts, conflicting) = read(&[line, other], true);
        assert_eq!(attempts, ["AAAAAAAAAAAA=v1", "BBBBBBBBBBBB=v2"]);
        assert!(conflicting.is_empty());
        assert_eq!(read(&[line, other], false).0, ["CCCCCCCCCCCC=v3"]);
    }

    #[test]
    fn the_same_name_with_different_values_is_reported_and_unusable() {
        let same = "tb_login_AAAAAAAAAAAA=v1; tb_login_AAAAAAAAAAAA=v1";
        assert_eq!(read(&[same], false), (vec!["AAAAAAAAAAAA=v1".into()], vec![]));
        for lines in [
            &["tb_login_AAAAAAAAAAAA=v1; tb_login_AAAAAAAAAAAA=v2"][..],
            &["tb_login_AAAAAAAAAAAA=v1", "tb_login_AAAAAAAAAAAA=v2"],
        ] {
            assert_eq!(read(lines, false), (vec![], vec!["AAAAAAAAAAAA".to_owned()]));
        }
    }

    #[test]
    fn cookies_have_every_attribute() {
        let id: AttemptId = "AAAAAAAAAAAA".parse().unwrap();
        let attempt = AttemptCookie { id: id.clone(), value: "v".into() };
        assert_eq!(
            keep(attempt, true).to_string(),
            "__Host-Http-tb_login_AAAAAAAAAAAA=v; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600"
        );
        assert_eq!(
            forget(&id, false).to_string(),
            "tb_login_AAAAAAAAAAAA=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"
        );
    }
}
