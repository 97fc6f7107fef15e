//! The server answers for its own names only, so that a foreign name that is pointed at it (DNS rebinding)
//! cannot make it part of a foreign site.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::HOST;
use actix_web::http::uri::Authority;
use url::Url;

use crate::domain::loopback::is_loopback;
use crate::error::{ErrorCode, Result};

/// The names that a listener answers for, besides the loopback ones.
#[derive(Debug, Clone)]
pub struct OwnNames {
    names: Vec<String>,
    /// Whether any bare address is an own name: no DNS can point one elsewhere.
    any_address: bool,
    /// Whether any name is one for the probes, which come by the machine's own address.
    any_for_probes: bool,
}

impl OwnNames {
    /// The public listener: the host of the public address, and what configuration adds. Its probes say nothing
    /// that is worth stealing.
    pub fn public(public_url: &Url, further: &[String]) -> Self {
        let mut names: Vec<String> = further.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.extend(public_url.host_str().map(str::to_owned));
        Self { names, any_address: false, any_for_probes: true }
    }

    /// The admin listener: what configuration says, and any bare address. Its health names what is wrong, so it
    /// is not for foreign names.
    pub fn admin(further: &[String]) -> Self {
        let names = further.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { names, any_address: true, any_for_probes: false }
    }

    fn has(&self, host: &str) -> bool {
        is_loopback(host)
            || (self.any_address && address(host).is_some())
            || self.names.iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Refuses a request for a host that is not one of `own`. Ports do not matter.
pub fn check(request: &ServiceRequest, own: &OwnNames) -> Result<()> {
    let probe = matches!(request.path().trim_end_matches('/'), "/healthz" | "/readyz");
    let good = |authority: Authority| own.has(authority.host());
    if (probe && own.any_for_probes) || authority(request.request()).is_some_and(good) {
        Ok(())
    } else {
        Err(ErrorCode::MisdirectedRequest.into())
    }
}

/// The host and port that the request is for; none where it does not say so clearly.
pub fn authority(request: &HttpRequest) -> Option<Authority> {
    let mut headers = request.headers().get_all(HOST);
    let authority = match (request.uri().authority(), headers.next()) {
        (Some(authority), None) => Some(authority.clone()),
        (None, Some(header)) => Authority::try_from(header.as_bytes()).ok(),
        (Some(authority), Some(header)) if authority.as_str().as_bytes() == header.as_bytes() => {
            Some(authority.clone())
        }
        _ => None,
    };
    let alone = headers.next().is_none();
    authority.filter(|authority| alone && !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn accepted(own: &OwnNames, hosts: &[&str]) -> bool {
        let mut request = TestRequest::get();
        for host in hosts {
            request = request.append_header((HOST, *host));
        }
        match check(&request.to_srv_request(), own) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::MisdirectedRequest);
                false
            }
        }
    }

    #[test]
    fn ad_09_only_own_and_loopback_names_are_answered() {
        let url = "https://auth.example.com".parse().unwrap();
        let own = OwnNames::public(&url, &["broker.Internal".to_owned()]);
        for host in [
            "auth.example.com",
            "AUTH.example.com:443",
            "broker.internal:8080",
            "localhost",
            "127.0.0.1:8080",
            "[::1]:8080",
        ] {
            assert!(accepted(&own, &[host]), "{host}");
        }
        for host in [
            "evil.example",
            "auth.example.com.evil.example",
            "auth.example.com.",
            "x@auth.example.com",
            "192.0.2.1",
            "localhost.evil.example",
            "auth.example.com/",
            "",
        ] {
            assert!(!accepted(&own, &[host]), "{host}");
        }
        assert!(!accepted(&own, &[]));
        assert!(!accepted(&own, &["auth.example.com", "auth.example.com"]));
    }

    #[test]
    fn ad_09_the_admin_listener_answers_bare_addresses_and_no_foreign_name() {
        let own = OwnNames::admin(&[]);
        assert!(accepted(&own, &["10.0.0.7:9090"]));
        assert!(!accepted(&own, &["auth.example.com"]));
    }

    /// The admin listener's `/healthz` is detailed: a page of another site must not read it by a name of its own
    /// that it points at 127.0.0.1.
    #[test]
    fn ad_09_probes_come_by_any_name_on_the_public_listener_only() {
        let public = OwnNames::public(&"https://auth.example.com".parse().unwrap(), &[]);
        let admin = OwnNames::admin(&[]);
        for (path, host, at_public, at_admin) in [
            ("/healthz", "rebound.evil.example", true, false),
            ("/readyz/", "rebound.evil.example", true, false),
            ("/healthz", "10.0.0.7:8080", true, true),
            ("/healthz", "localhost", true, true),
            ("/healthz/more", "rebound.evil.example", false, false),
        ] {
            for (own, expected) in [(&public, at_public), (&admin, at_admin)] {
                let request = TestRequest::with_uri(path).insert_header((HOST, host)).to_srv_request();
                assert_eq!(check(&request, own).is_ok(), expected, "{path} at {host}: {own:?}");
            }
        }
    }
}
