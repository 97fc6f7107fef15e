//! From what the provider says about a person to the broker's own [`Profile`]: where each claim stands, and
//! what is accepted there.
//!
//! Nothing that a document names (picture, profile page, key address) is ever fetched.

use serde_json::Value;
use serde_json_path::JsonPath;

use super::json::Object;
use super::settings::ClaimMapping;
use super::{ProviderError, Registration};
use crate::domain::profile::{NameList, Profile, ProfileText, Subject};

/// The longest address there is (RFC 5321 section 4.5.3.1.3, less the angle brackets).
const EMAIL_LIMIT: usize = 254;

/// The documents about a person, one on top of the other: at the top level the later one wins.
#[derive(Default)]
pub(super) struct Documents {
    parts: Vec<Value>,
    merged: Object,
}

impl Documents {
    /// Lays another document on top.
    pub(super) fn add(&mut self, document: Object) {
        self.merged.extend(document.clone());
        self.parts.push(Value::Object(document));
    }

    /// All documents as one.
    pub(super) fn merged(self) -> Merged {
        Merged { whole: Value::Object(self.merged), parts: self.parts }
    }
}

/// The merged document, and what it was merged from.
pub(super) struct Merged {
    whole: Value,
    parts: Vec<Value>,
}

impl Merged {
    /// The subject, for a provider without ID tokens: exactly one text or whole number. Anything else, a list
    /// with two names above all, could be one person today and another tomorrow.
    pub(super) fn subject(&self, path: &JsonPath) -> Result<Subject, ProviderError> {
        let text = match path.query(&self.whole).all().as_slice() {
            [Value::String(text)] => text.clone(),
            [Value::Number(number)] if number.is_i64() || number.is_u64() => number.to_string(),
            _ => return Err(unusable("the subject is missing, or not one text or whole number")),
        };
        text.parse().map_err(|_| unusable("the subject is empty, too long or has control characters"))
    }
}

/// Where one claim stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Where the configuration says.
    Path(&'a JsonPath),
    /// In the member of its standard name.
    Member(&'static str),
    /// Nowhere: the provider does not say.
    Nowhere,
}

impl Place<'_> {
    fn nodes(self, document: &Value) -> Vec<&Value> {
        match self {
            Self::Path(path) => path.query(document).all(),
            Self::Member(name) => document.get(name).into_iter().collect(),
            Self::Nowhere => Vec::new(),
        }
    }

    /// The first scalar, as text.
    fn text(self, document: &Value) -> Option<String> {
        self.nodes(document).into_iter().find_map(scalar)
    }

    /// Whether there stands a boolean `true` and nothing else.
    fn is_true(self, document: &Value) -> bool {
        matches!(self.nodes(document).as_slice(), [Value::Bool(true)])
    }

    /// All scalars, also those in a list.
    fn names(self, document: &Value) -> NameList {
        let mut names = Vec::new();
        let mut ignored = 0_usize;
        for node in self.nodes(document) {
            let elements = node.as_array().map_or(std::slice::from_ref(node), Vec::as_slice);
            for element in elements {
                match scalar(element) {
                    Some(name) => names.push(name),
                    None => ignored += 1,
                }
            }
        }
        if ignored > 0 {
            tracing::debug!(ignored, "permissions or groups that are neither text nor number were ignored");
        }
        NameList::clean(names.iter().map(String::as_str))
    }
}

fn scalar(node: &Value) -> Option<String> {
    match node {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Where the claims of one provider stand.
pub(super) struct Places<'a> {
    username: Place<'a>,
    display_name: Place<'a>,
    email: Place<'a>,
    email_verified: Place<'a>,
    permissions: Place<'a>,
    groups: Place<'a>,
    /// Whether an address that the provider does not vouch for satisfies `allowed_email_domains`: only where
    /// the provider has no way to vouch.
    unverified_email_counts: bool,
}

impl<'a> Places<'a> {
    /// The standard claims (OpenID Connect Core section 5.1), unless configured otherwise.
    pub(super) fn oidc(mapping: &'a ClaimMapping) -> Self {
        let or = |path: &'a Option<JsonPath>, name| path.as_ref().map_or(Place::Member(name), Place::Path);
        Self {
            username: or(&mapping.username, "preferred_username"),
            display_name: or(&mapping.display_name, "name"),
            email: or(&mapping.email, "email"),
            email_verified: or(&mapping.email_verified, "email_verified"),
            permissions: mapping.permissions.as_ref().map_or(Place::Nowhere, Place::Path),
            groups: or(&mapping.groups, "groups"),
            unverified_email_counts: false,
        }
    }

    /// What is configured and nothing else.
    pub(super) fn oauth2(mapping: &'a ClaimMapping) -> Self {
        let at = |path: &'a Option<JsonPath>| path.as_ref().map_or(Place::Nowhere, Place::Path);
        Self {
            username: at(&mapping.username),
            display_name: at(&mapping.display_name),
            email: at(&mapping.email),
            email_verified: at(&mapping.email_verified),
            permissions: at(&mapping.permissions),
            groups: at(&mapping.groups),
            unverified_email_counts: mapping.email_verified.is_none(),
        }
    }

    /// The profile of `subject`.
    ///
    /// # Errors
    ///
    /// AccessDenied where the email address is not in an allowed domain.
    pub(super) fn profile(
        &self,
        registration: &Registration,
        subject: Subject,
        documents: &Merged,
        session: Option<&str>,
    ) -> Result<Profile, ProviderError> {
        let whole = &documents.whole;
        let email = self.email.text(whole);
        let email_verified = self.vouches_for(email.as_deref(), &documents.parts);
        let allowed = &registration.allowed_email_domains;
        if !allowed.is_empty() {
            if !email.as_deref().is_some_and(|email| has_domain(email, allowed)) {
                return Err(denied("the email address is missing or not in an allowed domain"));
            }
            if !email_verified && !self.unverified_email_counts {
                return Err(denied("the provider does not vouch for the email address"));
            }
        }
        let clean = |text: Option<String>| text.as_deref().and_then(ProfileText::clean);
        Ok(Profile {
            provider: registration.id.clone(),
            subject,
            username: clean(self.username.text(whole)),
            display_name: clean(self.display_name.text(whole)),
            email: clean(email),
            email_verified,
            permissions: self.permissions.names(whole),
            groups: self.groups.names(whole),
            provider_session: session.and_then(ProfileText::clean),
        })
    }

    /// Whether the document that gave the address also vouches for it: one document must not vouch for the
    /// address of another.
    fn vouches_for(&self, email: Option<&str>, parts: &[Value]) -> bool {
        let Some(email) = email else { return false };
        let source = parts.iter().rev().find(|part| self.email.text(part).as_deref() == Some(email));
        source.is_some_and(|part| self.email_verified.is_true(part))
    }
}

/// Whether the address is visible ASCII with exactly one `@`, and what stands behind it is one of `domains`,
/// character by character.
fn has_domain(email: &str, domains: &[String]) -> bool {
    let plain = email.len() <= EMAIL_LIMIT && email.bytes().all(|byte| byte.is_ascii_graphic());
    match email.split_once('@') {
        Some((local, domain)) if plain && !local.is_empty() => domains.iter().any(|d| d == domain),
        _ => false,
    }
}

fn unusable(problem: &str) -> ProviderError {
    ProviderError::Unusable(problem.to_owned())
}

fn denied(reason: &str) -> ProviderError {
    ProviderError::AccessDenied(reason.to_owned())
}
