//! `[[policies]]`: what gateways ask of tokens, by the name that is written into the gateway.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::check::Check;
use super::clients::scopes;
use super::policy_pages::{Surroundings, WrittenPages};
use super::source::list;
use crate::domain::audience::Audience;
use crate::domain::client::Client;
use crate::domain::ids::{ClientId, PolicyId};
use crate::domain::policy::{DEFAULT_POLICY, Policy, Requirements};

/// Names that are parts of addresses below `/authz`.
const RESERVED: [&str; 4] = ["nginx", "traefik", "caddy", "envoy"];

/// What a gateway asks of a token for an API, beyond being live. A gateway names a policy in the address that it calls,
/// as in `/authz/nginx/orders`; see docs/forward-auth.md. Without a policy `default`, an address that names none accepts
/// every token that is for the broker itself.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPolicy {
    /// The name: 1 to 32 characters of a-z, 0-9, `-` and `_`. Required.
    id: Option<String>,
    /// The API, as in `https://orders.example.com`: a token must be for it. Default: the broker itself.
    audience: Option<String>,
    /// The clients whose tokens are accepted. Default: those of every client.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    clients: Vec<String>,
    #[serde(skip_serializing_if = "RawRequirements::is_empty")]
    all: RawRequirements,
    #[serde(skip_serializing_if = "RawRequirements::is_empty")]
    any: RawRequirements,
    /// The origins of pages behind the gateway, as in `https://tools.example.com`, whose visitors sign in with their
    /// browser and are let in by a cookie; see docs/forward-auth.md. The gateway must be in `server.trusted_proxies`. Default:
    /// only tokens are accepted.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pages: Vec<String>,
    /// With `pages`: the name on the sign-in page. Default: the id.
    display_name: Option<String>,
    /// With `pages`: seconds without a request after which people must sign in again, 600 to 2592000. Takes effect up to
    /// five minutes late. Default: no limit.
    page_inactivity_seconds: Option<u32>,
}

/// What is required of the token and its user, compared byte for byte: everything in `all`, and at least one entry of
/// `any`, if it has one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
struct RawRequirements {
    /// Scopes of the token.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    /// Permissions of the user.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<String>,
    /// Groups of the user.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
}

/// The policies, `default` among them, and the internal clients of those with pages.
pub(super) fn check(
    raw: Vec<RawPolicy>,
    surroundings: Surroundings<'_>,
    check: &mut Check,
) -> Option<(Vec<Policy>, Vec<Client>)> {
    let mut ids = HashSet::new();
    let (mut checked, mut page_clients) = (Vec::new(), Vec::new());
    for (i, raw) in raw.into_iter().enumerate() {
        let key = format!("policies[{i}]");
        let Some((policy, page_client)) = raw.check(&key, surroundings, check) else { continue };
        if !ids.insert(policy.id.clone()) {
            check.problem(format!("{key}.id"), "is not unique: each policy needs its own id");
        }
        checked.push(policy);
        page_clients.extend(page_client);
    }
    if !ids.iter().any(|id| id.as_str() == DEFAULT_POLICY) {
        checked.push(Policy::default_for(Audience::of_url(surroundings.public_url?)).ok()?);
    }
    Some((checked, page_clients))
}

impl RawPolicy {
    /// Fills in what follows from other settings.
    pub(super) fn resolve(&mut self, checked: &Policy) {
        self.audience = Some(checked.audience.as_str().to_owned());
    }

    fn check(
        mut self,
        key: &str,
        surroundings: Surroundings<'_>,
        check: &mut Check,
    ) -> Option<(Policy, Option<Client>)> {
        let Surroundings { public_url, clients, .. } = surroundings;
        let id_key = format!("{key}.id");
        let id = check.required(&id_key, self.id.take(), "name the policy");
        let id: Option<PolicyId> = id.and_then(|id| check.parse(&id_key, &id));
        if id.as_ref().is_some_and(|id| RESERVED.contains(&id.as_str())) {
            check.problem(&id_key, "is a part of the addresses below /authz: choose another name");
        }
        let audience_key = format!("{key}.audience");
        let audience = match &self.audience {
            Some(audience) => check.parse::<Audience>(&audience_key, audience),
            None => public_url.map(Audience::of_url),
        };
        let is_for = |client: &Client| audience.as_ref().is_some_and(|api| client.audiences.contains(api));
        if audience.is_some() && self.pages.is_empty() && !clients.iter().any(is_for) {
            let text = "is not among the audiences of any client, so no token can meet this policy: add it to \
                        clients[].audiences";
            check.warn(&audience_key, text);
        }
        let accepted = accepted_clients(&format!("{key}.clients"), &self.clients, clients, check);
        let all = std::mem::take(&mut self.all).check(&format!("{key}.all"), check);
        let any = std::mem::take(&mut self.any).check(&format!("{key}.any"), check);
        let written = WrittenPages {
            origins: self.pages,
            display_name: self.display_name,
            inactivity_seconds: self.page_inactivity_seconds,
        };
        let (id, audience) = (id?, audience?);
        let policy = Policy { id, audience, clients: accepted, all: all?, any: any?, pages: None };
        if written.origins.is_empty() {
            written.check_unused(key, check);
            return Some((policy, None));
        }
        let (policy, client) = written.check(key, policy, surroundings, check)?;
        Some((policy, Some(client)))
    }
}

fn accepted_clients(
    key: &str,
    texts: &[String],
    clients: &[Client],
    check: &mut Check,
) -> BTreeSet<ClientId> {
    let mut accepted = BTreeSet::new();
    for (i, text) in texts.iter().enumerate() {
        match clients.iter().find(|client| client.id.as_str() == text) {
            Some(client) => {
                accepted.insert(client.id.clone());
            }
            None => check.problem(format!("{key}[{i}]"), "must be the id of a client"),
        }
    }
    accepted
}

impl RawRequirements {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn check(self, key: &str, check: &mut Check) -> Option<Requirements> {
        let scopes = scopes(&format!("{key}.scopes"), &self.scopes, check)?;
        let permissions = names(&format!("{key}.permissions"), self.permissions, check);
        let groups = names(&format!("{key}.groups"), self.groups, check);
        Some(Requirements { scopes, permissions, groups })
    }
}

/// Permissions or groups, as the provider names them.
fn names(key: &str, texts: Vec<String>, check: &mut Check) -> BTreeSet<String> {
    for (i, text) in texts.iter().enumerate() {
        if text.is_empty() {
            check.problem(format!("{key}[{i}]"), "is empty: remove it");
        }
    }
    texts.into_iter().collect()
}
