//! Policies: what the API behind a gateway asks of a token beyond being live and issued for it (forward-auth).
//!
//! A policy judges nothing but the token and the rights of its user. It knows no path, method, address or header of
//! the visitor; what a browser must say about its request to a page is in [`page_visit`](super::page_visit).

use std::collections::{BTreeMap, BTreeSet};

use super::audience::Audience;
use super::ids::{ClientId, PolicyId};
use super::pages::Pages;
use super::profile::NameList;
use super::scope::ScopeSet;
use super::token::TokenFacts;
use super::user::Permissions;

/// The id of the policy that applies if a gateway names none.
pub const DEFAULT_POLICY: &str = "default";

/// What a gateway asks of a token for one API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name in the gateway's configuration.
    pub id: PolicyId,
    /// The API: a token that is not for it is refused (RFC 8707).
    pub audience: Audience,
    /// The clients whose tokens are accepted; empty for those of every client.
    pub clients: BTreeSet<ClientId>,
    /// What the token must have all of.
    pub all: Requirements,
    /// What the token must have at least one of; no condition if it is empty.
    pub any: Requirements,
    /// The pages that people can use with a cookie; `None` if only tokens are accepted.
    pub pages: Option<Pages>,
}

/// Scopes of the token, and permissions and groups of its user, as the provider names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Scopes.
    pub scopes: ScopeSet,
    /// Permissions.
    pub permissions: BTreeSet<String>,
    /// Groups.
    pub groups: BTreeSet<String>,
}

/// What a live token lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// It belongs to a client that the policy does not accept.
    Client,
    /// It lacks a scope.
    Scope,
    /// Its user lacks a permission or a group.
    Right,
}

impl Policy {
    /// The policy `default` as long as none is configured: any token that is for `audience`.
    pub fn default_for(audience: Audience) -> Result<Self, super::ids::InvalidName> {
        Ok(Self {
            id: DEFAULT_POLICY.parse()?,
            audience,
            clients: BTreeSet::new(),
            all: Requirements::default(),
            any: Requirements::default(),
            pages: None,
        })
    }

    /// Whether the permissions and groups of the user decide.
    pub fn needs_permissions(&self) -> bool {
        self.all.needs_permissions() || self.any.needs_permissions()
    }

    /// What a token lacks. Without `permissions`, its user has none.
    pub fn unmet(&self, facts: &TokenFacts, permissions: Option<&Permissions>) -> Option<Unmet> {
        if !self.clients.is_empty() && !self.clients.contains(&facts.client_id) {
            return Some(Unmet::Client);
        }
        if !self.all.scopes.is_subset(&facts.scopes) {
            return Some(Unmet::Scope);
        }
        let has_all = has(permissions, |user| &user.permissions, &self.all.permissions).all(|has| has)
            && has(permissions, |user| &user.groups, &self.all.groups).all(|has| has);
        if !has_all {
            return Some(Unmet::Right);
        }
        let has_any = self.any.scopes.iter().any(|scope| facts.scopes.contains(scope.as_str()))
            || has(permissions, |user| &user.permissions, &self.any.permissions).any(|has| has)
            || has(permissions, |user| &user.groups, &self.any.groups).any(|has| has);
        if self.any.is_empty() || has_any {
            None
        } else if self.any.needs_permissions() {
            Some(Unmet::Right)
        } else {
            Some(Unmet::Scope)
        }
    }
}

impl Requirements {
    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn needs_permissions(&self) -> bool {
        !self.permissions.is_empty() || !self.groups.is_empty()
    }
}

/// For each name, whether the list of the user contains it, byte for byte.
fn has<'a>(
    permissions: Option<&'a Permissions>,
    list: impl Fn(&'a Permissions) -> &'a NameList,
    names: &'a BTreeSet<String>,
) -> impl Iterator<Item = bool> + 'a {
    let given: BTreeSet<&str> = if names.is_empty() {
        BTreeSet::new()
    } else {
        permissions.map(list).into_iter().flat_map(NameList::iter).collect()
    };
    names.iter().map(move |name| given.contains(name.as_str()))
}

/// The configured policies, and `default`.
#[derive(Debug, Clone)]
pub struct Policies(BTreeMap<PolicyId, Policy>);

impl Policies {
    /// These policies.
    pub fn new(policies: Vec<Policy>) -> Self {
        Self(policies.into_iter().map(|policy| (policy.id.clone(), policy)).collect())
    }

    /// The policy with this id.
    pub fn get(&self, id: &PolicyId) -> Option<&Policy> {
        self.0.get(id)
    }

    /// The policy with this id; `None` if the text is not one.
    pub fn find(&self, id: &str) -> Option<&Policy> {
        self.0.get(&id.parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::Timestamp;
    use super::super::entropy::SeededEntropy;
    use super::super::ids::{IdentityId, TokenId, UserId};
    use super::super::key_ring::KeyId;
    use super::super::token::{TokenHandle, TokenOwner};
    use super::super::token_kind::TokenKind;
    use super::*;

    fn facts() -> TokenFacts {
        let entropy = SeededEntropy::new(1);
        TokenFacts {
            id: TokenId::random(&entropy),
            kind: TokenKind::Session,
            handle: TokenHandle::random(&entropy).digest(),
            key_id: KeyId(1),
            owner: TokenOwner {
                user_id: UserId::random(&entropy),
                identity_id: IdentityId::random(&entropy),
                session_id: None,
            },
            name: None,
            client_id: "web".parse().unwrap(),
            audiences: "https://api.example.com".parse().unwrap(),
            scopes: "orders profile".parse().unwrap(),
            issued_at: Timestamp::default(),
            expires_at: Timestamp::default(),
            dpop_jkt: None,
        }
    }

    fn policy(all: Requirements, any: Requirements) -> Policy {
        let audience = "https://api.example.com".parse().unwrap();
        Policy { all, any, ..Policy::default_for(audience).unwrap() }
    }

    fn names(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// `scopes | permissions | groups`, space-separated.
    fn requirements(text: &str) -> Requirements {
        let parts: Vec<_> = text.split('|').map(str::trim).collect();
        Requirements {
            scopes: parts[0].parse().unwrap(),
            permissions: names(parts[1]),
            groups: names(parts[2]),
        }
    }

    fn user(permissions: &str, groups: &str) -> Permissions {
        let list = |text: &str| NameList::clean(text.split_whitespace());
        Permissions { permissions: list(permissions), groups: list(groups), as_of: Timestamp::default() }
    }

    fn unmet(all: &str, any: &str) -> Option<Unmet> {
        policy(requirements(all), requirements(any)).unmet(&facts(), Some(&user("read write", "staff")))
    }

    #[test]
    fn every_requirement_of_all_must_be_met() {
        for (all, expected) in [
            ("||", None),
            ("orders|read write|staff", None),
            ("orders admin||", Some(Unmet::Scope)),
            ("|read delete|", Some(Unmet::Right)),
            ("||staff admins", Some(Unmet::Right)),
            ("|staff|", Some(Unmet::Right)),
            ("||read", Some(Unmet::Right)),
            ("|Read|", Some(Unmet::Right)),
        ] {
            assert_eq!(unmet(all, "||"), expected, "{all}");
        }
    }

    #[test]
    fn one_requirement_of_any_is_enough() {
        for (any, expected) in [
            ("||", None),
            ("orders admin||", None),
            ("admin|delete|staff", None),
            ("admin|read|", None),
            ("admin||", Some(Unmet::Scope)),
            ("admin|delete|admins", Some(Unmet::Right)),
        ] {
            assert_eq!(unmet("||", any), expected, "{any}");
        }
        assert_eq!(unmet("||admins", "||staff"), Some(Unmet::Right), "any does not replace all");
    }

    #[test]
    fn a_user_without_permissions_has_no_rights() {
        for policy in [
            policy(requirements("|read|"), requirements("||")),
            policy(requirements("||"), requirements("||staff")),
        ] {
            assert!(policy.needs_permissions());
            assert_eq!(policy.unmet(&facts(), None), Some(Unmet::Right));
        }
        assert!(!policy(requirements("orders||"), requirements("admin||")).needs_permissions());
    }

    #[test]
    fn only_the_named_clients_are_accepted() {
        let facts = facts();
        let mut policy = policy(Requirements::default(), Requirements::default());
        assert_eq!(policy.unmet(&facts, None), None);
        policy.clients.insert("other".parse().unwrap());
        assert_eq!(policy.unmet(&facts, None), Some(Unmet::Client));
        policy.clients.insert(facts.client_id.clone());
        assert_eq!(policy.unmet(&facts, None), None);
    }

    #[test]
    fn policies_are_found_by_their_exact_id() {
        let policies = Policies::new(vec![policy(Requirements::default(), Requirements::default())]);
        assert!(policies.find("default").is_some());
        for other in ["", "Default", "default ", "default/", "other", "%64efault"] {
            assert!(policies.find(other).is_none(), "{other}");
        }
    }
}
