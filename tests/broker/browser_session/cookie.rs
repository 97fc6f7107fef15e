//! The session cookie itself: its attributes, what it cannot be used for, and the effect of planting one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use token_broker::config::ServerKeysConfig;
use token_broker::domain::browser_session::{BrowserSession, SessionSecret};
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};

use super::*;
use crate::support::broker::HTTPS_URL;
use crate::support::rows;

#[actix_web::test]
async fn the_session_cookie_has_all_attributes_and_is_opaque() {
    for (setup, host, name, secure) in [
        (Setup::https(), "auth.example.com", "__Host-Http-tb_session", "Secure; "),
        (Setup::default(), "localhost", "tb_session", ""),
    ] {
        let broker = TestBroker::with(setup);
        broker.ready().await;
        let browser = broker.browser();
        let login = broker.log_in(&browser, "dev", "alice", "").await;
        let (value, attributes) = set_session(&login.back).unwrap();
        assert_eq!(attributes, format!("HttpOnly; SameSite=Lax; {secure}Path=/; Max-Age=2592000"));
        assert_eq!(browser.cookies(host).get(name), Some(&value));
        assert!(name.len() + value.len() < 1024, "{value}");
        let token = redeemed(&broker, &browser, &login).await;
        let me = me(&broker, &token).await;
        let opaque = URL_SAFE_NO_PAD.decode(&value).unwrap();
        for id in [&me["session"]["id"], &me["user"]["id"]] {
            let id: uuid::Uuid = id.as_str().unwrap().parse().unwrap();
            assert!(!opaque.windows(16).any(|bytes| bytes == id.as_bytes()), "an id stands in the cookie");
        }
        assert_eq!(login_leads(&broker, &browser, &[]).await, Leads::Back);
    }
}

/// On https, no cookie is read that plain http or another subdomain could have set.
#[actix_web::test]
async fn an_https_broker_reads_no_cookie_that_another_subdomain_can_set() {
    let broker = TestBroker::with(Setup::https());
    broker.ready().await;
    let browser = broker.browser();
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let (value, _) = set_session(&login.back).unwrap();
    for planted in ["tb_session", "__Host-tb_session", "__Http-tb_session", "__Secure-tb_session"] {
        let victim = broker.browser();
        victim.set_cookie("auth.example.com", planted, Some(&value));
        assert_eq!(login_leads(&broker, &victim, &[]).await, Leads::Provider("dev"), "{planted}");
    }
    assert!(broker.url.starts_with(HTTPS_URL));
}

#[actix_web::test]
async fn a_planted_cookie_never_becomes_a_session_cookie() {
    let broker = TestBroker::start();
    broker.ready().await;
    let foreign = KeyRing::new(KeyId(1), vec![ServerKey::new(KeyId(1), vec![7; 32]).unwrap()]).unwrap();
    let forged = BrowserSession {
        secret: SessionSecret::random(&SystemEntropy),
        session_id: uuid::Uuid::nil().into(),
        user_id: uuid::Uuid::nil().into(),
    };
    let never_begun = forged.seal(&broker.config.server_keys.ring, &SystemEntropy);
    for planted in
        ["x", "", &"A".repeat(128), &"A".repeat(4000), &forged.seal(&foreign, &SystemEntropy), &never_begun]
    {
        let victim = broker.browser();
        victim.set_cookie("localhost", "tb_session", Some(planted));
        let begun = victim.navigate(&broker.login(&[]).url).await;
        assert_eq!(leads(&broker, &begun), Leads::Provider("dev"), "{planted}");
        assert_eq!(set_session(&begun), None, "{planted}");
        let chosen = victim.navigate(&format!("{}&user=alice", begun.location().unwrap())).await;
        let back = victim.navigate(chosen.location().unwrap().as_str()).await;
        assert!(back.parameter("one_time_key").is_some(), "{back:?}");
        let given = session_cookie(&victim).unwrap();
        assert_ne!(given, planted);
        let attacker = broker.browser();
        attacker.set_cookie("localhost", "tb_session", Some(planted));
        assert_eq!(login_leads(&broker, &attacker, &[]).await, Leads::Provider("dev"));
    }
}

/// An attacker's live cookie in the victim's browser: a user who then signs in gets a new cookie, and the attacker's
/// becomes invalid.
#[actix_web::test]
async fn a_sign_in_over_a_planted_session_does_not_share_it() {
    let broker = TestBroker::start();
    let (attacker, victim) = (broker.browser(), broker.browser());
    broker.sign_in(&attacker, "dev", "bob").await;
    victim.set_cookie("localhost", "tb_session", session_cookie(&attacker).as_deref());
    let login = fresh_login(&broker, &victim, "alice", "").await;
    let token = redeemed(&broker, &victim, &login).await;
    assert_eq!(me(&broker, &token).await["user"]["username"], "alice");
    assert_ne!(session_cookie(&victim), session_cookie(&attacker));
    until_true("the planted session has ended", async || {
        login_leads(&broker, &attacker, &[]).await == Leads::Provider("dev")
    })
    .await;
}

#[actix_web::test]
async fn two_session_cookies_are_neither_accepted_nor_ended() {
    let broker = TestBroker::start();
    let (one, other) = (broker.browser(), broker.browser());
    let tokens = [broker.sign_in(&one, "dev", "alice").await, broker.sign_in(&other, "dev", "bob").await];
    let [first, second] = [&one, &other].map(|browser| session_cookie(browser).unwrap());
    for pair in [[&first, &second], [&second, &first]] {
        let header = format!("tb_session={}; tb_session={}", pair[0], pair[1]);
        let victim = broker.browser();
        let begun = victim.get(&broker.login(&[]).url, &[("cookie", &header)]).await;
        assert_eq!((leads(&broker, &begun), set_session(&begun)), (Leads::Provider("dev"), None));
        let chosen = victim.navigate(&format!("{}&user=alice", begun.location().unwrap())).await;
        let attempt = victim.cookies("localhost").into_iter().find(|(name, _)| name.starts_with("tb_login_"));
        let (name, value) = attempt.unwrap();
        victim.forget_cookies();
        let header = format!("{header}; {name}={value}");
        let back = victim.get(chosen.location().unwrap().as_str(), &[("cookie", &header)]).await;
        assert!(back.parameter("one_time_key").is_some(), "{back:?}");
        let given = set_session(&back).unwrap().0;
        assert!(given != first && given != second && !given.is_empty());
    }
    for token in &tokens {
        assert_eq!(status(&broker, token).await, 200);
    }
    let same = format!("tb_session={first}; tb_session={first}");
    let answer = broker.browser().get(&broker.login(&[]).url, &[("cookie", &same)]).await;
    assert_eq!(leads(&broker, &answer), Leads::Back);
}

#[actix_web::test]
async fn the_session_cookie_authenticates_no_call_of_the_api() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    let value = session_cookie(&browser).unwrap();
    let bearer = format!("Bearer {value}");
    for (method, path) in [
        ("GET", "/api/me"),
        ("GET", "/api/permissions"),
        ("POST", "/api/token/rotate"),
        ("POST", "/api/logout"),
    ] {
        let send = async |headers: &[(&str, &str)]| {
            browser.send(method.parse().unwrap(), &broker.at(path), headers, None).await
        };
        let with_cookie = send(&[]).await;
        assert_eq!(with_cookie.status, 401, "{method} {path}: {with_cookie:?}");
        assert!(!with_cookie.header("www-authenticate").unwrap().contains("error="), "{with_cookie:?}");
        let as_bearer = send(&[("authorization", &bearer)]).await;
        assert_eq!(
            (as_bearer.status.as_u16(), as_bearer.error_code().as_deref()),
            (401, Some("invalid_token"))
        );
    }
    let as_key = broker.redeem(&browser, &value, &"v".repeat(43)).await;
    assert_eq!(as_key.error_code().as_deref(), Some("invalid_grant"));
    assert_eq!(status(&broker, &token).await, 200, "no session was ended");
}

/// An attacker who can write to the database can neither move a session to another user nor assign one to a cookie.
#[actix_web::test]
async fn a_session_row_that_was_tampered_with_is_not_continued() {
    for (what, changes) in [
        (
            "the user",
            &["UPDATE sessions SET user_id = (SELECT user_id FROM identities WHERE username = 'bob')"][..],
        ),
        ("no digest", &["UPDATE sessions SET cookie_digest = NULL"]),
        (
            "alice's digest at bob's session",
            &[
                "CREATE TABLE stolen AS SELECT cookie_digest FROM sessions ORDER BY created_at LIMIT 1",
                "UPDATE sessions SET cookie_digest = NULL WHERE cookie_digest IN stolen",
                "UPDATE sessions SET cookie_digest = (SELECT * FROM stolen) WHERE cookie_digest IS NOT NULL",
            ],
        ),
    ] {
        let broker = TestBroker::start();
        let (alice, bob) = (broker.browser(), broker.browser());
        broker.sign_in(&alice, "dev", "alice").await;
        broker.advance(1);
        broker.sign_in(&bob, "dev", "bob").await;
        assert_eq!(login_leads(&broker, &alice, &[]).await, Leads::Back, "{what}");
        for change in changes {
            rows::change(&broker, change);
        }
        assert_eq!(login_leads(&broker, &alice, &[]).await, Leads::Provider("dev"), "{what}");
    }
}

fn ring(issuing: u32, ids: &[u32]) -> ServerKeysConfig {
    let key = |id: &u32| ServerKey::new(KeyId(*id), vec![u8::try_from(*id).unwrap(); 32]).unwrap();
    KeyRing::new(KeyId(issuing), ids.iter().map(key).collect()).unwrap().into()
}

#[actix_web::test]
async fn a_cookie_is_invalid_without_the_key_that_sealed_it_unless_it_was_resealed() {
    let old = TestBroker::with(Setup::default().adjust(|config| config.server_keys = ring(1, &[1])));
    let browser = old.browser();
    old.sign_in(&browser, "dev", "alice").await;
    let stays_away = browser.copy();
    let both = old.twin_with(|config| config.server_keys = ring(2, &[1, 2]));
    let new = old.twin_with(|config| config.server_keys = ring(2, &[2]));
    let at = |browser: &Browser, instance: &TestBroker| browser.route(&instance.url, &instance.real_url);
    at(&browser, &both);
    assert_eq!(login_leads(&both, &browser, &[]).await, Leads::Back);
    at(&browser, &new);
    assert_eq!(login_leads(&new, &browser, &[]).await, Leads::Back, "it is sealed under the new key");
    at(&stays_away, &new);
    assert_eq!(login_leads(&new, &stays_away, &[]).await, Leads::Provider("dev"));
}
