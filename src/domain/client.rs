//! Clients: the registered SPAs, and the addresses to which one-time keys can be delivered.

use aws_lc_rs::digest::{SHA256, digest};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::audience::AudienceSet;
use super::clock::Timestamp;
use super::dpop::ClientDpop;
use super::ids::{ClientId, PolicyId};
use super::lifetimes::LAST_USE_GRAIN;
use super::oauth_request::{EMAIL, OPENID, PROFILE};
use super::redirect_uri::split_loopback;
pub use super::redirect_uri::{InvalidUri, KeyDelivery, Origin, RedirectUri, with_path};
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
    /// The address of the application itself, if it is not the root of its first redirect URI.
    pub home_uri: Option<RedirectUri>,
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
    /// Whether it is a program without a browser of its own, which a person connects in another one (RFC 8628).
    pub device: bool,
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
    /// The policy whose pages this internal client signs people in to; `None` for every registered client.
    pub pages_of: Option<PolicyId>,
    /// Whether its tokens have to be bound to a key (RFC 9449).
    pub dpop: ClientDpop,
}

impl Client {
    /// Whether its logins take part in the browser's session: start it, continue it, end the one before.
    ///
    /// A `legacy` client has one token for all of a person's browsers. A native app only borrows the browser, and any
    /// program on the device can pose as one (RFC 8252 section 8.6): it gets nothing without the provider.
    pub fn shares_browser_session(&self) -> bool {
        !self.legacy && !self.native
    }

    /// Whether it gets tokens that are bound to a key only.
    pub fn requires_dpop(&self) -> bool {
        self.dpop == ClientDpop::Required
    }

    /// The address of the application, for a browser that has no other way back to it. `None` for a native app without
    /// [`Self::home_uri`]: a browser shows none of its addresses.
    pub fn home(&self) -> Option<String> {
        if let Some(home) = &self.home_uri {
            return Some(home.as_str().to_owned());
        }
        let page = self.redirect_uris.first().filter(|_| !self.native)?;
        Some(format!("{}/", page.origin()))
    }

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
                home_uri: None,
                origins: Vec::new(),
                key_delivery: KeyDelivery::Query,
                key_parameter: KeyParameter::OneTimeKey,
                native: false,
                refresh_tokens: false,
                device: false,
                legacy: false,
                enabled: true,
                audiences: "https://api.example.com".parse().unwrap(),
                scopes: "profile".parse().unwrap(),
                login_parameters: Vec::new(),
                inactivity: None,
                pages_of: None,
                dpop: ClientDpop::Optional,
            }
        }
    }

    #[test]
    fn the_home_of_a_client_is_the_configured_one_or_the_root_of_its_redirect_uri() {
        let mut client = Client::example();
        assert_eq!(client.home().as_deref(), Some("https://app.example.com/"));
        client.home_uri = Some("https://www.example.com/app/".parse().unwrap());
        assert_eq!(client.home().as_deref(), Some("https://www.example.com/app/"));
        client.native = true;
        assert_eq!(client.home().as_deref(), Some("https://www.example.com/app/"));
        client.home_uri = None;
        assert_eq!(client.home(), None);
    }
}
