//! What a gateway says about a browser that has no token.
//!
//! Which site is visited, with which method and path, only a trusted gateway can say (`X-Forwarded-*`). The rest are header
//! fields of the browser.

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, HeaderMap, ORIGIN};
use ipnet::IpNet;

use super::address::{Dialect, policy_of};
use crate::domain::client::Origin;
use crate::domain::ids::PolicyId;
use crate::domain::page_visit::{PageVisit, way_back};
use crate::flow::forward_auth::Browser;
use crate::http::extract::caller::is_trusted;
use crate::http::extract::page_cookies;

/// The browser on whose behalf a gateway asks.
pub(super) fn browser(request: &HttpRequest, trusted_proxies: &[IpNet]) -> Browser {
    let visit = visit(request, trusted_proxies);
    let secure = is_secure(visit.origin.as_ref());
    let headers = request.headers();
    let path = request.uri().path();
    let policy: Option<PolicyId> = policy_of(path).ok().and_then(|policy| policy.parse().ok());
    Browser {
        session: policy.and_then(|policy| page_cookies::session(headers, &policy, secure)),
        open_attempts: page_cookies::attempts(headers, secure),
        // auth_request of nginx turns every other status than 401 and 403 into 500.
        can_be_redirected: Dialect::of(path) != Dialect::Nginx,
        visit,
    }
}

/// Whether the cookies of an origin are `Secure` and named `__Host-…`.
pub(super) fn is_secure(origin: Option<&Origin>) -> bool {
    origin.is_none_or(|origin| origin.as_str().starts_with("https:"))
}

/// The visited site, as a trusted gateway says.
pub(super) fn origin(request: &HttpRequest, trusted_proxies: &[IpNet]) -> Option<Origin> {
    let headers = Some(request.headers()).filter(|_| is_trusted(request.peer_addr(), trusted_proxies))?;
    let (scheme, host) = (only(headers, "x-forwarded-proto")?, only(headers, "x-forwarded-host")?);
    let host = host.to_ascii_lowercase();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    format!("{scheme}://{}", host.strip_suffix(default_port).unwrap_or(&host)).parse().ok()
}

fn visit(request: &HttpRequest, trusted_proxies: &[IpNet]) -> PageVisit {
    let headers = request.headers();
    let trusted = Some(headers).filter(|_| is_trusted(request.peer_addr(), trusted_proxies));
    let forwarded = |name| trusted.and_then(|headers| only(headers, name)).map(str::to_owned);
    PageVisit {
        origin: origin(request, trusted_proxies),
        target: forwarded("x-forwarded-uri").and_then(|address| way_back(&address).map(str::to_owned)),
        method: forwarded("x-forwarded-method"),
        caused_by: list(headers, ORIGIN.as_str()),
        fetch_site: list(headers, "sec-fetch-site"),
        fetch_mode: list(headers, "sec-fetch-mode"),
        fetch_dest: list(headers, "sec-fetch-dest"),
        speculative: headers.contains_key("sec-purpose"),
        accepts_html: list(headers, ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/html")),
    }
}

/// The value of a header that was sent once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// All values of a header, as one list; unreadable ones are kept as a value that equals none.
fn list(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).map(|value| value.to_str().unwrap_or("?")).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn seen(peer: &str, headers: &[(&str, &str)]) -> PageVisit {
        let mut request = TestRequest::get().peer_addr(peer.parse().unwrap());
        for header in headers {
            request = request.append_header(*header);
        }
        visit(&request.to_http_request(), &["192.0.2.1/32".parse().unwrap()])
    }

    const GATEWAY: &str = "192.0.2.1:80";

    const FORWARDED: [(&str, &str); 4] = [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "Tools.example.com:443"),
        ("x-forwarded-uri", "/a?b"),
        ("x-forwarded-method", "GET"),
    ];

    #[test]
    fn only_a_trusted_gateway_says_what_is_visited() {
        let visit = seen(GATEWAY, &FORWARDED);
        assert_eq!(visit.origin.unwrap().as_str(), "https://tools.example.com");
        assert_eq!((visit.target.as_deref(), visit.method.as_deref()), (Some("/a?b"), Some("GET")));
        let visit = seen("198.51.100.7:80", &FORWARDED);
        assert!(visit.origin.is_none() && visit.target.is_none() && visit.method.is_none());
    }

    #[test]
    fn what_is_said_twice_or_in_a_list_is_not_believed() {
        for (name, value) in FORWARDED {
            let visit = seen(GATEWAY, &[&FORWARDED[..], &[(name, value)]].concat());
            let missing = visit.origin.is_none() || visit.target.is_none() || visit.method.is_none();
            assert!(missing, "{name}");
        }
        for (proto, host) in [
            ("https, http", "tools.example.com"),
            ("https", "tools.example.com, evil.example"),
            ("https", "evil.example/x"),
            ("https", "user@evil.example"),
            ("http", "tools.example.com"),
            ("javascript", "tools.example.com"),
            ("https", ""),
        ] {
            let visit = seen(GATEWAY, &[("x-forwarded-proto", proto), ("x-forwarded-host", host)]);
            assert!(visit.origin.is_none(), "{proto} {host}");
        }
        let twice = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")];
        assert_eq!(seen(GATEWAY, &twice).fetch_site.as_deref(), Some("same-origin, same-origin"));
    }
}
