//! `[forward_auth]`: the headers in which gateways tell the APIs behind them who the visitor is.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::http::forward_auth::identity_headers::{Claim, IdentityHeaders, Preset, header_name};

/// Which headers tell an API behind a gateway who the visitor is. The gateway must remove the same headers from the
/// visitor's request; see docs/forward-auth.md.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawForwardAuth {
    /// The names: `x-auth` (`X-Auth-User` and so on), `remote-user` (`Remote-User`, `Remote-Name`, `Remote-Email`,
    /// `Remote-Groups`) or `x-auth-request` (those of oauth2-proxy).
    headers: String,
    /// Whether an email address that the provider has not verified is told. An API that knows its users by their
    /// address must not get such addresses.
    unverified_email: bool,
    header_names: RawHeaderNames,
}

/// Other names of single headers, and further headers. An empty name leaves a header out.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct RawHeaderNames {
    /// The stable local id of the user.
    user: Option<String>,
    /// The login name.
    username: Option<String>,
    /// The full name.
    display_name: Option<String>,
    /// The email address.
    email: Option<String>,
    /// `true` or `false`: whether the provider has verified the address.
    email_verified: Option<String>,
    /// The provider that the user signed in at.
    provider: Option<String>,
    /// The groups, separated by commas. Costs a query.
    groups: Option<String>,
    /// The permissions, separated by commas. Costs a query.
    permissions: Option<String>,
    /// The client that the token was issued to.
    client_id: Option<String>,
    /// The scopes of the token, separated by commas.
    scope: Option<String>,
    /// All that the headers tell as a JWT of one minute, for an API that verifies instead of trusting the network. Costs a
    /// signature.
    assertion: Option<String>,
}

impl Default for RawForwardAuth {
    fn default() -> Self {
        Self {
            headers: "x-auth".to_owned(),
            unverified_email: false,
            header_names: RawHeaderNames::default(),
        }
    }
}

impl RawForwardAuth {
    pub(super) fn check(self, check: &mut Check) -> Option<IdentityHeaders> {
        let preset: Preset = check.choice("forward_auth.headers", &self.headers)?;
        let mut texts: BTreeMap<Claim, String> =
            preset.names().iter().map(|(claim, name)| (*claim, (*name).to_owned())).collect();
        texts.extend(self.header_names.written());
        let (mut names, mut known) = (BTreeMap::new(), HashSet::new());
        for (claim, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            let key = format!("forward_auth.header_names.{}", key_of(claim));
            match header_name(&text) {
                Err(invalid) => check.problem(key, invalid),
                Ok(name) if !known.insert(name.clone()) => {
                    check.problem(key, "is the name of another header")
                }
                Ok(name) => {
                    names.insert(claim, name);
                }
            }
        }
        Some(IdentityHeaders::new(names, self.unverified_email))
    }
}

impl RawHeaderNames {
    /// The names that are written.
    fn written(self) -> impl Iterator<Item = (Claim, String)> {
        let names = [
            (Claim::User, self.user),
            (Claim::Username, self.username),
            (Claim::DisplayName, self.display_name),
            (Claim::Email, self.email),
            (Claim::EmailVerified, self.email_verified),
            (Claim::Provider, self.provider),
            (Claim::Groups, self.groups),
            (Claim::Permissions, self.permissions),
            (Claim::ClientId, self.client_id),
            (Claim::Scope, self.scope),
            (Claim::Assertion, self.assertion),
        ];
        names.into_iter().filter_map(|(claim, name)| Some((claim, name?)))
    }
}

/// The key of a header's name.
fn key_of(claim: Claim) -> &'static str {
    match claim {
        Claim::User => "user",
        Claim::Username => "username",
        Claim::DisplayName => "display_name",
        Claim::Email => "email",
        Claim::EmailVerified => "email_verified",
        Claim::Provider => "provider",
        Claim::Groups => "groups",
        Claim::Permissions => "permissions",
        Claim::ClientId => "client_id",
        Claim::Scope => "scope",
        Claim::Assertion => "assertion",
    }
}
