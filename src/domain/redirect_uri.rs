//! Addresses of clients: where a login ends, and which origins call the API.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use super::loopback::is_loopback_url;

/// Which part of the redirect to the SPA carries the one-time key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyDelivery {
    /// The query, which works with every SPA router.
    #[default]
    Query,
    /// The fragment, which the browser does not send to the server of the SPA, so that it is not logged there.
    Fragment,
}

/// An address to which a one-time key can be delivered (RFC 6749 section 3.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    url: Url,
}

/// Why an address or origin cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// It is not an absolute URL.
    #[error("is not an absolute URL")]
    NotAbsolute,
    /// It is neither https nor http on a loopback name.
    #[error("must be https (http only for localhost, 127.0.0.1 and [::1] in development)")]
    Scheme,
    /// It is none of the forms that a native app can have.
    #[error(
        "must be https, http on a loopback address, or a private-use scheme with a dot, as in com.example.app:/signed-in"
    )]
    NativeScheme,
    /// Its host contains a wildcard.
    #[error("must name one host, without '*'")]
    Wildcard,
    /// It contains a user name or password.
    #[error("must not contain a user name or password")]
    UserInfo,
    /// It has a fragment.
    #[error("must not contain a fragment ('#')")]
    Fragment,
    /// It contains a backslash, a control character, a space or a non-ASCII character.
    #[error("must be visible ASCII without backslashes")]
    Characters,
    /// Its query contains a parameter name that the broker uses in its response.
    #[error(
        "its query must not contain key, one_time_key, code, state, iss, error, error_description or token"
    )]
    ReservedQueryName,
    /// It is more than scheme, host and port.
    #[error(
        "must be an origin: scheme, host and port, nothing else, in lower case, such as https://app.example.com"
    )]
    NotAnOrigin,
}

const RESERVED_QUERY_NAMES: [&str; 8] =
    ["key", "one_time_key", "code", "state", "iss", "error", "error_description", "token"];

impl RedirectUri {
    /// The address as registered, with `/` as the path if it was written without one.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the address is plain http, which is only allowed in development.
    pub fn is_plain_http(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// Whether the address is https, so that browsers show it as a page of its origin.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The origin of the address.
    pub fn origin(&self) -> Origin {
        Origin(self.url.origin().ascii_serialization())
    }

    /// An address of a native app (RFC 8252 section 7): also a private-use scheme.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn native(text: &str) -> Result<Self, InvalidUri> {
        Self::checked(text, native_url(text)?)
    }

    fn checked(text: &str, url: Url) -> Result<Self, InvalidUri> {
        if url.query_pairs().any(|(name, _)| RESERVED_QUERY_NAMES.contains(&name.as_ref())) {
            return Err(InvalidUri::ReservedQueryName);
        }
        Ok(Self { text: with_path(text).into_owned(), url })
    }

    /// The address with another port, if it is http on a loopback address.
    pub fn with_port(&self, port: Option<u16>) -> Cow<'_, str> {
        match port.zip(split_loopback(&self.text)) {
            Some((port, (host, _, rest))) => Cow::Owned(format!("{host}:{port}{rest}")),
            None => Cow::Borrowed(&self.text),
        }
    }

    /// The address, with this port if it is a native app's, and with `pairs` added to the query or to the fragment.
    ///
    /// The result always has a fragment, even if it is empty, so that the browser does not keep the fragment of the
    /// previous address (RFC 9110 section 10.2.2).
    pub fn with(&self, port: Option<u16>, delivery: KeyDelivery, pairs: &[(&str, &str)]) -> String {
        let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let address = self.with_port(port);
        match delivery {
            KeyDelivery::Fragment => format!("{address}#{encoded}"),
            KeyDelivery::Query => {
                let separator = match self.url.query() {
                    None => "?",
                    Some("") => "",
                    Some(_) => "&",
                };
                format!("{address}{separator}{encoded}#")
            }
        }
    }
}

impl FromStr for RedirectUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::checked(text, checked_url(text)?)
    }
}

/// The address of a page with its path: an empty one is `/` (RFC 3986 section 6.2.3), and browsers always write it.
pub fn with_path(text: &str) -> Cow<'_, str> {
    let rest = ["https://", "http://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
    let Some(rest) = rest.filter(|rest| !rest.is_empty()) else { return Cow::Borrowed(text) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, tail) = text.split_at(text.len() - rest.len() + end);
    if tail.starts_with('/') { Cow::Borrowed(text) } else { Cow::Owned(format!("{host}/{tail}")) }
}

/// The parts of an http address on a loopback IP: scheme with host, port, and the rest. A name such as `localhost` is none
/// (RFC 8252 section 8.3).
pub(super) fn split_loopback(text: &str) -> Option<(&str, Option<u16>, &str)> {
    let host = ["http://127.0.0.1", "http://[::1]"].into_iter().find(|host| text.starts_with(host))?;
    let (host, rest) = text.split_at(host.len());
    let (port, rest) = match rest.strip_prefix(':') {
        None => (None, rest),
        Some(rest) => {
            let (digits, rest) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
            let port: u16 =
                digits.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == digits)?;
            (Some(port), rest)
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, port, rest))
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// An origin as a browser writes it (RFC 6454 section 6.2). Origins are compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(String);

impl Origin {
    /// The origin as a browser sends it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = checked_url(text).map_err(|_| InvalidUri::NotAnOrigin)?;
        let origin = url.origin().ascii_serialization();
        if origin == text { Ok(Self(origin)) } else { Err(InvalidUri::NotAnOrigin) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The checks that are common to redirect URIs and origins.
fn checked_url(text: &str) -> Result<Url, InvalidUri> {
    let url = safe_url(text)?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback_url(&url) => Ok(url),
        _ => Err(InvalidUri::Scheme),
    }
}

/// RFC 8252 section 7: a private-use scheme is a domain name in reverse order, so that no other app has it by accident.
fn native_url(text: &str) -> Result<Url, InvalidUri> {
    let url = safe_url(text)?;
    let is_private = url.scheme().contains('.') && !url.cannot_be_a_base();
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback_url(&url) => Ok(url),
        _ if is_private => Ok(url),
        _ => Err(InvalidUri::NativeScheme),
    }
}

fn safe_url(text: &str) -> Result<Url, InvalidUri> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err(InvalidUri::Characters);
    }
    if text.contains('#') {
        return Err(InvalidUri::Fragment);
    }
    let url = Url::parse(text).map_err(|_| InvalidUri::NotAbsolute)?;
    // `https:app.example.com` parses, but a browser would resolve it relative to the broker's address.
    if url.is_special() && !text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://")) {
        return Err(InvalidUri::NotAbsolute);
    }
    if url.host_str().is_some_and(|host| host.contains('*')) {
        return Err(InvalidUri::Wildcard);
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err(InvalidUri::UserInfo);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_redirect_uris_can_be_registered() {
        for good in [
            "https://app.example.com/signed-in",
            "https://app.example.com",
            "https://app.example.com:8443/a?b=c",
            "http://localhost:5173/",
            "http://127.0.0.1:1/x",
            "http://[::1]:1/x",
        ] {
            assert!(good.parse::<RedirectUri>().is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", InvalidUri::Characters),
            ("/signed-in", InvalidUri::NotAbsolute),
            ("https:app.example.com/x", InvalidUri::NotAbsolute),
            ("https:/app.example.com/x", InvalidUri::NotAbsolute),
            ("http://app.example.com/", InvalidUri::Scheme),
            ("http://localhost.example.com/", InvalidUri::Scheme),
            ("javascript:alert(1)", InvalidUri::Scheme),
            ("blob:https://app.example.com/x", InvalidUri::Scheme),
            ("https://user@app.example.com/", InvalidUri::UserInfo),
            ("https://@app.example.com/", InvalidUri::UserInfo),
            ("https://app.example.com/#", InvalidUri::Fragment),
            ("https://app.example.com\\@evil", InvalidUri::Characters),
            ("https://app.example.com/a b", InvalidUri::Characters),
            ("https://app.example.com/\n", InvalidUri::Characters),
            ("https://äpp.example.com/", InvalidUri::Characters),
            ("https://app.example.com/?code=1", InvalidUri::ReservedQueryName),
            ("https://app.example.com/?a=b&%73tate=1", InvalidUri::ReservedQueryName),
            ("https://app.example.com/?token", InvalidUri::ReservedQueryName),
        ] {
            assert_eq!(bad.parse::<RedirectUri>().unwrap_err(), why, "{bad}");
        }
    }

    #[test]
    fn an_address_without_a_path_is_registered_with_a_slash() {
        for (written, registered) in [
            ("http://localhost:3000", "http://localhost:3000/"),
            ("https://app.example.com", "https://app.example.com/"),
            ("https://app.example.com?tab=a/b", "https://app.example.com/?tab=a/b"),
            ("http://[::1]:1", "http://[::1]:1/"),
            ("https://app.example.com/signed-in", "https://app.example.com/signed-in"),
            ("https://app.example.com/?a=b", "https://app.example.com/?a=b"),
            ("https://app.example.com//", "https://app.example.com//"),
        ] {
            assert_eq!(written.parse::<RedirectUri>().unwrap().as_str(), registered);
            assert_eq!(RedirectUri::native(written).unwrap().as_str(), registered);
        }
        for other in ["com.example.app:", "com.example.app://host", "https://", "", "localhost"] {
            assert_eq!(with_path(other), other);
        }
    }

    #[test]
    fn only_exact_origins_are_accepted() {
        for good in ["https://app.example.com", "http://localhost:5173", "https://app.example.com:8443"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "*",
            "null",
            "https://app.example.com/",
            "https://App.example.com",
            "https://app.example.com:443",
            "https://*.example.com",
            "http://app.example.com",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_redirect_always_has_its_own_fragment() {
        let plain: RedirectUri = "https://a.example/x".parse().unwrap();
        let query: RedirectUri = "https://a.example/x?tab=1".parse().unwrap();
        let pairs = [("one_time_key", "tbo_1"), ("state", "a-b")];
        assert_eq!(
            plain.with(None, KeyDelivery::Query, &pairs),
            "https://a.example/x?one_time_key=tbo_1&state=a-b#"
        );
        assert_eq!(
            query.with(None, KeyDelivery::Query, &pairs),
            "https://a.example/x?tab=1&one_time_key=tbo_1&state=a-b#"
        );
        assert_eq!(
            query.with(None, KeyDelivery::Fragment, &pairs),
            "https://a.example/x?tab=1#one_time_key=tbo_1&state=a-b"
        );
    }

    #[test]
    fn native_apps_can_register_loopback_and_private_use_schemes() {
        for good in [
            "https://app.example.com/signed-in",
            "http://127.0.0.1/cb",
            "http://[::1]:8000/cb?a=b",
            "http://localhost:8000/",
            "com.example.app:/signed-in",
            "com.example.app://host/signed-in",
        ] {
            assert_eq!(RedirectUri::native(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("http://app.example.com/", InvalidUri::NativeScheme),
            ("myapp:/signed-in", InvalidUri::NativeScheme),
            ("javascript:alert(1)", InvalidUri::NativeScheme),
            ("file:///etc/passwd", InvalidUri::NativeScheme),
            ("com.example.app:signed-in", InvalidUri::NativeScheme),
            ("com.example.app:/signed-in#x", InvalidUri::Fragment),
            ("com.example.app:/signed-in?code=1", InvalidUri::ReservedQueryName),
            ("com.example.app://user@host/", InvalidUri::UserInfo),
            ("com.example.app:/a\\b", InvalidUri::Characters),
            ("https:app.example.com/x", InvalidUri::NotAbsolute),
        ] {
            assert_eq!(RedirectUri::native(bad).unwrap_err(), why, "{bad}");
        }
        assert_eq!("com.example.app:/signed-in".parse::<RedirectUri>().unwrap_err(), InvalidUri::Scheme);
    }

    #[test]
    fn the_port_of_a_loopback_address_is_a_whole_number_before_the_path() {
        for (text, parts) in [
            ("http://127.0.0.1/cb", Some(("http://127.0.0.1", None, "/cb"))),
            ("http://127.0.0.1", Some(("http://127.0.0.1", None, ""))),
            ("http://[::1]:1?x", Some(("http://[::1]", Some(1), "?x"))),
            ("http://127.0.0.1:65535/", Some(("http://127.0.0.1", Some(65535), "/"))),
            ("http://127.0.0.1:65536/", None),
            ("http://127.0.0.1:0/", None),
            ("http://127.0.0.1:01/", None),
            ("http://127.0.0.1:/", None),
            ("http://127.0.0.1:1x/", None),
            ("http://127.0.0.1.evil.example/", None),
            ("http://127.0.0.1@evil.example/", None),
            ("http://localhost:1/", None),
            ("https://127.0.0.1/", None),
        ] {
            assert_eq!(split_loopback(text), parts, "{text}");
        }
    }
}
