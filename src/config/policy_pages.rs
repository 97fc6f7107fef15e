//! The keys of a policy that are about pages: their origins, and the internal client of the policy.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use url::Url;

use super::check::Check;
use super::clients::origin;
use super::tokens::seconds;
use crate::domain::client::{Client, Origin};
use crate::domain::lifetimes;
use crate::domain::pages::{PageClient, Pages};
use crate::domain::policy::Policy;

/// What the policies depend on.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) public_url: Option<&'a Url>,
    /// The registered clients.
    pub(super) clients: &'a [Client],
    /// Whether `server.trusted_proxies` names any proxy.
    pub(super) trusts_a_proxy: bool,
}

/// The keys as they are written.
pub(super) struct WrittenPages {
    pub(super) origins: Vec<String>,
    pub(super) display_name: Option<String>,
    pub(super) inactivity_seconds: Option<u32>,
}

impl WrittenPages {
    /// Reports the other keys of a policy without pages.
    pub(super) fn check_unused(&self, key: &str, check: &mut Check) {
        for (name, is_set) in [
            ("display_name", self.display_name.is_some()),
            ("page_inactivity_seconds", self.inactivity_seconds.is_some()),
        ] {
            if is_set {
                check
                    .problem(format!("{key}.{name}"), "has no effect without pages: add pages, or remove it");
            }
        }
    }

    /// The policy with its pages, and its internal client.
    pub(super) fn check(
        self,
        key: &str,
        mut policy: Policy,
        surroundings: Surroundings<'_>,
        check: &mut Check,
    ) -> Option<(Policy, Client)> {
        let pages_key = format!("{key}.pages");
        if !surroundings.trusts_a_proxy {
            let text =
                "needs server.trusted_proxies: name the gateway there, because it says which page is visited";
            check.problem(&pages_key, text);
        }
        let inactivity = self.inactivity_seconds.and_then(|limit| {
            let range = seconds(lifetimes::INACTIVITY_MIN)..=seconds(lifetimes::SESSION);
            check.within(&format!("{key}.page_inactivity_seconds"), limit, range)
        });
        let origins = self.origins(&pages_key, check);
        let Ok(pages) = Pages::new(&policy.id, origins?) else {
            check.problem(format!("{key}.id"), "must have at most 26 characters if the policy has pages");
            return None;
        };
        if surroundings.clients.iter().any(|client| client.id == pages.client) {
            let text = "with \"-pages\" after it is the id of the client for these pages, but a client has that id: choose \
                        another one";
            check.problem(format!("{key}.id"), text);
        }
        let scopes = policy.all.scopes.iter().chain(policy.any.scopes.iter()).cloned().collect();
        let client = pages.client(PageClient {
            policy: policy.id.clone(),
            display_name: self.display_name.unwrap_or_else(|| policy.id.to_string()),
            audience: policy.audience.clone(),
            scopes,
            inactivity: inactivity.map(|limit| TimeDelta::seconds(limit.into())),
        });
        let client = client.map_err(|why| check.problem(&pages_key, why)).ok()?;
        if !policy.clients.is_empty() {
            policy.clients.insert(pages.client.clone());
        }
        policy.pages = Some(pages);
        Some((policy, client))
    }

    fn origins(&self, key: &str, check: &mut Check) -> Option<BTreeSet<Origin>> {
        let mut origins = BTreeSet::new();
        for (i, text) in self.origins.iter().enumerate() {
            let key = format!("{key}[{i}]");
            if !origins.insert(origin(&key, text, check)?) {
                check.problem(key, "appears twice: remove one");
            }
        }
        Some(origins)
    }
}
