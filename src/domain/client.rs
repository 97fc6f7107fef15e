//! Clients: the registered SPAs, and the addresses to which one-time keys can be delivered.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use url::Url;

use super::audience::AudienceSet;
use super::clock::Timestamp;
use super::ids::ClientId;
use super::lifetimes::LAST_USE_GRAIN;
use super::loopback::is_loopback_url;
use super::oauth_request::{EMAIL, OPENID, PROFILE};
use super::scope::{Scope, ScopeSet};

/// A registered SPA or other public client (RFC 6749 section 2.1).
#[derive(Debug, Clone)]
pub struct Client {
    /// The `client_id`.
    pub id: ClientId,
    /// The name that is shown on the broker's pages.
    pub display_name: String,
    /// The addresses to which one-time keys can be delivered. They are compared byte for byte.
    pub redirect_uris: Vec<RedirectUri>,
    /// The addresses to which the browser can return after a logout. They are compared byte for byte.
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// The origins that can call the API from a browser.
    pub origins: Vec<Origin>,
    /// Which part of the redirect URI carries the one-time key.
    pub key_delivery: KeyDelivery,
    /// The name of the parameter that carries the one-time key.
    pub key_parameter: KeyParameter,
    /// Whether it is an app on the person's own device (RFC 8252): its loopback addresses match with any port.
    pub native: bool,
    /// Whether `/oauth2/token` also gives it refresh tokens.
    pub refresh_tokens: bool,
    /// Whether this client uses the API of the home-grown service that this broker replaces.
    pub legacy: bool,
    /// Whether the client is enabled. A disabled client is treated as unknown.
    pub enabled: bool,
    /// The APIs that its tokens are for (RFC 8707).
    pub audiences: AudienceSet,
    /// What its tokens may be used for.
    pub scopes: ScopeSet,
    /// The optional parameters of `/login` that the client can use.
    pub login_parameters: Vec<LoginParameter>,
    /// After how long without a request the client's tokens are refused. `None` means no limit.
    pub inactivity: Option<TimeDelta>,
}

impl Client {
    /// Whether a session that was last used at `last_used` has been inactive for too long (NIST SP 800-63B section
    /// 5.2).
    ///
    /// The last use is stored at most once every [`LAST_USE_GRAIN`], so the actual last use can be that much later. That
    /// is added to the limit: a session is never ended too early, and at most that much too late.
    pub fn is_idle(&self, last_used: Timestamp, now: Timestamp) -> bool {
        self.inactivity.is_some_and(|limit| now - last_used >= limit + LAST_USE_GRAIN)
    }

    /// The registered address equal to `presented`, byte for byte (RFC 9700 section 2.1). For a native app, the port
    /// of a loopback address may be another one, which is returned too (RFC 8252 section 7.3).
    pub fn redirect_uri(&self, presented: &str) -> Option<(&RedirectUri, Option<u16>)> {
        if let Some(exact) = self.redirect_uris.iter().find(|registered| registered.as_str() == presented) {
            return Some((exact, None));
        }
        let (host, port, path) = split_loopback(presented).filter(|_| self.native)?;
        let same = |registered: &&RedirectUri| {
            split_loopback(registered.as_str()).is_some_and(|(other, _, rest)| (other, rest) == (host, path))
        };
        self.redirect_uris.iter().find(same).zip(port).map(|(registered, port)| (registered, Some(port)))
    }

    /// Those of `requested` that its tokens can have: its own, `openid`, and `email` for a client that may know the
    /// person's profile. Others are ignored (RFC 6749 section 3.3, OpenID Connect Core section 3.1.2.1).
    pub fn grantable(&self, requested: &ScopeSet) -> ScopeSet {
        let can_have = |scope: &&Scope| match scope.as_str() {
            OPENID => true,
            EMAIL if self.scopes.contains(PROFILE) => true,
            other => self.scopes.contains(other),
        };
        requested.iter().filter(can_have).cloned().collect()
    }

    /// The registered address with this digest.
    pub fn redirect_uri_by_digest(&self, digest: ShortDigest) -> Option<&RedirectUri> {
        self.redirect_uris.iter().find(|registered| ShortDigest::of(registered.as_str()) == digest)
    }

    /// The registered post-logout address equal to `presented`, byte for byte.
    pub fn post_logout_redirect_uri(&self, presented: &str) -> Option<&RedirectUri> {
        self.post_logout_redirect_uris.iter().find(|registered| registered.as_str() == presented)
    }

    /// Those of the client's audiences that have these digests, all of them if there is no digest; `None` if one of
    /// the digests belongs to none of them.
    pub fn audiences_by_digests(&self, digests: &[ShortDigest]) -> Option<AudienceSet> {
        if digests.is_empty() {
            return Some(self.audiences.clone());
        }
        let with_digest = |digest: &ShortDigest| {
            self.audiences.iter().find(|audience| ShortDigest::of(audience.as_str()) == *digest).cloned()
        };
        AudienceSet::new(digests.iter().map(with_digest).collect::<Option<Vec<_>>>()?).ok()
    }

    /// The registered post-logout address with this digest.
    pub fn post_logout_redirect_uri_by_digest(&self, digest: ShortDigest) -> Option<&RedirectUri> {
        let registered = self.post_logout_redirect_uris.iter();
        registered.into_iter().find(|registered| ShortDigest::of(registered.as_str()) == digest)
    }

    /// The post-logout address, if exactly one is registered.
    pub fn only_post_logout_redirect_uri(&self) -> Option<&RedirectUri> {
        match self.post_logout_redirect_uris.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether `origin` is registered for this client.
    pub fn has_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|registered| registered.as_str() == origin)
    }
}

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

/// The name of the parameter that carries the one-time key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyParameter {
    /// `one_time_key`.
    #[default]
    OneTimeKey,
    /// `code`: the OAuth name (RFC 6749 section 4.1.2), which SPAs of the replaced service expect.
    Code,
}

impl KeyParameter {
    /// The name of the parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneTimeKey => "one_time_key",
            Self::Code => "code",
        }
    }
}

/// An optional parameter of `/login` that is passed on to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginParameter {
    /// `prompt` (OpenID Connect Core section 3.1.2.1).
    Prompt,
    /// `login_hint`.
    LoginHint,
    /// `max_age`, which is checked against the ID token.
    MaxAge,
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
    /// The address exactly as registered.
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
        Ok(Self { text: text.to_owned(), url })
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

/// The parts of an http address on a loopback IP: scheme with host, port, and the rest. A name such as `localhost` is none
/// (RFC 8252 section 8.3).
fn split_loopback(text: &str) -> Option<(&str, Option<u16>, &str)> {
    let host = ["http://127.0.0.1", "http://[::1]"].into_iter().find(|host| text.starts_with(host))?;
    let (host, rest) = text.split_at(host.len());
    let (port, rest) = match rest.strip_prefix(':') {
        None => (None, rest),
        Some(rest) => {
            let (digits, rest) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
            let port: u16 = digits.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == digits)?;
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
    if url.is_special()
        && !text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://"))
    {
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

/// The first 64 bits of a SHA-256 digest: a short reference to one of a few configured texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortDigest([u8; 8]);

impl ShortDigest {
    /// The digest of `text`.
    pub fn of(text: &str) -> Self {
        let mut cut = [0; 8];
        cut.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..8]);
        Self(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Client {
        /// The client `web` of tests.
        pub(crate) fn example() -> Self {
            Self {
                id: "web".parse().unwrap(),
                display_name: "Web".to_owned(),
                redirect_uris: vec!["https://app.example.com/signed-in".parse().unwrap()],
                post_logout_redirect_uris: Vec::new(),
                origins: Vec::new(),
                key_delivery: KeyDelivery::Query,
                key_parameter: KeyParameter::OneTimeKey,
                native: false,
                refresh_tokens: false,
                legacy: false,
                enabled: true,
                audiences: "https://api.example.com".parse().unwrap(),
                scopes: "profile".parse().unwrap(),
                login_parameters: Vec::new(),
                inactivity: None,
            }
        }
    }

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
}
