//! The headers that tell the API behind a gateway who the visitor is.
//!
//! Every configured header is in every positive answer, empty if there is no value, so that a gateway that copies the
//! headers overwrites whatever the visitor has sent under these names. Values are visible ASCII; every other character,
//! and `%`, is percent-encoded UTF-8 (RFC 3986 section 2.1), so that one way of decoding reads all of them.

use std::collections::BTreeMap;

use actix_web::http::header::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::domain::profile::ProfileText;
use crate::domain::user::User;
use crate::flow::forward_auth::Admitted;

/// What is encoded beside what is not ASCII.
const TEXT: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The same in a list, whose elements are separated by commas.
const ELEMENT: &AsciiSet = &TEXT.add(b',');

/// The longest list, in bytes: gateways refuse answers whose headers are too large. A longer list is left out.
const LONGEST_LIST: usize = 4096;

/// What a header can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// The stable local id.
    User,
    /// The login name.
    Username,
    /// The full name.
    DisplayName,
    /// The email address.
    Email,
    /// `true` or `false`: whether the provider has verified the address.
    EmailVerified,
    /// The provider of the sign-in.
    Provider,
    /// The groups.
    Groups,
    /// The permissions.
    Permissions,
    /// The client that the token was issued to.
    ClientId,
    /// The scopes of the token.
    Scope,
    /// All of these as a signed JWT.
    Assertion,
}

/// Names that are in common use, so that an API need not be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// `X-Auth-User`, `X-Auth-Username`, …
    #[default]
    XAuth,
    /// `Remote-User`, `Remote-Name`, `Remote-Email`, `Remote-Groups`.
    RemoteUser,
    /// The names of oauth2-proxy: `X-Auth-Request-User`, …
    XAuthRequest,
}

impl Preset {
    /// Its headers.
    pub fn names(self) -> &'static [(Claim, &'static str)] {
        match self {
            Self::XAuth => &[
                (Claim::User, "x-auth-user"),
                (Claim::Username, "x-auth-username"),
                (Claim::DisplayName, "x-auth-name"),
                (Claim::Email, "x-auth-email"),
                (Claim::ClientId, "x-auth-client"),
                (Claim::Scope, "x-auth-scope"),
            ],
            Self::RemoteUser => &[
                (Claim::User, "remote-user"),
                (Claim::DisplayName, "remote-name"),
                (Claim::Email, "remote-email"),
                (Claim::Groups, "remote-groups"),
            ],
            Self::XAuthRequest => &[
                (Claim::User, "x-auth-request-user"),
                (Claim::Username, "x-auth-request-preferred-username"),
                (Claim::Email, "x-auth-request-email"),
                (Claim::Groups, "x-auth-request-groups"),
            ],
        }
    }
}

/// Why a header cannot tell who the visitor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Servers and CGI programs read `X_Auth_User` and `X.Auth.User` as `X-Auth-User`.
    #[error("must consist of letters, digits and hyphens, as in X-Auth-User")]
    Characters,
    /// The header has another meaning.
    #[error("has another meaning in HTTP or for gateways: choose another name, as in X-Auth-User")]
    Reserved,
}

/// Headers with another meaning, for HTTP, browsers, gateways or this broker.
const RESERVED: &[&str] = &[
    "age",
    "allow",
    "alt-svc",
    "authorization",
    "connection",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "keep-alive",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "x-api-key",
    "x-csrf-token",
    "x-dns-prefetch-control",
    "x-frame-options",
    "x-powered-by",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
    "x-xss-protection",
];

/// Families of such headers.
const RESERVED_PREFIXES: &[&str] = &[
    "accept",
    "access-control-",
    "cache-control",
    "cdn-",
    "cf-",
    "clear-site-data",
    "content-",
    "cross-origin-",
    "etag",
    "if-",
    "permissions-policy",
    "proxy-",
    "referrer-policy",
    "sec-",
    "traceparent",
    "tracestate",
    "x-accel-",
    "x-b3-",
    "x-content-type-",
    "x-envoy-",
    "x-forwarded-",
    "x-http-method",
    "x-original-",
    "x-rewrite-",
    "x-sendfile",
];

/// Reads the name of a header that is to tell something about the visitor.
///
/// # Errors
/// It has other characters than letters, digits and hyphens, or another meaning.
pub fn header_name(text: &str) -> Result<HeaderName, InvalidName> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let name: HeaderName = text.parse().map_err(|_| InvalidName::Characters)?;
    if !text.bytes().all(allowed) {
        return Err(InvalidName::Characters);
    }
    let lower = name.as_str();
    let reserved =
        RESERVED.contains(&lower) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
    if reserved { Err(InvalidName::Reserved) } else { Ok(name) }
}

/// The configured headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityHeaders {
    names: BTreeMap<Claim, HeaderName>,
    /// Whether an email address that the provider has not verified is told.
    unverified_email: bool,
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        let names = Preset::default().names().iter();
        Self::new(names.map(|(claim, name)| (*claim, HeaderName::from_static(name))).collect(), false)
    }
}

impl IdentityHeaders {
    /// These headers.
    pub fn new(names: BTreeMap<Claim, HeaderName>, unverified_email: bool) -> Self {
        Self { names, unverified_email }
    }

    /// Adds a header.
    pub fn add(&mut self, claim: Claim, name: HeaderName) {
        self.names.insert(claim, name);
    }

    /// Whether this is told.
    pub fn tell(&self, claim: Claim) -> bool {
        self.names.contains_key(&claim)
    }

    /// Whether permissions or groups are told.
    pub fn need_permissions(&self) -> bool {
        self.tell(Claim::Groups) || self.tell(Claim::Permissions)
    }

    /// The headers for this visitor: every configured one. The caller makes the assertion, if it is told.
    pub fn of(
        &self,
        admitted: &Admitted,
        assertion: Option<&str>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.names.iter().map(move |(claim, name)| {
            let value = match claim {
                Claim::Assertion => assertion.unwrap_or_default().to_owned(),
                claim => self.value(*claim, name, admitted),
            };
            (name.clone(), HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("")))
        })
    }

    /// The address that may be told.
    pub(super) fn email_of<'a>(&self, user: &'a User) -> Option<&'a ProfileText> {
        user.email.as_ref().filter(|_| user.email_verified || self.unverified_email)
    }

    fn value(&self, claim: Claim, name: &HeaderName, admitted: &Admitted) -> String {
        let Admitted { user, token, permissions, .. } = admitted;
        let list = |names: &mut dyn Iterator<Item = &str>| list(name, names);
        match claim {
            Claim::User => user.id.to_string(),
            Claim::Username => text(user.username.as_ref()),
            Claim::DisplayName => text(user.display_name.as_ref()),
            Claim::Email => text(self.email_of(user)),
            Claim::EmailVerified => is_verified(user).to_string(),
            Claim::Provider => user.provider.to_string(),
            Claim::Groups => list(&mut permissions.iter().flat_map(|user| user.groups.iter())),
            Claim::Permissions => list(&mut permissions.iter().flat_map(|user| user.permissions.iter())),
            Claim::ClientId => token.client_id.to_string(),
            Claim::Scope => list(&mut token.scopes.iter().map(|scope| scope.as_str())),
            Claim::Assertion => String::new(),
        }
    }
}

/// Whether the provider has verified the address that the user has.
pub(super) fn is_verified(user: &User) -> bool {
    user.email.is_some() && user.email_verified
}

fn text(text: Option<&ProfileText>) -> String {
    text.map(|text| utf8_percent_encode(text.as_str(), TEXT).to_string()).unwrap_or_default()
}

/// The elements, separated by commas. A list that is too long is left out as a whole: a part of it could grant what the
/// whole denies.
fn list(name: &HeaderName, elements: &mut dyn Iterator<Item = &str>) -> String {
    let elements: Vec<String> =
        elements.map(|element| utf8_percent_encode(element, ELEMENT).to_string()).collect();
    let list = elements.join(",");
    if list.len() <= LONGEST_LIST {
        return list;
    }
    warn!(header = %name, length = list.len(), "a list is too long for a header and is left out");
    String::new()
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_with_another_meaning_are_refused() {
        for good in ["X-Auth-User", "Remote-User", "x-auth-request-groups", "User-Id", "X-Token-Client"] {
            assert!(header_name(good).is_ok(), "{good}");
        }
        for bad in ["X_Auth_User", "X.Auth.User", "X Auth", "", "X-Auth-User:", "Ünser"] {
            assert_eq!(header_name(bad), Err(InvalidName::Characters), "{bad}");
        }
        for bad in [
            "Authorization",
            "Cookie",
            "Set-Cookie",
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "connection",
            "WWW-Authenticate",
            "X-Forwarded-For",
            "X-Forwarded-User",
            "X-Accel-Redirect",
            "X-Original-URL",
            "X-Request-Id",
            "Access-Control-Allow-Origin",
            "Proxy-Authorization",
            "Sec-Fetch-Site",
            "Location",
            "Forwarded",
            "X-Real-IP",
            "x-envoy-original-path",
            "X-HTTP-Method-Override",
        ] {
            assert_eq!(header_name(bad), Err(InvalidName::Reserved), "{bad}");
        }
    }

    #[test]
    fn the_names_of_a_preset_are_allowed_and_different() {
        for preset in [Preset::XAuth, Preset::RemoteUser, Preset::XAuthRequest] {
            let names: std::collections::BTreeSet<_> =
                preset.names().iter().map(|(_, name)| header_name(name).unwrap().to_string()).collect();
            assert_eq!(names.len(), preset.names().len());
            assert!(preset.names().iter().any(|(claim, _)| *claim == Claim::User));
        }
    }

    proptest! {
        #[test]
        fn every_value_is_visible_ascii_and_reads_back(words in proptest::collection::vec(any::<String>(), 0..5)) {
            let name = HeaderName::from_static("x-auth-groups");
            let list = list(&name, &mut words.iter().map(String::as_str));
            prop_assert!(list.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assume!(!words.is_empty() && list.len() < LONGEST_LIST);
            let read: Vec<_> = list.split(',').map(|word| percent_decode_str(word).decode_utf8().unwrap()).collect();
            prop_assert_eq!(read, words);
        }
    }
}
