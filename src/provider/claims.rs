//! Maps the documents of a provider about a user to the broker's [`Profile`]: where each claim is found, and which values
//! are accepted.
//!
//! URLs in a document (picture, profile page, key URL) are never fetched.

use serde_json::Value;
use serde_json_path::JsonPath;

use super::json::Object;
use super::settings::ClaimMapping;
use super::{ProviderError, Registration};
use crate::domain::profile::{NameList, Profile, ProfileText, Subject};

/// The maximum length of an email address (RFC 5321 section 4.5.3.1.3, less the angle brackets).
const EMAIL_LIMIT: usize = 254;

/// The documents about a user, to be merged. If several have the same top-level member, the last one is used.
#[derive(Default)]
pub(super) struct Documents {
    parts: Vec<Value>,
    merged: Object,
}

impl Documents {
    /// Adds a document.
    pub(super) fn add(&mut self, document: Object) {
        self.merged.extend(document.clone());
        self.parts.push(Value::Object(document));
    }

    /// Merges the documents.
    pub(super) fn merged(self) -> Merged {
        Merged { whole: Value::Object(self.merged), parts: self.parts }
    }
}

/// The merged document and the documents it was merged from.
pub(super) struct Merged {
    whole: Value,
    parts: Vec<Value>,
}

impl Merged {
    /// The subject, for a provider without ID tokens: exactly one string or integer. Anything else, such as a list of
    /// two names, could identify different users at different times.
    pub(super) fn subject(&self, path: &JsonPath) -> Result<Subject, ProviderError> {
        let text = match path.query(&self.whole).all().as_slice() {
            [Value::String(text)] => text.clone(),
            [Value::Number(number)] if number.is_i64() || number.is_u64() => number.to_string(),
            _ => return Err(unusable("the subject is missing, or not a single string or integer")),
        };
        text.parse().map_err(|_| unusable("the subject is empty, too long or contains control characters"))
    }
}

/// Where a claim is found.
#[derive(Clone, Copy)]
enum Location<'a> {
    /// At the configured path.
    Path(&'a JsonPath),
    /// In the member with its standard name.
    Member(&'static str),
    /// Nowhere: the provider does not have this claim.
    Nowhere,
}

impl Location<'_> {
    fn nodes(self, document: &Value) -> Vec<&Value> {
        match self {
            Self::Path(path) => path.query(document).all(),
            Self::Member(name) => document.get(name).into_iter().collect(),
            Self::Nowhere => Vec::new(),
        }
    }

    /// The first string or number, as text.
    fn text(self, document: &Value) -> Option<String> {
        self.nodes(document).into_iter().find_map(scalar)
    }

    /// Whether the value is exactly one boolean `true`, or, if `text` counts, the text `true`.
    fn is_true(self, document: &Value, text: bool) -> bool {
        match self.nodes(document).as_slice() {
            [Value::Bool(value)] => *value,
            [Value::String(value)] => text && value == "true",
            _ => false,
        }
    }

    /// All strings and numbers, including those in lists.
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
            tracing::debug!(ignored, "ignored permissions or groups that are neither strings nor numbers");
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

/// Where the claims of a provider are found.
pub(super) struct ClaimLocations<'a> {
    username: Location<'a>,
    display_name: Location<'a>,
    email: Location<'a>,
    email_verified: Location<'a>,
    permissions: Location<'a>,
    groups: Location<'a>,
    /// Whether an unverified address satisfies `allowed_email_domains`: only if the provider cannot report whether an
    /// address is verified.
    unverified_email_counts: bool,
    /// Whether the text `true` verifies the address, as the boolean does.
    text_verifies_email: bool,
}

impl<'a> ClaimLocations<'a> {
    /// The standard claims (OpenID Connect Core section 5.1), unless configured otherwise.
    pub(super) fn oidc(mapping: &'a ClaimMapping) -> Self {
        let or =
            |path: &'a Option<JsonPath>, name| path.as_ref().map_or(Location::Member(name), Location::Path);
        Self {
            username: or(&mapping.username, "preferred_username"),
            display_name: or(&mapping.display_name, "name"),
            email: or(&mapping.email, "email"),
            email_verified: or(&mapping.email_verified, "email_verified"),
            permissions: mapping.permissions.as_ref().map_or(Location::Nowhere, Location::Path),
            groups: or(&mapping.groups, "groups"),
            unverified_email_counts: false,
            text_verifies_email: mapping.text_verifies_email,
        }
    }

    /// Only the configured claims.
    pub(super) fn oauth2(mapping: &'a ClaimMapping) -> Self {
        let at = |path: &'a Option<JsonPath>| path.as_ref().map_or(Location::Nowhere, Location::Path);
        Self {
            username: at(&mapping.username),
            display_name: at(&mapping.display_name),
            email: at(&mapping.email),
            email_verified: at(&mapping.email_verified),
            permissions: at(&mapping.permissions),
            groups: at(&mapping.groups),
            unverified_email_counts: mapping.email_verified.is_none(),
            text_verifies_email: mapping.text_verifies_email,
        }
    }

    /// The profile of `subject`.
    ///
    /// # Errors
    ///
    /// AccessDenied if the email address is missing, not verified or not in an allowed domain.
    pub(super) fn profile(
        &self,
        registration: &Registration,
        subject: Subject,
        documents: &Merged,
        session: Option<&str>,
    ) -> Result<Profile, ProviderError> {
        let whole = &documents.whole;
        let email = self.email.text(whole);
        let email_verified = self.is_verified(email.as_deref(), &documents.parts);
        let allowed = &registration.allowed_email_domains;
        if !allowed.is_empty() {
            if !email.as_deref().is_some_and(|email| has_domain(email, allowed)) {
                return Err(denied("the email address is missing or not in an allowed domain"));
            }
            if !email_verified && !self.unverified_email_counts {
                return Err(denied("the provider has not verified the email address"));
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

    /// Whether the document that contains the address also says that it is verified. One document must not verify the
    /// address of another.
    fn is_verified(&self, email: Option<&str>, parts: &[Value]) -> bool {
        let Some(email) = email else { return false };
        let source = parts.iter().rev().find(|part| self.email.text(part).as_deref() == Some(email));
        source.is_some_and(|part| self.email_verified.is_true(part, self.text_verifies_email))
    }
}

/// Whether the address is visible ASCII with exactly one `@`, and the part after it is one of `domains`, compared
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::{kind, path, registration};
    use super::*;

    fn merged(documents: &[Value]) -> Merged {
        let mut all = Documents::default();
        documents.iter().for_each(|document| all.add(document.as_object().unwrap().clone()));
        all.merged()
    }

    /// The profile from the documents of an OpenID provider, with these allowed email domains.
    fn oidc(documents: &[Value], domains: &[&str]) -> Result<Profile, ProviderError> {
        with(&ClaimLocations::oidc(&ClaimMapping::default()), documents, domains)
    }

    fn with(
        locations: &ClaimLocations<'_>,
        documents: &[Value],
        domains: &[&str],
    ) -> Result<Profile, ProviderError> {
        let registration = registration(|settings| {
            settings.allowed_email_domains = domains.iter().map(|&domain| domain.to_owned()).collect();
        });
        locations.profile(&registration, "1".parse().unwrap(), &merged(documents), Some("s\u{0}1"))
    }

    fn text(text: &Option<ProfileText>) -> &str {
        text.as_ref().map_or("-", ProfileText::as_str)
    }

    #[test]
    fn standard_claims_are_read_and_cleaned() {
        let claims = json!({
            "preferred_username": "alice", "name": "Alice\u{202E}\n", "email": "a@example.com",
            "email_verified": true, "groups": ["dev", 7, "dev", {"x": 1}, null], "picture": "https://x.example",
        });
        let profile = oidc(&[claims], &[]).unwrap();
        assert_eq!((text(&profile.username), text(&profile.display_name)), ("alice", "Alice"));
        assert_eq!((text(&profile.email), profile.email_verified), ("a@example.com", true));
        assert_eq!(profile.groups.iter().collect::<Vec<_>>(), ["dev", "7"]);
        assert_eq!(profile.permissions.iter().count(), 0);
        assert_eq!(text(&profile.provider_session), "s1");
    }

    #[test]
    fn configured_paths_replace_the_standard_ones() {
        let mapping = ClaimMapping {
            display_name: Some(path("$.names[0]")),
            permissions: Some(path("$..role")),
            groups: Some(path("$.teams")),
            ..ClaimMapping::default()
        };
        let claims = json!({
            "name": "unused", "names": ["Alice", "Bob"], "preferred_username": "alice",
            "apps": [{"role": "read"}, {"role": "write"}, {"role": {"x": 1}}], "teams": ["a", "b"],
        });
        let profile = with(&ClaimLocations::oidc(&mapping), &[claims], &[]).unwrap();
        assert_eq!((text(&profile.username), text(&profile.display_name)), ("alice", "Alice"));
        assert_eq!(profile.permissions.iter().collect::<Vec<_>>(), ["read", "write"]);
        assert_eq!(profile.groups.iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn plain_oauth2_reads_only_the_configured_claims() {
        let claims =
            json!({"name": "Alice", "email": "a@example.com", "email_verified": true, "login": "al"});
        let mapping = ClaimMapping { username: Some(path("$.login")), ..ClaimMapping::default() };
        let profile = with(&ClaimLocations::oauth2(&mapping), &[claims], &[]).unwrap();
        assert_eq!((text(&profile.username), text(&profile.display_name)), ("al", "-"));
        assert_eq!((text(&profile.email), profile.email_verified), ("-", false));
    }

    #[test]
    fn the_subject_is_a_single_string_or_integer() {
        let subject = |document: Value| merged(&[document]).subject(&path("$.id"));
        assert_eq!(subject(json!({"id": "Alice"})).unwrap().as_str(), "Alice");
        assert_eq!(subject(json!({"id": 42})).unwrap().as_str(), "42");
        assert_eq!(subject(json!({"id": -42})).unwrap().as_str(), "-42");
        assert_eq!(subject(json!({"id": u64::MAX})).unwrap().as_str(), u64::MAX.to_string());
        let long = "x".repeat(256);
        let bad = [json!(null), json!(""), json!(true), json!(1.5), json!(1e30), json!(["a"]), json!({})];
        for bad in bad.into_iter().chain([json!(long), json!("a\u{0}"), json!("a\n")]) {
            assert_eq!(kind(subject(json!({"id": bad}))), "unusable", "{bad}");
        }
        assert_eq!(kind(subject(json!({}))), "unusable");
        assert_eq!(kind(merged(&[json!({"a": "1", "b": "2"})]).subject(&path("$.*"))), "unusable");
    }

    #[test]
    fn only_the_boolean_true_verifies_an_address() {
        for (value, expected) in
            [(json!(true), true), (json!("true"), false), (json!(1), false), (json!(false), false)]
        {
            let claims = json!({"email": "a@example.com", "email_verified": value});
            assert_eq!(oidc(&[claims], &[]).unwrap().email_verified, expected, "{value}");
        }
        assert!(!oidc(&[json!({"email": "a@example.com"})], &[]).unwrap().email_verified);
        assert!(!oidc(&[json!({"email_verified": true})], &[]).unwrap().email_verified);
    }

    #[test]
    fn the_text_true_verifies_an_address_only_if_configured() {
        let mapping = ClaimMapping { text_verifies_email: true, ..ClaimMapping::default() };
        for (value, expected) in [
            (json!("true"), true),
            (json!(true), true),
            (json!("True"), false),
            (json!("false"), false),
            (json!(1), false),
            (json!(["true"]), false),
            (json!(null), false),
        ] {
            let claims = json!({"email": "a@example.com", "email_verified": value});
            let profile = with(&ClaimLocations::oidc(&mapping), &[claims], &[]).unwrap();
            assert_eq!(profile.email_verified, expected, "{value}");
        }
    }

    #[test]
    fn one_document_does_not_verify_the_address_of_another() {
        let verified = json!({"email": "a@example.com", "email_verified": true});
        let other = json!({"email": "admin@example.com"});
        let profile = oidc(&[verified.clone(), other.clone()], &[]).unwrap();
        assert_eq!((text(&profile.email), profile.email_verified), ("admin@example.com", false));
        let profile = oidc(&[other.clone(), json!({"email_verified": true})], &[]).unwrap();
        assert_eq!((text(&profile.email), profile.email_verified), ("admin@example.com", false));
        let profile = oidc(&[other, verified.clone()], &[]).unwrap();
        assert_eq!((text(&profile.email), profile.email_verified), ("a@example.com", true));
        let profile = oidc(&[verified.clone(), json!({"name": "Alice"})], &[]).unwrap();
        assert!(profile.email_verified);
        let withdrawn = json!({"email": "a@example.com", "email_verified": false});
        assert!(!oidc(&[verified, withdrawn], &[]).unwrap().email_verified);
    }

    #[test]
    fn the_document_that_contains_the_address_is_found_with_any_path() {
        let mapping = ClaimMapping {
            email: Some(path("$..email")),
            email_verified: Some(path("$..verified")),
            ..ClaimMapping::default()
        };
        let first = json!({"a": {"email": "a@example.com", "verified": true}});
        let second = json!({"b": {"email": "b@example.com"}});
        let profile = with(&ClaimLocations::oauth2(&mapping), &[first, second], &[]).unwrap();
        assert_eq!((text(&profile.email), profile.email_verified), ("a@example.com", true));
    }

    #[test]
    fn only_addresses_in_allowed_domains_can_sign_in() {
        let signs_in = |email: Value| {
            let claims = json!({"email": email, "email_verified": true});
            kind(oidc(&[claims], &["example.com", "example.org"]))
        };
        for good in ["a@example.com", "a.b+c@example.org"] {
            assert_eq!(signs_in(json!(good)), "ok", "{good}");
        }
        let long = format!("{}@example.com", "x".repeat(250));
        for bad in [
            "a@evil.com",
            "a@sub.example.com",
            "a@example.com.evil.com",
            "a@evilexample.com",
            "a@evil.com@example.com",
            "a@example.com@evil.com",
            "a@example.com\n",
            "a@example.com\u{200B}",
            "a@ex\u{0430}mple.com",
            "a @example.com",
            "@example.com",
            "example.com",
            "a@",
            "",
            &long,
        ] {
            assert_eq!(signs_in(json!(bad)), "access_denied", "{bad}");
        }
        assert_eq!(signs_in(json!(null)), "access_denied");
        assert_eq!(signs_in(json!(["a@example.com"])), "access_denied");
    }

    #[test]
    fn an_address_must_be_verified_if_the_provider_reports_verification() {
        let unverified = json!({"email": "a@example.com", "email_verified": false});
        assert_eq!(kind(oidc(std::slice::from_ref(&unverified), &["example.com"])), "access_denied");
        let mut mapping = ClaimMapping { email: Some(path("$.email")), ..ClaimMapping::default() };
        let signs_in = |mapping: &ClaimMapping| {
            kind(with(&ClaimLocations::oauth2(mapping), std::slice::from_ref(&unverified), &["example.com"]))
        };
        assert_eq!(signs_in(&mapping), "ok");
        mapping.email_verified = Some(path("$.email_verified"));
        assert_eq!(signs_in(&mapping), "access_denied");
    }

    #[test]
    fn profile_texts_and_lists_are_limited() {
        let many: Vec<String> = (0..2000).map(|number| format!("group{number}")).collect();
        let claims = json!({"name": "x".repeat(5000), "groups": many});
        let profile = oidc(&[claims], &[]).unwrap();
        assert_eq!(text(&profile.display_name).len(), 255);
        assert_eq!(profile.groups.iter().count(), 1000);
    }
}
