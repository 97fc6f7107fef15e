//! `[providers.claims]`: the claims in what a provider says about a user.

use serde::{Deserialize, Serialize};
use serde_json_path::JsonPath;

use super::super::check::Check;
use crate::provider::settings::ClaimMapping;

/// JSONPath (RFC 9535) of each claim. Default: the standard names for `oidc`, none for `oauth2`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawClaims {
    /// `oauth2` only: the unchanging name of the user. Never change the path: a new one makes every user of this provider a new user. Required.
    pub(super) subject: Option<String>,
    /// The login name.
    username: Option<String>,
    /// The full name.
    display_name: Option<String>,
    /// The email address.
    email: Option<String>,
    /// Whether the provider has verified the address: only a boolean `true` counts.
    email_verified: Option<String>,
    /// Whether the text `true` counts as the boolean does: some providers send it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    text_verifies_email: bool,
    /// All permissions, as in `$.permissions[*]`.
    permissions: Option<String>,
    /// All groups.
    groups: Option<String>,
}

impl RawClaims {
    /// Whether no claim is mapped.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(self, key: &str, check: &mut Check) -> ClaimMapping {
        let mut path = |name: &str, text: Option<String>| {
            let text = text?;
            json_path(&format!("{key}.{name}"), &text, check)
        };
        ClaimMapping {
            subject: path("subject", self.subject),
            username: path("username", self.username),
            display_name: path("display_name", self.display_name),
            email: path("email", self.email),
            email_verified: path("email_verified", self.email_verified),
            text_verifies_email: self.text_verifies_email,
            permissions: path("permissions", self.permissions),
            groups: path("groups", self.groups),
        }
    }
}

/// A JSONPath (RFC 9535).
pub(super) fn json_path(key: &str, text: &str, check: &mut Check) -> Option<JsonPath> {
    let path = JsonPath::parse(text);
    path.map_err(|error| check.problem(key, format_args!("is not JSONPath (RFC 9535): {error}"))).ok()
}
