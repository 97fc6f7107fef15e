//! What can be told of a store's URL without connecting.
//!
//! Read by hand, because lists of hosts (`redis+sentinel://a:1,b:2/…`) are not URLs to a URL parser.

/// The scheme.
pub(super) fn scheme(url: &str) -> &str {
    url.split(':').next().unwrap_or_default()
}

/// What stands between `://` and the path or query.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Whether the URL holds a password.
pub(super) fn has_password(url: &str) -> bool {
    let user_info = authority(url).rsplit_once('@').map_or("", |(user_info, _)| user_info);
    let named = ["password", "sentinel_password"];
    user_info.contains(':') || named.iter().any(|name| parameter(url, name).is_some())
}

/// Whether every host that the URL names is this machine; a URL without host names a local socket or file.
pub(super) fn is_local(url: &str) -> bool {
    let authority = authority(url);
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    hosts.split(',').filter(|host| !host.is_empty()).all(|host| {
        let name = host.split(':').next().unwrap_or_default();
        name == "localhost" || name.starts_with("127.") || host.starts_with("[::1]")
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
