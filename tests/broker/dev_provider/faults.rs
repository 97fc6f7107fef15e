//! Each fault changes only what its name says.
//!
//! A login at a fresh provider with a stopped clock and seeded randomness is identical, byte for byte, each time. So
//! the fault causes all differences.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::RequestBuilder;
use serde_json::Value;
use token_broker::provider::dev::{Fault, FaultGroup, FaultSwitch};

use super::script::{Kind, Script};
use crate::support::wait::PATIENCE;

/// Everything that a broker sees of one login, with the provider's port left out.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    callback: String,
    token_answer: Option<String>,
    id_token: Option<String>,
    profiles: Vec<String>,
}

/// Status, media type and body of an answer, or the failure; long bodies are replaced by their length.
async fn answer_of(request: RequestBuilder, url: &str) -> String {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return format!("no answer, timeout: {}", error.is_timeout()),
    };
    let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().replace(url, "URL"));
    let head = format!("{} {:?} {:?}", answer.status(), header("content-type"), header("location"));
    match answer.text().await {
        Ok(body) if body.len() > 100_000 => format!("{head} {} bytes", body.len()),
        Ok(body) => format!("{head} {}", body.replace(url, "URL")),
        Err(error) => format!("{head} broken body, timeout: {}", error.is_timeout()),
    }
}

/// The ID token, readable: header, claims and whether the signature is good.
async fn id_token_of(script: &Script, token: &Value) -> String {
    let Some(token) = token.as_str() else { return token.to_string() };
    let parts: Vec<_> = token.split('.').collect();
    let text =
        |part: &&str| String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(part).unwrap_or_default()).into_owned();
    let readable: Vec<_> = parts.iter().take(2).map(text).collect();
    let good = script.is_signed_by_the_provider(token).await;
    let signature = parts.get(2).map(|part| part.len());
    format!("{readable:?} {} parts, signature {signature:?} good: {good}", parts.len())
        .replace(script.provider.url(), "URL")
}

/// How long to wait for a response that this fault or switch delays, and for any other.
fn limit(fault: Option<&str>, of: &str) -> Duration {
    let is_slow = |name: &str| name.starts_with(of) && (name.ends_with("_slow") || name.ends_with("_drip"));
    if fault.is_some_and(is_slow) { Duration::from_millis(500) } else { PATIENCE }
}

async fn login(script: &Script, kind: Kind, fault: Option<Fault>) -> Seen {
    let (url, name) = (script.provider.url(), fault.map(Fault::name));
    let choice = name.map_or("user=alice".to_owned(), |name| format!("user=alice&fault={name}"));
    let callback = script.callback(kind, &choice).await;
    let mut seen = Seen {
        callback: callback.address.to_string().replace(&url.replace(':', "%3A").replace('/', "%2F"), "URL"),
        token_answer: None,
        id_token: None,
        profiles: Vec::new(),
    };
    let Some(code) = callback.get("code") else { return seen };
    let exchange = answer_of(script.exchange(kind, code).timeout(limit(name, "token")), url).await;
    let body = exchange.split_once(" {").map(|(_, rest)| format!("{{{rest}"));
    let tokens: Value = serde_json::from_str(&body.unwrap_or_default()).unwrap_or_default();
    if let Some(token) = tokens.get("id_token") {
        seen.id_token = Some(id_token_of(script, token).await);
        // As text, because a parser would hide differences in the rest.
        seen.token_answer = Some(exchange.replace(&format!("\"id_token\":{token},"), ""));
    } else {
        seen.token_answer = Some(exchange);
    }
    let Some(access_token) = tokens["access_token"].as_str() else { return seen };
    for path in kind.profile_paths() {
        let request = script.get(path).bearer_auth(access_token).timeout(limit(name, "profile"));
        seen.profiles.push(answer_of(request, url).await);
    }
    seen
}

async fn each_fault_changes_only_its_part(kind: Kind) {
    let normal = login(&Script::new(), kind, None).await;
    assert_eq!(login(&Script::new(), kind, None).await, normal, "a login without fault is not repeatable");
    for fault in Fault::ALL.iter().copied() {
        let seen = login(&Script::new(), kind, Some(fault)).await;
        let name = fault.name();
        if kind == Kind::Plain && !fault.concerns_plain_oauth2() {
            assert_eq!(seen, normal, "{name} does not concern this provider");
            continue;
        }
        let (callback, token) = (seen.callback != normal.callback, seen.token_answer != normal.token_answer);
        let (id_token, profiles) = (seen.id_token != normal.id_token, seen.profiles != normal.profiles);
        match fault.group() {
            FaultGroup::Callback | FaultGroup::CallbackIssuer => assert!(callback, "{name}: {seen:?}"),
            FaultGroup::TokenAnswer => assert!(!callback && token, "{name}: {seen:?}"),
            FaultGroup::IdToken => assert!(!callback && !token && id_token && !profiles, "{name}: {seen:?}"),
            FaultGroup::Person => {
                assert!(
                    !callback && !token && profiles && id_token == (kind == Kind::Oidc),
                    "{name}: {seen:?}"
                );
            }
            FaultGroup::UserInfo | FaultGroup::ProfileAnswer => {
                assert!(!callback && !token && !id_token && profiles, "{name}: {seen:?}");
            }
        }
    }
}

#[tokio::test]
async fn each_fault_changes_only_its_part_of_openid_connect() {
    each_fault_changes_only_its_part(Kind::Oidc).await;
}

#[tokio::test]
async fn each_fault_changes_only_its_part_of_plain_oauth2() {
    each_fault_changes_only_its_part(Kind::Plain).await;
}

#[tokio::test]
async fn each_switch_can_be_set_and_reset() {
    let script = Script::new();
    let url = script.provider.url();
    let look = async |switch: Option<&str>| {
        let discovery = script.get("/.well-known/openid-configuration").timeout(limit(switch, "discovery"));
        let discovery = answer_of(discovery, url).await;
        (discovery, answer_of(script.get("/jwks").timeout(limit(switch, "jwks")), url).await)
    };
    let normal = look(None).await;
    for switch in FaultSwitch::ALL {
        script.provider.faults().set(*switch, true);
        let seen = look(Some(switch.name())).await;
        let changed = (seen.0 != normal.0, seen.1 != normal.1);
        let expected = match switch {
            FaultSwitch::Everything500 => (true, true),
            switch if switch.name().starts_with("discovery") => (true, false),
            _ => (false, true),
        };
        assert_eq!(changed, expected, "{}: {seen:?}", switch.name());
        script.provider.faults().set(*switch, false);
    }
    assert_eq!(look(None).await, normal);
}

#[tokio::test]
async fn new_keys_sign_after_a_rotation() {
    let script = Script::new();
    script.provider.faults().set(FaultSwitch::JwksRotate, true);
    let code = script.callback(Kind::Oidc, "user=alice").await.code().to_owned();
    let tokens: Value = script.exchange(Kind::Oidc, &code).send().await.unwrap().json().await.unwrap();
    assert!(script.is_signed_by_the_provider(tokens["id_token"].as_str().unwrap()).await);
    script.provider.faults().clear();
    assert!(!script.is_signed_by_the_provider(tokens["id_token"].as_str().unwrap()).await);
}

#[tokio::test]
async fn a_short_key_can_be_used_to_sign() {
    let script = Script::new();
    script.provider.faults().set(FaultSwitch::WeakRsa, true);
    let code = script.callback(Kind::Oidc, "user=alice").await.code().to_owned();
    let tokens: Value = script.exchange(Kind::Oidc, &code).send().await.unwrap().json().await.unwrap();
    let token = tokens["id_token"].as_str().unwrap();
    assert_eq!(jsonwebtoken::decode_header(token).unwrap().kid.as_deref(), Some("dev-weak-rs256"));
    let signature = token.rsplit('.').next().unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(signature).unwrap().len(), 128);
    // The key is published, the signature right (see its unit test); the library refuses the length.
    assert!(!script.is_signed_by_the_provider(token).await);
}

#[tokio::test]
async fn without_iss_neither_discovery_nor_callbacks_contain_it() {
    let script = Script::new();
    script.provider.faults().set(FaultSwitch::DiscoveryNoIssParameter, true);
    assert_eq!(script.callback(Kind::Oidc, "user=alice").await.get("iss"), None);
    assert_eq!(script.callback(Kind::Oidc, "deny=1").await.get("iss"), None);
}
