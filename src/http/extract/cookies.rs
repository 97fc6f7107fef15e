//! What the broker's cookies have in common: how they are found among others, and their attributes.

use std::borrow::Cow;

use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::http::header::{COOKIE, HeaderMap};
use actix_web::{HttpRequest, web};

use crate::error::{ErrorCode, Result};
use crate::state::Broker;

/// The name of a cookie, or how it begins.
#[derive(Clone, Copy)]
pub(super) struct CookieName {
    /// With `__Host-Http-`: refused by browsers unless Secure, HttpOnly, of `Path=/`, without Domain and set by an
    /// HTTP answer.
    pub(super) secure: &'static str,
    /// For development over plain http on the loopback interface, where browsers refuse the other.
    pub(super) plain: &'static str,
}

impl CookieName {
    pub(super) fn get(self, secure: bool) -> &'static str {
        if secure { self.secure } else { self.plain }
    }
}

/// Whether cookies are Secure here.
pub(super) fn are_secure(request: &HttpRequest) -> Result<bool> {
    let broker = request.app_data::<web::Data<Broker>>();
    broker.map(|broker| broker.secure_cookies()).ok_or_else(|| ErrorCode::ServerError.into())
}

/// The cookies that the browser presents, as they were sent: name and value. Those of other programs on this
/// domain come along in the same line, and whatever bytes they hold hide none of ours. Around a pair only what
/// browsers put there is taken away: with other white space in front, a foreign domain could have set the name.
pub(super) fn presented(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let pairs = headers.get_all(COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| str::from_utf8(pair).ok()?.trim_matches([' ', '\t']).split_once('='))
}

/// A cookie with every attribute that keeps it here (RFC 6265bis section 4.1.3).
pub(super) fn build(
    name: impl Into<Cow<'static, str>>,
    value: String,
    lifetime: time::Duration,
    secure: bool,
) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Lax)
        .max_age(lifetime)
        .finish()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    use super::*;

    /// To a browser such a name has no `__Host-` in front, so it takes the cookie from any subdomain's script.
    #[test]
    fn white_space_that_browsers_do_not_trim_stays_part_of_the_name() {
        for space in ["\u{2000}", "\u{a0}", "\u{85}", "\u{3000}", "\u{feff}", "\u{b}", "\u{c}"] {
            for line in [format!("{space}tb=planted"), format!("a=b; {space}tb=planted")] {
                let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) else { continue };
                let request = TestRequest::get().insert_header((COOKIE, value)).to_http_request();
                assert!(presented(request.headers()).all(|(name, _)| name != "tb"), "{line:?}");
            }
        }
    }

    #[test]
    fn cookies_of_others_hide_none_of_ours() {
        for other in ["a=b", "name=J\u{fc}rgen", "", ";;", "no value", "=", "a=b=c"] {
            let line = [other.as_bytes(), b"; tb=ours; latin1=\xfc\xff;\tlast=1"].concat();
            let request = TestRequest::get()
                .insert_header((COOKIE, HeaderValue::from_bytes(&line).unwrap()))
                .to_http_request();
            let ours: Vec<_> =
                presented(request.headers()).filter(|(name, _)| ["tb", "last"].contains(name)).collect();
            assert_eq!(ours, [("tb", "ours"), ("last", "1")], "{other}");
        }
    }
}
