//! The visitor's request, as a gateway describes it: what the DPoP proof of a bound token has to be for (RFC 9449 section
//! 4.3). Nothing else depends on it.
//!
//! A visitor could write these headers too. They count only if the gateway's address is trusted, and a gateway must replace
//! those of its visitors.

use std::net::SocketAddr;

use actix_web::http::Method;
use actix_web::http::header::{HOST, HeaderMap};
use ipnet::IpNet;
use url::Url;

use super::address::Mistake;

/// Method and address of a visitor's request.
#[derive(Debug, PartialEq, Eq)]
pub struct Original {
    /// The method.
    pub method: String,
    /// The address that the visitor sees.
    pub url: Url,
}

/// What a gateway's own request says.
#[derive(Debug, Clone, Copy)]
pub struct GatewayRequest<'a> {
    /// Where it comes from.
    pub peer: Option<SocketAddr>,
    /// Its method, which is the visitor's only in Envoy's dialect.
    pub method: &'a Method,
    /// Its path, to which only Envoy appends the visitor's.
    pub path: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

const UNTRUSTED: Mistake = "the address of the gateway is not among server.trusted_proxies, so what it says about the \
     visitor's request is not used";
const INCOMPLETE: Mistake = "it must send each of the headers X-Forwarded-Method, X-Forwarded-Proto, X-Forwarded-Host and \
     X-Forwarded-Uri exactly once (Envoy: X-Forwarded-Proto)";

/// The visitor's request.
///
/// # Errors
/// It is not known; the text says what has to be changed.
pub fn original(trusted: &[IpNet], gateway: GatewayRequest<'_>) -> Result<Original, Mistake> {
    let peer = gateway.peer.map(|peer| peer.ip().to_canonical());
    if !peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(&peer))) {
        return Err(UNTRUSTED);
    }
    let header = |name: &str| only(gateway.headers, name).ok_or(INCOMPLETE);
    let scheme = header("x-forwarded-proto")?;
    let (method, host, target) = match appended_path(gateway.path) {
        Some(path) => (gateway.method.as_str(), header(HOST.as_str())?, path),
        None => (header("x-forwarded-method")?, header("x-forwarded-host")?, header("x-forwarded-uri")?),
    };
    let is_host = !host.is_empty() && !host.contains(['/', '\\', '@', '?', '#']);
    if !matches!(scheme, "http" | "https") || !is_host || !target.starts_with('/') {
        return Err(INCOMPLETE);
    }
    let url = Url::parse(&format!("{scheme}://{host}{target}")).map_err(|_| INCOMPLETE)?;
    Ok(Original { method: method.to_owned(), url })
}

/// The visitor's path behind Envoy's address.
fn appended_path(path: &str) -> Option<&str> {
    let rest = path.trim_start_matches('/').strip_prefix("authz/envoy:")?;
    Some(rest.find('/').map_or("/", |at| &rest[at..]))
}

/// The value of a header that was sent once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const ALL: [(&str, &str); 4] = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "api.example.com"),
        ("x-forwarded-uri", "/orders?page=2"),
    ];

    fn ask(path: &str, peer: &str, headers: &[(&str, &str)]) -> Result<(String, String), Mistake> {
        let mut request = TestRequest::delete().uri(path);
        for header in headers {
            request = request.append_header(*header);
        }
        let request = request.to_http_request();
        let trusted: [IpNet; 1] = ["10.0.0.0/8".parse().unwrap()];
        let gateway = GatewayRequest {
            peer: Some(peer.parse().unwrap()),
            method: request.method(),
            path: request.path(),
            headers: request.headers(),
        };
        original(&trusted, gateway).map(|found| (found.method, found.url.into()))
    }

    #[test]
    fn a_trusted_gateway_names_the_request_in_four_headers() {
        let expected = ("POST".to_owned(), "https://api.example.com/orders?page=2".to_owned());
        for path in ["/authz", "/authz/orders", "/authz/nginx/orders", "/authz/caddy", "/authz/traefik"] {
            assert_eq!(ask(path, "10.0.0.1:80", &ALL), Ok(expected.clone()), "{path}");
            assert_eq!(ask(path, "[::ffff:10.0.0.1]:80", &ALL), Ok(expected.clone()), "{path}");
        }
    }

    #[test]
    fn envoy_appends_the_path_and_keeps_method_and_host() {
        let headers = [("x-forwarded-proto", "https"), ("host", "api.example.com")];
        for (path, url) in [
            ("/authz/envoy:orders/orders/1", "https://api.example.com/orders/1"),
            ("/authz/envoy:orders", "https://api.example.com/"),
            ("/authz/envoy:orders/../admin", "https://api.example.com/admin"),
        ] {
            let expected = ("DELETE".to_owned(), url.to_owned());
            assert_eq!(ask(path, "10.0.0.1:80", &headers), Ok(expected), "{path}");
        }
    }

    #[test]
    fn nothing_is_believed_from_an_address_that_is_not_trusted() {
        assert_eq!(ask("/authz", "192.0.2.1:80", &ALL), Err(UNTRUSTED));
        assert_eq!(ask("/authz/envoy:orders/x", "192.0.2.1:80", &ALL), Err(UNTRUSTED));
    }

    #[test]
    fn a_header_that_is_missing_repeated_or_malformed_makes_the_request_unknown() {
        for left_out in 0..4 {
            let mut headers = ALL.to_vec();
            let removed = headers.remove(left_out);
            assert_eq!(ask("/authz", "10.0.0.1:80", &headers), Err(INCOMPLETE), "{removed:?}");
            headers.extend([removed, removed]);
            assert_eq!(ask("/authz", "10.0.0.1:80", &headers), Err(INCOMPLETE), "{removed:?} twice");
        }
        for bad in [
            ("x-forwarded-proto", "ftp"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "a@b.example"),
            ("x-forwarded-host", "a.example/x"),
            ("x-forwarded-host", ""),
            ("x-forwarded-uri", "orders"),
            ("x-forwarded-uri", "https://api.example.com/orders"),
        ] {
            let changed = ALL.map(|header| if header.0 == bad.0 { bad } else { header });
            assert_eq!(ask("/authz", "10.0.0.1:80", &changed), Err(INCOMPLETE), "{bad:?}");
        }
    }
}
