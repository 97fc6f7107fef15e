//! Pages behind a gateway: the origins that a policy names, and the internal client through which their visitors sign in.
//!
//! The session cookie of the broker belongs to the broker's host, so a gateway of another host never receives it.
//! Therefore each of these origins gets a cookie of its own. It is obtained like the token of an SPA: the broker sends the
//! browser to its own `/login` for an internal client, whose redirect URI is on that origin, and redeems the key itself.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::audience::Audience;
use super::client::{Client, InvalidUri, KeyDelivery, KeyParameter, Origin};
use super::dpop::ClientDpop;
use super::ids::{ClientId, InvalidName, PolicyId};
use super::scope::ScopeSet;

/// Where the browser comes back to on the origin of a page. A gateway passes this path on to the broker.
pub const CALLBACK_PATH: &str = "/_token-broker/callback";

/// The pages that a policy lets people use with a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// Their origins; at least one.
    pub origins: BTreeSet<Origin>,
    /// The internal client of the policy.
    pub client: ClientId,
}

/// What the internal client of a policy is made of.
#[derive(Debug, Clone)]
pub struct PageClient {
    /// The policy.
    pub policy: PolicyId,
    /// The name on the broker's pages.
    pub display_name: String,
    /// The audience of the policy.
    pub audience: Audience,
    /// The scopes that the policy asks for.
    pub scopes: ScopeSet,
    /// After how long without a request people must sign in again.
    pub inactivity: Option<TimeDelta>,
}

impl Pages {
    /// The pages of these origins.
    ///
    /// # Errors
    /// The name of the policy is too long for the name of its client.
    pub fn new(policy: &PolicyId, origins: BTreeSet<Origin>) -> Result<Self, InvalidName> {
        Ok(Self { origins, client: format!("{policy}-pages").parse()? })
    }

    /// The internal client. No script and no other program can use it: its logins are started by the broker only, and the
    /// token never leaves the broker unsealed.
    ///
    /// # Errors
    /// An origin is not one at which a login can end.
    pub fn client(&self, parts: PageClient) -> Result<Client, InvalidUri> {
        let uris = self.origins.iter().map(|origin| callback_address(origin).parse());
        Ok(Client {
            id: self.client.clone(),
            display_name: parts.display_name,
            home_uri: None,
            redirect_uris: uris.collect::<Result<_, _>>()?,
            post_logout_redirect_uris: Vec::new(),
            origins: Vec::new(),
            key_delivery: KeyDelivery::Query,
            key_parameter: KeyParameter::OneTimeKey,
            native: false,
            dpop: ClientDpop::Optional,
            refresh_tokens: false,
            device: false,
            legacy: false,
            enabled: true,
            audiences: parts.audience.into(),
            scopes: parts.scopes,
            login_parameters: Vec::new(),
            inactivity: parts.inactivity,
            pages_of: Some(parts.policy),
        })
    }
}

/// The redirect URI of an origin.
pub fn callback_address(origin: &Origin) -> String {
    format!("{origin}{CALLBACK_PATH}")
}
