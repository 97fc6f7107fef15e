//! What the profile documents and the ID token say about a person, and the faults that change it.

use serde_json::{Map, Value, json};

use super::TRAP;
use super::faults::Fault;
use super::shared::{Grant, Shared};

/// Text that must never reach a page, a header or a log as it is: markup, line breaks, a terminal escape, a
/// right-to-left override.
pub(super) const HOSTILE: &str =
    "<script>alert(1)</script>\r\nSet-Cookie: hostile=1\u{0}\u{1b}[31m\u{202e}\"'`{{7*7}}";

/// The claims of OpenID Connect Core section 5.1 that the scope asks for, always with `sub`.
pub(super) fn oidc_claims(shared: &Shared, grant: &Grant) -> Map<String, Value> {
    let user = grant.session.user;
    let mut claims = json!({"sub": user.sub});
    if grant.has_scope("profile") {
        claims["name"] = user.full_name.into();
        claims["preferred_username"] = user.name.into();
        claims["groups"] = user.groups.into();
        claims["permissions"] = user.permissions.into();
        // Nothing that a profile names may be fetched by the broker.
        claims["picture"] = format!("{}{TRAP}", shared.url).into();
    }
    if grant.has_scope("email") {
        claims["email"] = user.email.into();
        claims["email_verified"] = true.into();
    }
    let Value::Object(mut claims) = claims else { return Map::new() };
    apply(grant.fault, "sub", ["name", "preferred_username", "groups", "permissions"], &mut claims);
    claims
}

/// The plain provider's document about the person.
pub(super) fn base_info(grant: &Grant) -> Value {
    let user = grant.session.user;
    let mut info = Map::new();
    info.insert("name".into(), user.name.into());
    info.insert("email".into(), user.email.into());
    info.insert("name_cn".into(), user.full_name.into());
    // Without email_verified, as plain providers have it; the faults that speak of it add it.
    apply(grant.fault, "name", ["name_cn", "", "", ""], &mut info);
    Value::Object(info)
}

/// The plain provider's document about the permissions.
pub(super) fn all_permissions(grant: &Grant) -> Value {
    let mut document = Map::new();
    document.insert("permissions".into(), grant.session.user.permissions.into());
    apply(grant.fault, "", ["permissions", "", "", ""], &mut document);
    Value::Object(document)
}

/// Changes what the fault changes; `subject` and `texts` name the members.
fn apply(fault: Option<Fault>, subject: &str, texts: [&str; 4], person: &mut Map<String, Value>) {
    let Some(fault) = fault else { return };
    let mut put = |name: &str, value: Option<Value>| match value {
        _ if name.is_empty() => {}
        Some(value) => drop(person.insert(name.to_owned(), value)),
        None => drop(person.remove(name)),
    };
    let has_email = !subject.is_empty();
    match fault {
        Fault::SubjectMissing => put(subject, None),
        Fault::SubjectNull => put(subject, Some(Value::Null)),
        Fault::SubjectEmpty => put(subject, Some("".into())),
        Fault::SubjectObject => put(subject, Some(json!({"id": "alice"}))),
        Fault::SubjectLong => put(subject, Some("s".repeat(256).into())),
        Fault::SubjectNul => put(subject, Some("ali\0ce".into())),
        Fault::EmailUnverified if has_email => put("email_verified", Some(false.into())),
        Fault::EmailVerifiedString if has_email => put("email_verified", Some("true".into())),
        Fault::EmailVerifiedMissing if has_email => put("email_verified", None),
        Fault::EmailTwoAts if has_email => put("email", Some("alice@example.com@evil.example".into())),
        Fault::EmailForeignDomain if has_email => put("email", Some("alice@example.com.evil.example".into())),
        Fault::HostileProfile => {
            let long = format!("{HOSTILE}{}", "x".repeat(10_000));
            for text in texts {
                let listed = matches!(text, "groups" | "permissions");
                put(text, Some(if listed { json!([long, {"object": true}, 7, null]) } else { json!(long) }));
            }
        }
        _ => {}
    }
}
