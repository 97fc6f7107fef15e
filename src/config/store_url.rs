//! The URL of a store as the configuration shows and judges it: passwords masked, local or not.
//!
//! Parsed by hand, because URL parsers do not support lists of hosts (`redis+sentinel://a:1,b:2/…`).

use secrecy::ExposeSecret;
use serde::{Serialize, Serializer};

use super::secret::{MASK, Secret};
use crate::domain::loopback::is_loopback;

/// Serialises the URL of a store with its secrets masked.
pub(super) fn masked_url<S: Serializer>(url: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_ref().map(|url| masked(url.0.expose_secret())).serialize(serializer)
}

/// The scheme.
pub(super) fn scheme(url: &str) -> &str {
    url.split(':').next().unwrap_or_default()
}

/// The part between `://` and the path or query.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Whether the URL contains a password.
pub(super) fn has_password(url: &str) -> bool {
    let user_info = authority(url).rsplit_once('@').map_or("", |(user_info, _)| user_info);
    let named = ["password", "sentinel_password"];
    user_info.contains(':') || named.iter().any(|name| parameter(url, name).is_some())
}

/// The URL with passwords masked. What may be a password, or is not understood, is masked too.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let is_plain = matches!(scheme(url), "sqlite" | "memory");
        return if is_plain { masked_parameters(url) } else { MASK.to_owned() };
    };
    // Up to the last '@', because a password may contain '@', '/' or '?'.
    let rest = match rest.rsplit_once('@') {
        // Behind a '?' the '@' may belong to the value of a parameter: either side may be the secret.
        Some((user_info, _)) if user_info.contains('?') => return format!("{scheme}://{MASK}"),
        Some((user_info, hosts)) => match user_info.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{hosts}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    masked_parameters(&format!("{scheme}://{rest}"))
}

/// Masks the values of parameters whose name suggests a secret.
fn masked_parameters(url: &str) -> String {
    let Some((url, query)) = url.split_once('?') else { return url.to_owned() };
    let may_be_secret = |name: &str| {
        let name = name.to_lowercase();
        ["pass", "secret", "key", "%"].iter().any(|part| name.contains(part))
    };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if may_be_secret(name) => format!("{name}={MASK}"),
            Some(_) => pair.to_owned(),
            None => MASK.to_owned(),
        })
        .collect();
    format!("{url}?{}", pairs.join("&"))
}

/// Whether every host of the URL is this machine. A URL without a host names a local socket or file.
pub(super) fn is_local(url: &str) -> bool {
    let authority = authority(url);
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    hosts.split(',').filter(|host| !host.is_empty()).all(|host| {
        let end = host.find(']').map_or_else(|| host.find(':'), |bracket| Some(bracket + 1));
        is_loopback(&host[..end.unwrap_or(host.len())])
    })
}

/// The value of a query parameter.
pub(super) fn parameter<'a>(url: &'a str, name: &str) -> Option<&'a str> {
    let pairs = url.split_once('?')?.1.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis+sentinel://a:1,b:2/x?sentinel_password=hid@den", "redis+sentinel://(secret)"),
            ("postgres://user@h:5432/db?password=hid@den", "postgres://(secret)"),
            ("sqlite:/var/lib/broker.sqlite", "sqlite:/var/lib/broker.sqlite"),
            ("memory:", "memory:"),
            ("redis://redis.internal:6379/0", "redis://redis.internal:6379/0"),
            (
                "postgres://user@h:5432/db?sslmode=verify-full",
                "postgres://user@h:5432/db?sslmode=verify-full",
            ),
            ("rediss://:hidden@h:6380/0", "rediss://:(secret)@h:6380/0"),
            ("redis+sentinel://u:hidden@a:1,b:2/x", "redis+sentinel://u:(secret)@a:1,b:2/x"),
            ("redis+cluster://u:hidden@a,u:hidden@b", "redis+cluster://u:(secret)@b"),
            ("postgres://u:hid@den/hid?den@h/db", "postgres://(secret)"),
            ("postgres://h/db?a=b&Password=hidden", "postgres://h/db?a=b&Password=(secret)"),
            ("postgres://h/db?p%61ssword=hidden", "postgres://h/db?p%61ssword=(secret)"),
            (
                "redis+sentinel://a/x?sentinel_password=hidden",
                "redis+sentinel://a/x?sentinel_password=(secret)",
            ),
            ("postgres:u:hidden@h", "(secret)"),
            ("hidden", "(secret)"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }

    #[test]
    fn hosts_and_passwords_are_recognised() {
        for url in
            ["redis://u:p@h/0", "redis://:p@h", "postgres://h/db?a=b&password=p", "redis+sentinel://x:y@a,b"]
        {
            assert!(has_password(url), "{url}");
        }
        for url in ["redis://h:6379/0", "postgres://user@h:5432/db", "sqlite:/a:b@c", "memory:"] {
            assert!(!has_password(url), "{url}");
        }
        for url in ["redis://localhost:1", "postgres:///db?host=/run", "rediss://u:p@127.0.0.1:1,[::1]:2/0"] {
            assert!(is_local(url), "{url}");
        }
        for url in [
            "redis://redis.internal",
            "redis://localhost.example.com",
            "redis+cluster://127.0.0.1:1,10.0.0.1:2",
        ] {
            assert!(!is_local(url), "{url}");
        }
    }
}
