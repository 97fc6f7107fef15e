//! API tokens as callers see them: no stored value is a credential, and the row decides on every call.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use serde_json::{Value, json};
use token_broker::domain::credential;
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};
use token_broker::domain::token::{AccessToken, GenuineToken, TokenHandle};
use token_broker::domain::token_kind::TokenKind;

use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};
use crate::support::oauth;
use crate::support::redis;
use crate::support::rows::{self, change, row_of};
use crate::support::wait::until_true;

async fn status(broker: &TestBroker, token: &str) -> u16 {
    broker.call("/api/me", token).await.status.as_u16()
}

async fn sign_in(broker: &TestBroker, user: &str) -> String {
    broker.sign_in(&broker.browser(), "dev", user).await
}

fn is_invalid_token(answer: &Answer, case: &str) {
    let seen = (answer.status.as_u16(), answer.error_code());
    assert_eq!(seen, (401, Some("invalid_token".to_owned())), "{case}: {answer:?}");
}

/// A ring of keys with these ids; the first one issues.
fn ring(ids: &[u32]) -> KeyRing {
    let secret = |id: u32| (0..32).map(|i| u8::try_from(id * 50 + i).unwrap()).collect();
    let keys = ids.iter().map(|id| ServerKey::new(KeyId(*id), secret(*id)).unwrap()).collect();
    KeyRing::new(KeyId(ids[0]), keys).unwrap()
}

#[actix_web::test]
async fn the_documented_patterns_match_every_credential() {
    let documentation = include_str!("../../docs/architecture.md");
    let pattern = |prefix: &str| {
        let mut patterns =
            documentation.split('`').filter(|code| code.starts_with(prefix) && code.contains('['));
        regex::Regex::new(&format!("^{}$", patterns.next_back().unwrap())).unwrap()
    };
    let broker = TestBroker::start();
    broker.ready().await;
    let login = broker.log_in(&broker.browser(), "dev", "alice", "").await;
    let answer = broker.redeem(&broker.browser(), &login.key(), &login.verifier).await.json();
    let token = answer["access_token"].as_str().unwrap();
    assert!(pattern("tbk_").is_match(token), "{token}");
    assert!(pattern("tbo_").is_match(&login.key()), "{}", login.key());
    let standard = TestBroker::with(oauth::setup());
    let refresh = oauth::text(&oauth::tokens(&standard, &[]).await, "refresh_token");
    assert!(pattern("tbr_").is_match(&refresh), "{refresh}");
    assert!(!pattern("tbo_").is_match(token) && !pattern("tbk_").is_match(&login.key()));
}

/// Every byte but the prefix and the key's id must be guessed: 128 bits of handle and 224 of MAC.
#[test]
fn tokens_are_unpredictable() {
    let ring = ring(&[1]);
    let mut seen = vec![BTreeSet::new(); 48];
    for _ in 0..500 {
        let token =
            AccessToken::issue(TokenKind::Session, ring.issuing(), &TokenHandle::random(&SystemEntropy));
        let body = credential::decode::<48>("tbk_", token.expose()).unwrap();
        seen.iter_mut().zip(*body).for_each(|(values, byte)| _ = values.insert(byte));
    }
    let random = seen.iter().filter(|values| values.len() > 150).count();
    let fixed = seen.iter().filter(|values| values.len() == 1).count();
    assert_eq!((random, fixed), (44, 4));
}

/// What an attacker who found these bytes could try.
fn guesses(bytes: &[u8]) -> Vec<String> {
    let mut guesses = vec![rows::hex(bytes), BASE64_URL_SAFE_NO_PAD.encode(bytes)];
    if let Ok(text) = str::from_utf8(bytes) {
        guesses.push(text.trim_start_matches("token-broker:").to_owned());
        guesses.extend(text.rsplit(':').map(str::to_owned));
    }
    guesses.extend(bytes.windows(48).step_by(16).map(|body| credential::encode("tbk_", body).to_string()));
    guesses.extend(bytes.windows(32).step_by(16).map(|body| credential::encode("tbo_", body).to_string()));
    guesses.push(format!("tbk_{}", guesses[0]));
    guesses.push(format!("tbo_{}", guesses[1]));
    guesses
}

#[actix_web::test]
async fn no_stored_value_works_as_a_credential() {
    let url = redis::url();
    let broker = TestBroker::with(Setup { key_store: Some(url.clone()), ..Setup::default() });
    let token = sign_in(&broker, "alice").await;
    let browser = broker.browser();
    let parked = broker.log_in(&browser, "dev", "bob", "").await;
    let legacy = broker.complete(&browser, broker.legacy_login(), "&user=alice").await;
    let (key, legacy_key) = (parked.key(), legacy.key());

    let mut stored: BTreeSet<Vec<u8>> = rows::database_dump(&broker).into_iter().collect();
    stored.extend(rows::redis_dump(&url));
    assert!(stored.len() > 60, "{}", stored.len());
    let handle = GenuineToken::parse(&token, &broker.config.server_keys.ring).unwrap().handle;
    for secret in [token.as_bytes(), key.as_bytes(), legacy_key.as_bytes(), handle.expose()] {
        let holds = |value: &&Vec<u8>| value.windows(secret.len()).any(|window| window == secret);
        assert_eq!(stored.iter().find(holds), None);
    }

    let guesses: BTreeSet<String> = stored.iter().flat_map(|bytes| guesses(bytes)).collect();
    for guess in guesses.iter().filter(|guess| guess.bytes().all(|byte| byte.is_ascii_graphic())) {
        assert_is_no_credential(&broker, &browser, guess, &parked.verifier).await;
    }
    // All dumped credentials are live.
    assert_eq!(status(&broker, &token).await, 200);
    assert_eq!(broker.redeem(&browser, &key, &parked.verifier).await.status, 200);
    let query = format!("{}?one_time_key={legacy_key}", broker.at("/api/get_token"));
    assert!(browser.get(&query, &[]).await.json()["token"].is_string());
}

async fn assert_is_no_credential(broker: &TestBroker, browser: &Browser, guess: &str, verifier: &str) {
    let as_token = browser.get(&broker.at("/api/me"), &[("authorization", &format!("Bearer {guess}"))]).await;
    assert!([400, 401].contains(&as_token.status.as_u16()), "{guess}: {as_token:?}");
    let as_key = broker.redeem(browser, guess, verifier).await;
    assert_ne!(as_key.status, 200, "{guess}: {as_key:?}");
    let url = url::Url::parse_with_params(&broker.at("/api/get_token"), [("one_time_key", guess)]).unwrap();
    let as_legacy_key = browser.get(url.as_str(), &[]).await;
    assert!(!as_legacy_key.body.contains("tbk_"), "{guess}: {as_legacy_key:?}");
}

#[actix_web::test]
async fn a_forged_token_is_refused_without_the_database() {
    let broker = TestBroker::start();
    let token = sign_in(&broker, "alice").await;
    let body = *credential::decode::<48>("tbk_", &token).unwrap();
    // Without its tables every query fails.
    change(&broker, "ALTER TABLE tokens RENAME TO hidden");
    assert_eq!(status(&broker, &token).await, 503, "a genuine one is looked up");
    for at in [0, 15, 16, 19, 20, 47] {
        let mut forged = body;
        forged[at] ^= 1;
        let forged = credential::encode("tbk_", &forged);
        is_invalid_token(&broker.call("/api/me", &forged).await, &format!("byte {at}"));
    }
    let foreign =
        AccessToken::issue(TokenKind::Session, ring(&[1]).issuing(), &TokenHandle::random(&SystemEntropy));
    is_invalid_token(&broker.call("/api/me", foreign.expose()).await, "another server's");
}

/// Changes to rows that invalidate a token although its MAC is valid. `{row}` is replaced with its condition, `{past}`
/// with a time two minutes ago.
const ENDS: [(&str, &str); 8] = [
    ("the row is gone", "DELETE FROM tokens WHERE {row}"),
    ("revoked", "UPDATE tokens SET revoked_at = {past} WHERE {row}"),
    ("revoked in the future", "UPDATE tokens SET revoked_at = 9000000000000000 WHERE {row}"),
    ("superseded", "UPDATE tokens SET superseded_at = {past} WHERE {row}"),
    (
        "the session was ended",
        "UPDATE sessions SET revoked_at = {past} WHERE id = (SELECT session_id FROM tokens WHERE {row})",
    ),
    (
        "the session has expired",
        "UPDATE sessions SET created_at = 0, expires_at = {past} WHERE id = (SELECT session_id FROM tokens WHERE {row})",
    ),
    (
        "the user is disabled",
        "UPDATE users SET disabled_at = {past} WHERE id = (SELECT user_id FROM tokens WHERE {row})",
    ),
    ("the user is deleted", "DELETE FROM users WHERE id = (SELECT user_id FROM tokens WHERE {row})"),
];

#[actix_web::test]
async fn a_valid_mac_alone_is_not_enough() {
    for (what, statement) in ENDS {
        let broker = TestBroker::start();
        let [token, other] = [sign_in(&broker, "alice").await, sign_in(&broker, "bob").await];
        assert_eq!(status(&broker, &token).await, 200, "{what}");
        let past = broker.now() - TimeDelta::minutes(2);
        let statement = statement.replace("{row}", &row_of(&broker, &token));
        let statement = statement.replace("{past}", &past.timestamp_micros().to_string());
        assert_eq!(change(&broker, &statement), 1, "{what}");
        for path in ["/api/me", "/api/permissions"] {
            is_invalid_token(&broker.call(path, &token).await, what);
        }
        is_invalid_token(&broker.post("/api/token/rotate", &token, &json!({})).await, what);
        assert_eq!(status(&broker, &other).await, 200, "{what}");
    }
}

#[actix_web::test]
async fn the_tokens_of_a_disabled_client_are_refused() {
    let broker = TestBroker::start();
    let token = sign_in(&broker, "alice").await;
    let twin = broker.twin_with(|config| config.clients[0].enabled = false);
    is_invalid_token(&twin.call("/api/me", &token).await, "client");
    assert_eq!(status(&broker, &token).await, 200);
}

#[actix_web::test]
async fn server_keys_are_replaced_without_downtime() {
    let with = |ids: &'static [u32]| {
        Setup { key_store: Some(redis::url()), ..Setup::default() }
            .adjust(move |config| config.server_keys = ring(ids).into())
    };
    let first = TestBroker::with(with(&[1]));
    let other = |ids: &[u32]| first.twin_with(|config| config.server_keys = ring(ids).into());
    let token = sign_in(&first, "alice").await;
    let parked = first.log_in(&first.browser(), "dev", "alice", "").await;
    let browser = first.browser();
    let open = first.login(&[]);
    let callback = first.callback_url(&browser, &open.url, "&user=bob").await;

    let second = other(&[2, 1]);
    assert_eq!(status(&second, &token).await, 200, "older keys verify");
    let answer = second.redeem(&second.browser(), &parked.key(), &parked.verifier).await;
    assert_eq!(answer.status, 200, "a key that waits: {answer:?}");
    browser.route(&second.url, &second.real_url);
    let back = browser.navigate(&callback).await;
    assert!(back.parameter("one_time_key").is_some(), "a login that is under way: {back:?}");
    let rotated = second.post("/api/token/rotate", &token, &json!({})).await.json();
    let rotated = rotated["access_token"].as_str().unwrap();
    let prepared = other(&[1, 2]);
    assert_eq!(status(&prepared, rotated).await, 200, "an instance that knows the new key before it issues");

    let third = other(&[2]);
    assert_eq!(status(&third, rotated).await, 200, "the new key issued it");
    is_invalid_token(&third.call("/api/me", &token).await, "of a deleted key");
    let late = answer.json();
    is_invalid_token(&third.call("/api/me", late["access_token"].as_str().unwrap()).await, "of the old key");
}

#[actix_web::test]
async fn a_token_is_valid_for_seven_days_by_the_servers_clock() {
    let broker = TestBroker::start();
    let token = sign_in(&broker, "alice").await;
    let facts = broker.call("/api/me", &token).await.json()["token"].clone();
    let time = |name: &str| facts[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(time("expires_at") - time("issued_at"), TimeDelta::seconds(604_800));
    broker.go_to(time("issued_at") + TimeDelta::seconds(604_799));
    assert_eq!(status(&broker, &token).await, 200);
    broker.go_to(time("issued_at") + TimeDelta::seconds(604_801));
    is_invalid_token(&broker.call("/api/me", &token).await, "expired");
    is_invalid_token(&broker.post("/api/logout", &token, &json!({})).await, "expired");
}

#[actix_web::test]
async fn a_shorter_lifetime_is_kept() {
    let broker = TestBroker::with(
        Setup::default().adjust(|config| config.lifetimes.api_token = TimeDelta::seconds(60)),
    );
    let token = sign_in(&broker, "alice").await;
    broker.advance(55);
    assert_eq!(status(&broker, &token).await, 200);
    broker.advance(6);
    assert_eq!(status(&broker, &token).await, 401);
}

#[actix_web::test]
async fn each_login_issues_its_own_token() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(broker.sign_in(&browser, "dev", "alice").await);
    }
    let distinct: BTreeSet<&String> = tokens.iter().collect();
    assert_eq!(distinct.len(), 3);
    assert_eq!(broker.post("/api/logout", &tokens[0], &json!({})).await.status, 200);
    let elsewhere = sign_in(&broker, "alice").await;
    assert_eq!(status(&broker, &elsewhere).await, 200, "a logout affects only its own session");
}

#[actix_web::test]
async fn client_audience_and_scopes_are_fixed_at_issue() {
    let broker = TestBroker::start();
    let token = sign_in(&broker, "alice").await;
    let richer =
        broker.twin_with(|config| config.clients[0].scopes = "profile permissions deploy".parse().unwrap());
    let me = richer.call("/api/me", &token).await.json()["token"].clone();
    assert_eq!((&me["scope"], &me["client_id"]), (&json!("permissions profile"), &json!("sample")));
    let rotated = richer.post("/api/token/rotate", &token, &json!({})).await.json();
    assert_eq!(rotated["scope"], "permissions profile", "rotation widens nothing");
    let fresh = richer.log_in(&richer.browser(), "dev", "alice", "").await;
    let fresh = richer.redeem(&richer.browser(), &fresh.key(), &fresh.verifier).await.json();
    assert_eq!(fresh["scope"], "deploy permissions profile");
    let audience = format!("audiences = '{}'", broker.url);
    assert_eq!(rows::count(&broker, "tokens", &audience), 3);
}

#[actix_web::test]
async fn disabling_a_user_and_revoking_act_at_once_on_every_instance() {
    let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..Setup::default() });
    let twin = broker.twin();
    let [alice, revoked, bob] =
        [sign_in(&broker, "alice").await, sign_in(&twin, "alice").await, sign_in(&twin, "bob").await];
    for (instance, token) in [(&broker, &alice), (&twin, &alice), (&broker, &revoked), (&twin, &revoked)] {
        assert_eq!(status(instance, token).await, 200);
    }
    let storage = broker.storage();
    let handle = GenuineToken::parse(&revoked, &broker.config.server_keys.ring).unwrap().handle.digest();
    assert!(storage.revoke_token(handle, broker.now()).await.unwrap());
    assert_eq!([status(&broker, &revoked).await, status(&twin, &revoked).await], [401, 401]);
    assert_eq!([status(&broker, &alice).await, status(&twin, &alice).await], [200, 200]);

    let user = broker.call("/api/me", &alice).await.json()["user"]["id"].as_str().unwrap().to_owned();
    let user = user.parse().unwrap();
    audit::set_user_disabled(&broker, user, true);
    assert_eq!([status(&broker, &alice).await, status(&twin, &alice).await], [401, 401]);
    assert_eq!([status(&broker, &bob).await, status(&twin, &bob).await], [200, 200]);
    let refused = broker.log_in(&broker.browser(), "dev", "alice", "").await;
    assert_eq!(refused.error(), "access_denied");

    audit::set_user_disabled(&broker, user, false);
    assert_eq!(status(&broker, &sign_in(&broker, "alice").await).await, 200, "enabled again");
    assert_eq!(status(&twin, &revoked).await, 401, "revoked stays revoked");
}

#[actix_web::test]
async fn a_logout_is_seen_by_every_instance_at_once() {
    let broker = TestBroker::start();
    let twin = broker.twin();
    let token = sign_in(&broker, "alice").await;
    for _ in 0..5 {
        assert_eq!(status(&twin, &token).await, 200);
    }
    assert_eq!(broker.post("/api/logout", &token, &json!({})).await.status, 200);
    assert_eq!(status(&twin, &token).await, 401);
}

#[actix_web::test]
async fn live_tokens_are_capped_and_the_oldest_goes() {
    let broker = TestBroker::with(Setup::default().adjust(|config| config.live_tokens_per_user = 3));
    let mut tokens = Vec::new();
    let bob = sign_in(&broker, "bob").await;
    for _ in 0..4 {
        tokens.push(sign_in(&broker, "alice").await);
        broker.advance(1);
    }
    let mut statuses = Vec::new();
    for token in tokens.iter().chain([&bob]) {
        statuses.push(status(&broker, token).await);
    }
    assert_eq!(statuses, [401, 200, 200, 200, 200]);
}

#[actix_web::test]
async fn dead_rows_are_purged_on_schedule() {
    let broker = TestBroker::with(
        Setup::default().adjust(|config| config.purge.interval = std::time::Duration::from_secs(1)),
    );
    for _ in 0..3 {
        sign_in(&broker, "alice").await;
    }
    broker.advance(9 * 86_400);
    let live = sign_in(&broker, "alice").await;
    until_true("the dead are gone", async || rows::count(&broker, "tokens", "1") == 1).await;
    assert_eq!(status(&broker, &live).await, 200);
}

#[actix_web::test]
async fn a_token_appears_only_in_the_response_that_issues_it() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let token = sign_in(&broker, "alice").await;
    let rotated = broker.post("/api/token/rotate", &token, &json!({})).await;
    assert!(!rotated.body.contains(&token), "the old one is not repeated");
    let new = rotated.json()["access_token"].as_str().unwrap().to_owned();

    let document: Value = serde_json::from_str(include_str!("../../openapi/token-broker.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let read = paths.iter().filter(|(path, item)| item["get"].is_object() && !path.contains('{'));
    let mut answers = vec![login.back.clone(), broker.redeem(&browser, &login.key(), "x").await];
    for (path, _) in read {
        answers.push(broker.call(path, &new).await);
    }
    for path in ["/metrics", "/healthz", "/docs"] {
        answers.push(browser.get(&format!("{}{path}", broker.admin_url), &[]).await);
    }
    answers.push(broker.post("/api/logout", &new, &json!({})).await);
    assert!(answers.len() > 10, "{}", answers.len());
    let pattern = regex::Regex::new("tbk_[0-9A-Za-z]{72}").unwrap();
    for answer in answers {
        let text = format!("{:?} {}", answer.headers, answer.body);
        assert!(!pattern.is_match(&text), "{answer:?}");
    }
}

/// What an attacker who can write to the database but has no server key could try: `{mine}` and `{other}` are the
/// conditions of two rows.
const STOLEN: [(&str, &str); 12] = [
    ("kind", "(kind, session_id) = ('personal', NULL)"),
    ("name", "name = 'backup'"),
    ("identity", "identity_id = (SELECT identity_id FROM tokens WHERE {other})"),
    ("user", "user_id = (SELECT user_id FROM tokens WHERE {other})"),
    ("session", "session_id = (SELECT session_id FROM tokens WHERE {other})"),
    (
        "user, session and binding",
        "(user_id, session_id, binding) = (SELECT user_id, session_id, binding FROM tokens WHERE {other})",
    ),
    ("client", "client_id = 'legacy'"),
    ("scope", "scopes = 'admin permissions profile'"),
    ("audience", "audiences = 'https://elsewhere.example'"),
    ("expiry", "expires_at = expires_at + 1000000"),
    ("issue", "issued_at = issued_at - 1000000"),
    ("row id", "id = randomblob(16)"),
];

#[actix_web::test]
async fn a_changed_row_invalidates_its_token() {
    let broker = TestBroker::start();
    let other = sign_in(&broker, "bob").await;
    for (what, assignment) in STOLEN {
        let token = sign_in(&broker, "alice").await;
        let assignment = assignment.replace("{other}", &row_of(&broker, &other));
        let mine = row_of(&broker, &token);
        assert_eq!(change(&broker, &format!("UPDATE tokens SET {assignment} WHERE {mine}")), 1, "{what}");
        is_invalid_token(&broker.call("/api/me", &token).await, what);
        is_invalid_token(&broker.post("/api/token/rotate", &token, &json!({})).await, what);
    }
    assert_eq!(status(&broker, &other).await, 200);
}

/// An attacker gives the row of a victim the digest of a handle that the attacker knows.
#[actix_web::test]
async fn a_handle_cannot_be_moved_to_another_row() {
    let broker = TestBroker::start();
    let [mine, victim] = [sign_in(&broker, "alice").await, sign_in(&broker, "bob").await];
    let [mine_row, victim_row] = [row_of(&broker, &mine), row_of(&broker, &victim)];
    assert_eq!(change(&broker, &format!("DELETE FROM tokens WHERE {mine_row}")), 1);
    let moved = format!("UPDATE tokens SET {mine_row} WHERE {victim_row}");
    assert_eq!(change(&broker, &moved), 1);
    is_invalid_token(&broker.call("/api/me", &mine).await, "moved");
}

#[actix_web::test]
async fn a_clock_that_is_set_back_revives_no_token() {
    let broker = TestBroker::start();
    let login = broker.log_in(&broker.browser(), "dev", "alice", "").await;
    let logged_out = sign_in(&broker, "alice").await;
    let replaced = sign_in(&broker, "alice").await;
    let stays = sign_in(&broker, "bob").await;
    assert_eq!(broker.redeem(&broker.browser(), &login.key(), &login.verifier).await.status, 200);
    broker.advance(86_400);
    assert_eq!(broker.post("/api/logout", &logged_out, &json!({})).await.status, 200);
    let successor = broker.post("/api/token/rotate", &replaced, &json!({})).await.json();
    let successor = successor["access_token"].as_str().unwrap().to_owned();

    for step in [-3_600, -86_000, -10 * 86_400] {
        broker.advance(step);
        is_invalid_token(&broker.call("/api/me", &logged_out).await, "logged out");
        is_invalid_token(&broker.call("/api/me", &replaced).await, "superseded");
        is_invalid_token(&broker.post("/api/token/rotate", &replaced, &json!({})).await, "superseded");
        assert_eq!([status(&broker, &successor).await, status(&broker, &stays).await], [200, 200]);
        let again = broker.redeem(&broker.browser(), &login.key(), &login.verifier).await;
        assert_eq!(again.error_code().as_deref(), Some("invalid_grant"));
    }
}
