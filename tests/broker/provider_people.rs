//! From the profile of a provider to the user of the broker: which profiles belong to the same user, what is stored,
//! and what is not.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use serde_json::Value;
use token_broker::domain::clock::MovableClock;
use token_broker::domain::entropy::{Entropy, SystemEntropy};
use token_broker::provider::dev::{DevProvider, DevProviderSettings};
use token_broker::provider::settings::KindSettings;

use crate::support::broker::{Setup, TestBroker};
use crate::support::redis::RedisServer;

async fn started(setup: Setup) -> TestBroker {
    let broker = TestBroker::with(setup);
    broker.ready().await;
    broker
}

/// The token of a login.
async fn token(broker: &TestBroker, provider: &str, user: &str, choice: &str) -> String {
    let browser = broker.browser();
    let login = broker.log_in(&browser, provider, user, choice).await;
    let answer = broker.redeem(&browser, &login.key(), &login.verifier).await;
    answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// What the broker knows about the user after a login.
async fn user(broker: &TestBroker, provider: &str, user: &str, choice: &str) -> Value {
    let token = token(broker, provider, user, choice).await;
    broker.call("/api/me", &token).await.json()["user"].clone()
}

#[actix_web::test]
async fn only_provider_and_subject_identify_a_user() {
    for setup in Setup::each_database().await {
        let broker = started(setup).await;
        let alice = user(&broker, "dev", "alice", "").await;
        for fault in ["email_foreign_domain", "email_unverified", "email_verified_missing", "email_two_ats"] {
            let again = user(&broker, "dev", "alice", &format!("&fault={fault}")).await;
            assert_eq!(again["id"], alice["id"], "{fault}: another address is no other person");
        }
        assert_eq!(broker.rows("users"), 1);
        // The same name and email address at another provider: a different user.
        let elsewhere = user(&broker, "ops", "alice", "").await;
        assert_eq!((&elsewhere["username"], &elsewhere["email"]), (&alice["username"], &alice["email"]));
        let renamed = user(&broker, "ops", "alice", "&fault=hostile_profile").await;
        assert_eq!(renamed["id"], elsewhere["id"], "another name is no other person");
        assert_ne!(renamed["display_name"], elsewhere["display_name"]);
        let bob = user(&broker, "dev", "bob", "").await;
        assert!(elsewhere["id"] != alice["id"] && bob["id"] != alice["id"] && bob["id"] != elsewhere["id"]);
        assert_eq!((broker.rows("users"), broker.rows("identities")), (3, 3));
        let last = user(&broker, "dev", "alice", "").await;
        assert_eq!(last, alice, "the profile is brought up to date with each login");
    }
}

#[actix_web::test]
async fn only_the_boolean_true_verifies_an_address() {
    let broker = started(Setup::default()).await;
    for (provider, choice, verified) in [
        ("dev", "", true),
        ("dev", "&fault=email_unverified", false),
        ("dev", "&fault=email_verified_string", false),
        ("dev", "&fault=email_verified_missing", false),
        ("ops", "", false),
        ("ops", "&fault=email_verified_string", false),
    ] {
        let alice = user(&broker, provider, "alice", choice).await;
        assert_eq!(alice["email_verified"], verified, "{provider}{choice}");
    }
}

#[actix_web::test]
async fn an_allow_list_of_domains_is_exact() {
    let allowing = |domain: &'static str| {
        let adjust = move |config: &mut token_broker::config::Config| {
            for provider in &mut config.providers {
                provider.allowed_email_domains = vec![domain.to_owned()];
            }
        };
        started(Setup::default().adjust(adjust))
    };
    let denied = async |broker: &TestBroker, provider: &str, choice: &str| {
        let users = broker.rows("users");
        let login = broker.log_in(&broker.browser(), provider, "alice", choice).await;
        assert_eq!(login.error(), "access_denied", "{provider}{choice}");
        assert!(login.description().contains("(access_denied, "), "{}", login.description());
        assert_eq!(broker.rows("users"), users);
    };
    let broker = allowing("example.com").await;
    for fault in ["email_two_ats", "email_foreign_domain"] {
        denied(&broker, "dev", &format!("&fault={fault}")).await;
        denied(&broker, "ops", &format!("&fault={fault}")).await;
    }
    for fault in ["email_unverified", "email_verified_string", "email_verified_missing"] {
        denied(&broker, "dev", &format!("&fault={fault}")).await;
    }
    for provider in ["dev", "ops"] {
        assert_eq!(user(&broker, provider, "alice", "").await["email"], "alice@example.com");
    }
    for other in ["ample.com", "com", "sub.example.com", "evil.example"] {
        let broker = allowing(other).await;
        denied(&broker, "dev", "").await;
        denied(&broker, "ops", "").await;
    }
}

#[actix_web::test]
async fn a_hostile_profile_is_cleaned_and_limited() {
    let broker = started(Setup::default().adjust(|config| {
        let KindSettings::OAuth2(settings) = &mut config.providers[1].kind else {
            panic!("no plain provider")
        };
        settings.claims.groups = settings.claims.display_name.clone();
    }))
    .await;
    let token = token(&broker, "ops", "alice", "&fault=hostile_profile").await;
    let (me, permissions) =
        (broker.call("/api/me", &token).await, broker.call("/api/permissions", &token).await);
    let lists = permissions.json();
    let (permitted, groups) = (&lists["permissions"], &lists["groups"]);
    assert_eq!((permitted.as_array().unwrap().len(), &permitted[1]), (2, &"7".into()), "texts and numbers");
    for text in [&me.json()["user"]["display_name"], &permitted[0], &groups[0]] {
        let text = text.as_str().unwrap();
        let bad = |c: char| c.is_control() || c == '\u{202e}';
        assert!(text.starts_with("<script>") && !text.contains(bad), "{text:?}");
        assert_eq!(text.chars().count(), 255);
    }
    for answer in [&me, &permissions] {
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

/// Records its output: every code, token and session of a provider that uses it.
#[derive(Default)]
struct Recording(Mutex<Vec<Vec<u8>>>);

impl Entropy for Recording {
    fn fill(&self, target: &mut [u8]) {
        SystemEntropy.fill(target);
        self.0.lock().unwrap().push(target.to_vec());
    }
}

/// The raw content of the database file and of Redis.
fn stored(broker: &TestBroker, redis: &RedisServer) -> Vec<u8> {
    let file = broker.config.database.url.expose_secret().strip_prefix("sqlite:").unwrap();
    let mut all = std::fs::read(file).unwrap();
    all.extend(std::fs::read(format!("{file}-wal")).unwrap_or_default());
    let names: Vec<Vec<u8>> = redis.ask(::redis::cmd("KEYS").arg("*"));
    assert!(!names.is_empty(), "the key store is empty");
    for name in names {
        all.extend(redis.ask::<Vec<u8>>(::redis::cmd("DUMP").arg(&name)));
        all.extend(name);
    }
    all
}

#[actix_web::test]
async fn tokens_of_the_provider_are_neither_stored_nor_sent() {
    let redis = RedisServer::start(&["rdbcompression no"]);
    let (clock, drawn) = (Arc::new(MovableClock::new()), Arc::new(Recording::default()));
    let provider = DevProvider::start(DevProviderSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        clock: clock.clone(),
        entropy: drawn.clone(),
        clients: Vec::new(),
        open_registration: false,
    });
    let setup = Setup { key_store: Some(redis.url()), ..Setup::default() };
    let broker = TestBroker::with_provider(setup, clock, Arc::new(provider.unwrap()));
    broker.ready().await;
    let mut sent = String::new();
    for provider in ["dev", "ops"] {
        let browser = broker.browser();
        // One login whose key is redeemed, and one whose key is not.
        broker.log_in(&browser, provider, "alice", "").await.key();
        let login = broker.log_in(&browser, provider, "alice", "").await;
        let answer = broker.redeem(&browser, &login.key(), &login.verifier).await;
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        let me = broker.call("/api/me", &token).await;
        let permissions = broker.call("/api/permissions", &token).await;
        for answer in [login.back, answer, me, permissions] {
            sent.push_str(&format!("{:?}{}", answer.headers, answer.body));
        }
    }
    let stored = stored(&broker, &redis);
    let holds = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).any(|part| part == needle);
    // The session id of the last login is stored for the logout, which shows that the search works.
    let sid = broker.provider.log().last_id_token.unwrap()["sid"].as_str().unwrap().to_owned();
    assert!(holds(&stored, sid.as_bytes()));
    let secrets = drawn.0.lock().unwrap().clone();
    assert!(secrets.len() > 8, "codes, tokens and sessions of four logins");
    let of_sessions = kept_session_ids(&broker);
    for secret in secrets {
        let text = URL_SAFE_NO_PAD.encode(&secret);
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!sent.contains(&text), "a secret of the provider was sent on");
        if !of_sessions.contains(&text) {
            let found =
                [text.as_bytes(), hex.as_bytes(), &secret].iter().any(|needle| holds(&stored, needle));
            assert!(!found, "a secret of the provider was stored");
        }
    }
    let beginning_of_a_jwt = "eyJhbGciOi";
    assert!(!sent.contains(beginning_of_a_jwt) && !holds(&stored, beginning_of_a_jwt.as_bytes()));
}

/// The provider's session ids, which are not credentials, in their column.
fn kept_session_ids(broker: &TestBroker) -> Vec<String> {
    use diesel::prelude::*;
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        sid: String,
    }
    let file = broker.config.database.url.expose_secret().strip_prefix("sqlite:").unwrap();
    let query = "SELECT provider_session AS sid FROM sessions WHERE provider_session IS NOT NULL";
    let rows: Vec<Row> =
        diesel::sql_query(query).load(&mut SqliteConnection::establish(file).unwrap()).unwrap();
    rows.into_iter().map(|row| row.sid).collect()
}
