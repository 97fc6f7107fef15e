//! Whether a host is this machine. The one place that decides it, for plain http, own host names and warnings.

use std::net::IpAddr;

use url::Url;

/// Whether `host`, as in a URL or a `Host` header without the port, is a name of this machine that no DNS server can
/// give to another one: `localhost`, 127.0.0.0/8 or ::1, with or without brackets.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether the host of `url` is this machine.
pub fn is_loopback_url(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "[::2]",
            "[localhost]",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_host_of_a_url_counts_and_nothing_else() {
        let is_loopback = |url: &str| is_loopback_url(&url.parse().unwrap());
        assert!(is_loopback("http://[::1]:1/x") && is_loopback("https://127.1/"));
        assert!(!is_loopback("https://localhost@example.com/") && !is_loopback("data:localhost"));
    }
}
