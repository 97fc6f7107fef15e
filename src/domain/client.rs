//! Clients: the registered SPAs, and the addresses that keys may be delivered to.

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
use super::scope::ScopeSet;
use super::loopback::is_loopback_url;

/// A registered SPA or other public client (RFC 6749 section 2.1).
#[derive(Debug, Clone)]
pub struct Client {
    /// Its `client_id`.
    pub id: ClientId,
    /// What people call it; shown on the broker's pages.
    pub display_name: String,
    /// The addresses that one-time keys may be delivered to, compared byte for byte.
    pub redirect_uris: Vec<RedirectUri>,
    /// The addresses that the browser may return to after a logout, compared byte for byte.
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// The origins that may call the API from a browser.
    pub origins: Vec<Origin>,
    /// Where in the redirect the key travels.
    pub key_delivery: KeyDelivery,
    /// The name of the redirect's parameter that carries the key.
    pub key_parameter: KeyParameter,
    /// Whether it keeps the contract of the service that this broker replaces.
    pub legacy: bool,
    /// Whether logins are allowed; a disabled client is treated as unknown.
    pub enabled: bool,
    /// The APIs that its tokens are for (RFC 8707).
    pub audiences: AudienceSet,
    /// What its tokens may be used for.
    pub scopes: ScopeSet,
    /// Which optional parameters of `/login` it may use.
    pub login_parameters: Vec<LoginParameter>,
    /// After how long without a call its tokens are refused, where it says so.
    pub inactivity: Option<TimeDelta>,
}

impl Client {
    /// Whether a session that was last used at `last_used` has been idle for too long (NIST SP 800-63B section
    /// 5.2).
    ///
    /// The last use is written down at most every [`LAST_USE_GRAIN`], so it may have been that much later than
    /// is known: nobody is signed out too early, and at most that much too late.
    pub fn is_idle(&self, last_used: Timestamp, now: Timestamp) -> bool {
        self.inactivity.is_some_and(|limit| now - last_used >= limit + LAST_USE_GRAIN)
    }

    /// The registered address equal to `presented`, byte for byte (RFC 9700 section 2.1).
    pub fn redirect_uri(&self, presented: &str) -> Option<&RedirectUri> {
        self.redirect_uris.iter().find(|registered| registered.as_str() == presented)
    }

    /// The registered address with this digest.
    pub fn redirect_uri_by_digest(&self, digest: ShortDigest) -> Option<&RedirectUri> {
        self.redirect_uris.iter().find(|registered| ShortDigest::of(registered.as_str()) == digest)
    }

    /// The address that is registered for returning to after a logout and equals `presented`, byte for byte.
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

    /// The address for returning to after a logout that has this digest.
    pub fn post_logout_redirect_uri_by_digest(&self, digest: ShortDigest) -> Option<&RedirectUri> {
        let registered = self.post_logout_redirect_uris.iter();
        registered.into_iter().find(|registered| ShortDigest::of(registered.as_str()) == digest)
    }

    /// The only address for returning to after a logout, where there is just one.
    pub fn only_post_logout_redirect_uri(&self) -> Option<&RedirectUri> {
        match self.post_logout_redirect_uris.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether `origin` is one of the client's own.
    pub fn has_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|own| own.as_str() == origin)
    }
}

#[cfg(test)]
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
            legacy: false,
            enabled: true,
            audiences: "https://api.example.com".parse().unwrap(),
            scopes: "profile".parse().unwrap(),
            login_parameters: Vec::new(),
            inactivity: None,
        }
    }
}

/// Where the one-time key travels in the redirect to the SPA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyDelivery {
    /// In the query: works with every router.
    #[default]
    Query,
    /// In the fragment: stays out of the SPA's server log.
    Fragment,
}

/// The name under which the SPA finds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyParameter {
    /// `one_time_key`.
    #[default]
    OneTimeKey,
    /// `code`: OAuth's own name (RFC 6749 section 4.1.2), and what older SPAs of the replaced service read.
    Code,
}

impl KeyParameter {
    /// The parameter's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneTimeKey => "one_time_key",
            Self::Code => "code",
        }
    }
}

/// A parameter of `/login` that goes on to the provider, where the client may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginParameter {
    /// `prompt` (OpenID Connect Core section 3.1.2.1).
    Prompt,
    /// `login_hint`.
    LoginHint,
    /// `max_age`; checked in the ID token.
    MaxAge,
}

/// An address that a key may be delivered to (RFC 6749 section 3.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    url: Url,
}

/// Why an address or origin cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// It does not parse as an absolute URL.
    #[error("is not an absolute URL")]
    NotAbsolute,
    /// Neither https nor http on a loopback name.
    #[error("must be https (http only for localhost, 127.0.0.1 and [::1] in development)")]
    Scheme,
    /// Its host has a wildcard.
    #[error("must name one host, without '*'")]
    Wildcard,
    /// It names a user or password.
    #[error("must not contain a user name or password")]
    UserInfo,
    /// It has a fragment.
    #[error("must not contain a fragment ('#')")]
    Fragment,
    /// It has a backslash, a control character, a space or a non-ASCII character.
    #[error("must be visible ASCII without backslashes")]
    Characters,
    /// Its query has a name that the broker's own answer uses.
    #[error(
        "its query must not contain key, one_time_key, code, state, iss, error, error_description or token"
    )]
    ReservedQueryName,
    /// It is not scheme, host and port alone.
    #[error(
        "must be an origin: scheme, host and port, nothing else, in lower case, as in https://app.example.com"
    )]
    NotAnOrigin,
}

const RESERVED_QUERY_NAMES: [&str; 8] =
    ["key", "one_time_key", "code", "state", "iss", "error", "error_description", "token"];

impl RedirectUri {
    /// The address as registered.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is plain http, which only development allows.
    pub fn is_plain_http(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// The origin of the page behind it.
    pub fn origin(&self) -> Origin {
        Origin(self.url.origin().ascii_serialization())
    }

    /// The address with `pairs` added where `delivery` says.
    ///
    /// Always with an explicit fragment, even an empty one, so that the browser does not carry an older
    /// fragment over (RFC 9110 section 10.2.2).
    pub fn with(&self, delivery: KeyDelivery, pairs: &[(&str, &str)]) -> String {
        let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        match delivery {
            KeyDelivery::Fragment => format!("{}#{encoded}", self.text),
            KeyDelivery::Query => {
                let joint = match self.url.query() {
                    None => "?",
                    Some("") => "",
                    Some(_) => "&",
                };
                format!("{}{joint}{encoded}#", self.text)
            }
        }
    }
}

impl FromStr for RedirectUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = checked_url(text)?;
        if url.query_pairs().any(|(name, _)| RESERVED_QUERY_NAMES.contains(&name.as_ref())) {
            return Err(InvalidUri::ReservedQueryName);
        }
        Ok(Self { text: text.to_owned(), url })
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// An origin in the browser's own spelling (RFC 6454 section 6.2): compared byte for byte.
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

/// The checks that redirect addresses and origins share.
fn checked_url(text: &str) -> Result<Url, InvalidUri> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err(InvalidUri::Characters);
    }
    if text.contains('#') {
        return Err(InvalidUri::Fragment);
    }
    let url = Url::parse(text).map_err(|_| InvalidUri::NotAbsolute)?;
    // `https:app.example.com` parses, but a browser would read it as relative to our own address.
    if !text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://")) && !url.cannot_be_a_base()
    {
        return Err(InvalidUri::NotAbsolute);
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback_url(&url) => {}
        _ => return Err(InvalidUri::Scheme),
    }
    if url.host_str().is_some_and(|host| host.contains('*')) {
        return Err(InvalidUri::Wildcard);
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err(InvalidUri::UserInfo);
    }
    Ok(url)
}

/// The first 64 bits of a SHA-256: names one of a few configured texts in little room.
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

    #[test]
    fn ls_02_only_safe_addresses_can_be_registered() {
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
    fn origins_are_exact() {
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
    fn cb_11_the_redirect_always_has_a_fragment_of_its_own() {
        let plain: RedirectUri = "https://a.example/x".parse().unwrap();
        let query: RedirectUri = "https://a.example/x?tab=1".parse().unwrap();
        let pairs = [("one_time_key", "tbo_1"), ("state", "a-b")];
        assert_eq!(
            plain.with(KeyDelivery::Query, &pairs),
            "https://a.example/x?one_time_key=tbo_1&state=a-b#"
        );
        assert_eq!(
            query.with(KeyDelivery::Query, &pairs),
            "https://a.example/x?tab=1&one_time_key=tbo_1&state=a-b#"
        );
        assert_eq!(
            query.with(KeyDelivery::Fragment, &pairs),
            "https://a.example/x?tab=1#one_time_key=tbo_1&state=a-b"
        );
    }
}
