//! The cookies on the origin of a page behind a gateway: one for each policy, and one for each sign-in in progress.
//!
//! Browsers send them to that origin only. The gateway passes them on to the broker, and the rest of the `Cookie` header to
//! the page.

use actix_web::cookie::{Cookie, time};
use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue};
use chrono::TimeDelta;

use super::cookies::{self, CookieName};
use crate::domain::ids::PolicyId;
use crate::domain::lifetimes;
use crate::domain::login_attempt::AttemptId;
use crate::flow::AttemptCookie;

const SESSION: CookieName = CookieName { secure: "__Host-Http-tb_page_", plain: "tb_page_" };
const ATTEMPT: CookieName = CookieName { secure: "__Host-Http-tb_visit_", plain: "tb_visit_" };

/// How the names of the broker's cookies begin. On plain http, where only development is, all ports of a host share them.
const OWN: &[&str] = &["__Host-Http-tb_", "tb_page_", "tb_visit_", "tb_session", "tb_login_", "tb_logout"];

/// The cookie of a page, if the browser presents just one value.
pub fn session(headers: &HeaderMap, policy: &PolicyId, secure: bool) -> Option<String> {
    let name = format!("{}{policy}", SESSION.get(secure));
    let mut values = cookies::presented(headers).filter(|(found, _)| *found == name).map(|(_, value)| value);
    let first = values.next()?;
    values.all(|other| other == first).then(|| first.to_owned())
}

/// The sign-ins in progress, without those that are presented with two values.
pub fn attempts(headers: &HeaderMap, secure: bool) -> Vec<AttemptCookie> {
    let mut found: Vec<AttemptCookie> = Vec::new();
    let mut conflicting = Vec::new();
    for (name, value) in cookies::presented(headers) {
        let Some(Ok(id)) = name.strip_prefix(ATTEMPT.get(secure)).map(str::parse::<AttemptId>) else {
            continue;
        };
        match found.iter().find(|attempt| attempt.id == id) {
            None => found.push(AttemptCookie { id, value: value.to_owned() }),
            Some(same) if same.value == value => {}
            Some(_) => conflicting.push(id),
        }
    }
    found.retain(|attempt| !conflicting.contains(&attempt.id));
    found
}

/// The `Cookie` header without the broker's cookies; empty if nothing is left.
pub fn of_the_page(headers: &HeaderMap) -> HeaderValue {
    let lines = headers.get_all(COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let is_own = |pair: &[u8]| OWN.iter().any(|prefix| pair.starts_with(prefix.as_bytes()));
    let pairs: Vec<&[u8]> =
        lines.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty() && !is_own(pair)).collect();
    HeaderValue::from_bytes(&pairs.join(&b"; "[..])).unwrap_or(HeaderValue::from_static(""))
}

/// The cookie that lets the browser in.
pub fn keep(policy: &PolicyId, value: String, lives: TimeDelta, secure: bool) -> Cookie<'static> {
    let lifetime = time::Duration::seconds(lives.num_seconds());
    cookies::build(format!("{}{policy}", SESSION.get(secure)), value, lifetime, secure)
}

/// The cookie that keeps a sign-in.
pub fn keep_attempt(attempt: &AttemptCookie, secure: bool) -> Cookie<'static> {
    let lifetime = time::Duration::seconds(lifetimes::LOGIN_ATTEMPT.num_seconds());
    build_attempt(&attempt.id, attempt.value.clone(), lifetime, secure)
}

/// The cookie that makes the browser forget a sign-in.
pub fn forget_attempt(id: &AttemptId, secure: bool) -> Cookie<'static> {
    build_attempt(id, String::new(), time::Duration::ZERO, secure)
}

fn build_attempt(id: &AttemptId, value: String, lifetime: time::Duration, secure: bool) -> Cookie<'static> {
    cookies::build(format!("{}{}", ATTEMPT.get(secure), id.as_str()), value, lifetime, secure)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut request = TestRequest::get();
        for line in lines {
            request = request.append_header((COOKIE, *line));
        }
        request.to_http_request().headers().clone()
    }

    #[test]
    fn the_cookie_of_a_policy_is_found_unless_two_are_presented() {
        let tools: PolicyId = "tools".parse().unwrap();
        let line = "a=b; __Host-Http-tb_page_tools=v1; tb_page_tools=v2; __Host-Http-tb_page_other=v3";
        assert_eq!(session(&headers(&[line]), &tools, true).as_deref(), Some("v1"));
        assert_eq!(session(&headers(&[line]), &tools, false).as_deref(), Some("v2"));
        assert_eq!(session(&headers(&[line, "__Host-Http-tb_page_tools=planted"]), &tools, true), None);
        assert_eq!(session(&headers(&["__Host-Http-tb_page_tools2=v"]), &tools, true), None);
    }

    #[test]
    fn a_page_gets_no_cookie_of_the_broker() {
        for (lines, left) in [
            (&["a=b; __Host-Http-tb_page_tools=v; c=d"][..], "a=b; c=d"),
            (&["__Host-Http-tb_visit_AAAAAAAAAAAA=v;x=y", "z=1;  __Host-Http-tb_session=v"], "x=y; z=1"),
            (&["tb_page_tools=v; tb_visit_AAAAAAAAAAAA=w; tb_session=x; tb_theme=dark"], "tb_theme=dark"),
            (&["\t__Host-Http-tb_page_tools=v"], ""),
            (&[], ""),
        ] {
            assert_eq!(of_the_page(&headers(lines)), left, "{lines:?}");
        }
    }

    #[test]
    fn cookies_have_every_attribute() {
        let tools: PolicyId = "tools".parse().unwrap();
        assert_eq!(
            keep(&tools, "v".to_owned(), TimeDelta::seconds(60), true).to_string(),
            "__Host-Http-tb_page_tools=v; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60"
        );
        let attempt = AttemptCookie { id: "AAAAAAAAAAAA".parse().unwrap(), value: "v".to_owned() };
        assert_eq!(
            keep_attempt(&attempt, true).to_string(),
            "__Host-Http-tb_visit_AAAAAAAAAAAA=v; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=600"
        );
        assert_eq!(
            forget_attempt(&attempt.id, false).to_string(),
            "tb_visit_AAAAAAAAAAAA=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"
        );
    }
}
