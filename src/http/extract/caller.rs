//! The caller: request id, client address, user agent, origin. Read once, before anything else.

use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, ORIGIN, USER_AGENT};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use ipnet::IpNet;

use crate::domain::caller::Caller;
use crate::domain::entropy::Entropy;
use crate::domain::request_id::RequestId;
use crate::error::{Error, ErrorCode};

/// The longest foreign text that is kept.
const LONGEST: usize = 256;

/// The caller of a request that came from `peer`.
pub fn of(
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
    trusted_proxies: &[IpNet],
    entropy: &dyn Entropy,
) -> Caller {
    let text = |name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.chars().take(LONGEST).collect())
    };
    Caller {
        request_id: request_id(headers, peer, trusted_proxies).unwrap_or_else(|| RequestId::random(entropy)),
        address: address(headers, peer, trusted_proxies),
        user_agent: text(USER_AGENT),
        origin: text(ORIGIN),
    }
}

/// The request id set by a trusted proxy, if it is safe to log. From anyone else it is ignored: a caller that chooses its own
/// id could hide its requests among those of another one.
fn request_id(headers: &HeaderMap, peer: Option<SocketAddr>, trusted_proxies: &[IpNet]) -> Option<RequestId> {
    if !is_trusted(peer, trusted_proxies) {
        return None;
    }
    headers.get("x-request-id")?.to_str().ok()?.parse().ok()
}

/// Whether the peer is one of the proxies that may say what their visitors sent.
pub fn is_trusted(peer: Option<SocketAddr>, trusted_proxies: &[IpNet]) -> bool {
    let peer = peer.map(|peer| peer.ip().to_canonical());
    peer.is_some_and(|peer| trusted_proxies.iter().any(|network| network.contains(&peer)))
}

/// The peer, or behind trusted proxies the first untrusted hop from the right in `X-Forwarded-For`.
///
/// Entries to the left of that hop are set by the client and are not trusted. An entry that is not an address ends the search.
fn address(headers: &HeaderMap, peer: Option<SocketAddr>, trusted_proxies: &[IpNet]) -> IpAddr {
    let trusted = |address: &IpAddr| trusted_proxies.iter().any(|network| network.contains(address));
    let mut address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    let forwarded: Vec<_> = headers.get_all("x-forwarded-for").collect();
    let hops = forwarded.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        if !trusted(&address) {
            break;
        }
        let Some(next) = std::str::from_utf8(hop).ok().and_then(parse_hop) else { break };
        address = next;
    }
    address
}

/// An address, with or without a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

impl FromRequest for Caller {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(|| ErrorCode::ServerError.into()))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::domain::entropy::SeededEntropy;

    fn caller(peer: &str, headers: &[(&str, &str)]) -> Caller {
        let mut request = TestRequest::get();
        for header in headers {
            request = request.append_header(*header);
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer = Some(peer.parse().unwrap());
        of(request.to_http_request().headers(), peer, &trusted, &SeededEntropy::new(1))
    }

    #[test]
    fn the_address_is_the_first_untrusted_hop_from_the_right() {
        for (peer, forwarded, expected) in [
            ("192.0.2.1:80", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1:80", "", "10.0.0.1"),
            ("10.0.0.1:80", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1:80", "203.0.113.5, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
            ("10.0.0.1:80", "198.51.100.7:4711", "198.51.100.7"),
            ("10.0.0.1:80", "[2001:db8::1]:4711", "2001:db8::1"),
            ("[fd00::1]:80", "::ffff:198.51.100.7", "198.51.100.7"),
            ("[::ffff:10.0.0.1]:80", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1:80", "198.51.100.7, unknown", "10.0.0.1"),
            ("10.0.0.1:80", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ] {
            let seen = caller(peer, &[("x-forwarded-for", forwarded)]).address;
            assert_eq!(seen.to_string(), expected, "{peer} {forwarded}");
        }
    }

    #[test]
    fn several_header_lines_are_one_list() {
        let lines = [("x-forwarded-for", "203.0.113.5"), ("x-forwarded-for", "198.51.100.7, 10.0.0.2")];
        assert_eq!(caller("10.0.0.1:80", &lines).address.to_string(), "198.51.100.7");
    }

    #[test]
    fn an_inbound_request_id_is_used_only_in_the_safe_alphabet_and_from_a_trusted_proxy() {
        let id = |peer, value: &str| caller(peer, &[("x-request-id", value)]).request_id.to_string();
        let proxy = "10.0.0.1:80";
        assert_eq!(id(proxy, "a.B_9-z"), "a.B_9-z");
        let is_drawn = |id: &str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(is_drawn(&id("192.0.2.1:80", "a.B_9-z")));
        for bad in ["", "a b", "a\u{9}b", "a\"b", "ü", &"a".repeat(65)] {
            assert!(is_drawn(&id(proxy, bad)), "{bad}");
        }
    }

    #[test]
    fn foreign_text_is_capped() {
        let seen = caller("192.0.2.1:80", &[("user-agent", &"x".repeat(9000))]);
        assert_eq!(seen.user_agent.unwrap().len(), LONGEST);
    }
}
