//! The server answers for its own names only: a foreign name that resolves to it (DNS rebinding) must not make it
//! part of a foreign site.

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
    /// Whether any bare IP address is an own name: DNS cannot rebind one.
    any_address: bool,
}

impl OwnNames {
    /// The public listener: the host of the public address, and the configured names.
    pub fn public(public_url: &Url, further: &[String]) -> Self {
        let mut names: Vec<String> = further.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.extend(public_url.host_str().map(str::to_owned));
        Self { names, any_address: false }
    }

    /// The admin listener: the configured names, and any bare IP address.
    pub fn admin(further: &[String]) -> Self {
        let names = further.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { names, any_address: true }
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
    let good = |authority: Authority| own.has(authority.host());
    if authority(request.request()).is_some_and(good) {
        Ok(())
    } else {
        Err(ErrorCode::MisdirectedRequest.into())
    }
}

/// The host and port that the request is for; `None` if they are missing or ambiguous.
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
    fn only_own_and_loopback_names_are_answered() {
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
    fn the_admin_listener_answers_bare_addresses_and_no_foreign_name() {
        let own = OwnNames::admin(&[]);
        assert!(accepted(&own, &["10.0.0.7:9090"]));
        assert!(!accepted(&own, &["auth.example.com"]));
    }
}
