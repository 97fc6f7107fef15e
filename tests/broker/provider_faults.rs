//! All faults of a provider in a login: the error that the SPA gets, and that no user is created.

use token_broker::config::Config;
use token_broker::domain::client::LoginParameter;
use token_broker::provider::dev::{ClientAuthSeen, Fault, FaultGroup, FaultSwitch};
use token_broker::provider::settings::{KindSettings, OidcSettings};

use crate::support::broker::{Setup, TestBroker};

/// The code of a login that succeeds.
const OK: &str = "ok";

/// The result of a login at the OpenID provider, by fault; faults that delay responses are tested in `provider_down`.
const OUTCOMES: &[(&str, &[&str])] = &[
    (
        OK,
        &[
            "token_lowercase_type",
            // The signature is verified with each suitable key.
            "missing_kid",
            "aud_list",
            "missing_at_hash",
            // Not requested.
            "old_auth_time",
            "missing_auth_time",
            "wrong_acr",
            "missing_acr",
            // Reported, but not used by default.
            "email_unverified",
            "email_verified_string",
            "email_verified_missing",
            "email_two_ats",
            "email_foreign_domain",
        ],
    ),
    (
        "provider_error",
        &[
            "token_html",
            "token_text_plain",
            "token_array",
            "token_not_json",
            "token_deep",
            "token_duplicate_member",
            "token_no_access_token",
            "token_empty_access_token",
            "token_wrong_type",
            "token_missing_type",
            "token_201",
            "token_error_invalid_grant",
            "token_error_invalid_client",
            "token_redirect",
            "token_huge",
            "userinfo_other_sub",
            "userinfo_missing_sub",
            "profile_html",
            "profile_text_plain",
            "profile_array",
            "profile_not_json",
            "profile_duplicate_member",
            "profile_401",
            "profile_redirect",
            "profile_huge",
        ],
    ),
    ("temporarily_unavailable", &["token_500", "token_503", "token_cut", "profile_500"]),
    (
        "invalid_id_token",
        &[
            "missing_id_token",
            "id_token_number",
            "id_token_garbage",
            "id_token_five_parts",
            "id_token_cut",
            "bad_signature",
            "alg_none",
            "alg_hs256",
            "alg_hs256_public_key",
            "alg_ps256",
            "alg_of_other_key",
            "unknown_kid",
            "wrong_key",
            "embedded_jwk",
            "foreign_jku",
            "foreign_crit",
            "wrong_iss",
            "missing_iss",
            "wrong_aud",
            "missing_aud",
            "extra_aud",
            "foreign_azp",
            "wrong_nonce",
            "missing_nonce",
            "expired",
            "missing_exp",
            "exp_as_string",
            "exp_huge",
            "future_iat",
            "old_iat",
            "missing_iat",
            "iat_as_string",
            "future_nbf",
            "nbf_as_string",
            "wrong_at_hash",
            "duplicate_claim",
            "subject_missing",
            "subject_null",
            "subject_empty",
            "subject_object",
            "subject_long",
            "subject_nul",
            // 10 000 letters in each text: longer than the maximum length of a token.
            "hostile_profile",
        ],
    ),
    ("slow", &["token_slow", "token_drip", "profile_slow", "profile_drip"]),
];

fn outcome(fault: Fault) -> &'static str {
    let found = OUTCOMES.iter().find(|(_, faults)| faults.contains(&fault.name()));
    found.unwrap_or_else(|| panic!("no test expects anything of the fault {}", fault.name())).0
}

/// The `error` that the SPA gets for an error code of the broker.
fn told(code: &str) -> &str {
    match code {
        "insufficient_user_authentication" => "unmet_authentication_requirements",
        "access_denied" => code,
        _ => "temporarily_unavailable",
    }
}

/// A login with a fault ends with `code`, and creates no user if it fails.
async fn ends_with(broker: &TestBroker, provider: &str, choice: &str, code: &str) {
    let browser = broker.browser();
    let users = broker.rows("users");
    let login = broker.log_in(&browser, provider, "alice", choice).await;
    if code == OK {
        assert!(login.key().starts_with("tbo_"), "{provider}{choice}");
        return;
    }
    assert_eq!(login.error(), told(code), "{provider}{choice}: {}", login.description());
    assert!(
        login.description().contains(&format!("({code}, ")),
        "{provider}{choice}: {}",
        login.description()
    );
    assert_eq!(login.back.parameter("one_time_key"), None);
    assert_eq!(login.back.parameter("state"), Some(login.state));
    assert_eq!((broker.rows("users"), broker.rows("tokens")), (users, 0), "{provider}{choice}");
}

async fn started(setup: Setup) -> TestBroker {
    let broker = TestBroker::with(setup);
    broker.ready().await;
    broker
}

/// The faults of these groups, those that succeed last, so that the database is empty for the others.
async fn each_fault(groups: &[FaultGroup]) {
    let broker = started(Setup::default()).await;
    let mut faults: Vec<_> = Fault::ALL.iter().filter(|fault| groups.contains(&fault.group())).collect();
    faults.retain(|fault| outcome(**fault) != "slow");
    faults.sort_by_key(|fault| outcome(**fault) == OK);
    for fault in faults {
        let choice = format!("&fault={}", fault.name());
        ends_with(&broker, "dev", &choice, outcome(*fault)).await;
    }
    let log = broker.provider.log();
    assert_eq!(log.trapped, [], "the broker follows no redirect and fetches no URL of a token or a profile");
}

#[actix_web::test]
async fn an_unusable_token_response_fails_the_login() {
    each_fault(&[FaultGroup::TokenAnswer]).await;
}

#[actix_web::test]
async fn a_bad_id_token_fails_the_login() {
    each_fault(&[FaultGroup::IdToken]).await;
}

#[actix_web::test]
async fn an_unusable_profile_fails_the_login() {
    each_fault(&[FaultGroup::Person, FaultGroup::UserInfo, FaultGroup::ProfileAnswer]).await;
}

#[actix_web::test]
async fn faults_of_a_plain_provider_fail_the_login() {
    let broker = started(Setup::default()).await;
    let groups = [FaultGroup::TokenAnswer, FaultGroup::Person, FaultGroup::ProfileAnswer];
    let concern = |fault: &&Fault| groups.contains(&fault.group()) && fault.concerns_plain_oauth2();
    let code = |fault: &Fault| match (fault, outcome(*fault)) {
        // It has no ID token: the subject comes from the profile, and no token can be too long.
        (Fault::HostileProfile, _) => OK,
        (_, "invalid_id_token") => "provider_error",
        (_, other) => other,
    };
    let faults = Fault::ALL.iter().filter(concern).map(|fault| (fault.name(), code(fault)));
    let mut faults: Vec<_> = faults.filter(|(_, code)| *code != "slow").collect();
    faults.sort_by_key(|(_, code)| *code == OK);
    for (name, code) in faults {
        ends_with(&broker, "ops", &format!("&fault={name}"), code).await;
    }
    assert_eq!(broker.provider.log().trapped, []);
}

#[actix_web::test]
async fn every_algorithm_of_the_provider_is_verified() {
    let broker = started(Setup::default()).await;
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let choice = format!("&id_token_signed_response_alg={algorithm}");
        for fault in ["wrong_key", "alg_of_other_key", "bad_signature", "embedded_jwk", "alg_none"] {
            ends_with(&broker, "dev", &format!("{choice}&fault={fault}"), "invalid_id_token").await;
        }
    }
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        ends_with(&broker, "dev", &format!("&id_token_signed_response_alg={algorithm}"), OK).await;
    }
    let only_rs256 = Setup::default().adjust(|config| {
        oidc(config).algorithms = vec!["RS256".parse().unwrap()];
    });
    let strict = started(only_rs256).await;
    ends_with(&strict, "dev", "&id_token_signed_response_alg=ES256", "invalid_id_token").await;
    ends_with(&strict, "dev", "", OK).await;
}

fn oidc(config: &mut Config) -> &mut OidcSettings {
    match &mut config.providers[0].kind {
        KindSettings::Oidc(settings) => settings,
        KindSettings::OAuth2(_) => panic!("the first provider is an OpenID one"),
    }
}

#[actix_web::test]
async fn a_second_audience_must_be_trusted_by_name() {
    let trusting = Setup::default().adjust(|config| {
        oidc(config).trusted_audiences = vec!["another-client".to_owned()];
    });
    let broker = started(trusting).await;
    ends_with(&broker, "dev", "&fault=wrong_aud", "invalid_id_token").await;
    ends_with(&broker, "dev", "&fault=foreign_azp", "invalid_id_token").await;
    ends_with(&broker, "dev", "&fault=extra_aud", OK).await;
}

#[actix_web::test]
async fn a_sign_in_must_be_as_recent_and_strong_as_requested() {
    let asking = Setup::default().adjust(|config| {
        config.clients[0].login_parameters = vec![LoginParameter::MaxAge];
        oidc(config).acr_values = vec!["urn:dev:two-factor".to_owned()];
    });
    let broker = started(asking).await;
    let code = "insufficient_user_authentication";
    ends_with(&broker, "dev", "&fault=wrong_acr", code).await;
    ends_with(&broker, "dev", "&fault=missing_acr", code).await;
    for (fault, code) in
        [("old_auth_time", code), ("missing_auth_time", "invalid_id_token"), ("aud_list", OK)]
    {
        let login = broker.login(&[("max_age", "3600")]);
        let choice = format!("&user=alice&fault={fault}");
        let login = broker.complete(&broker.browser(), login, &choice).await;
        match code {
            OK => assert!(login.key().starts_with("tbo_")),
            _ => assert_eq!(login.error(), told(code), "{fault}"),
        }
    }
    assert_eq!(broker.rows("users"), 1);
    // A plain provider cannot prove it: the login does not start.
    let plain = broker.login(&[("provider", "ops"), ("max_age", "3600")]);
    broker.browser().navigate(&plain.url).await.assert_own_page(400, "invalid_request");
}

#[actix_web::test]
async fn the_code_is_sent_once_with_verifier_and_client_authentication() {
    let broker = started(Setup::default()).await;
    for (provider, path, client_auth) in
        [("dev", "/token", ClientAuthSeen::Basic), ("ops", "/o/token/", ClientAuthSeen::Post)]
    {
        let faults = ["token_500", "token_cut", "token_503", "token_html", "token_error_invalid_grant"];
        for (before, fault) in faults.iter().enumerate() {
            broker.log_in(&broker.browser(), provider, "alice", &format!("&fault={fault}")).await.error();
            assert_eq!(broker.provider.log().count(path), before as u64 + 1, "{fault}: sent again");
        }
        let seen = broker.provider.log().last_token_request.unwrap();
        assert_eq!((seen.client_auth, seen.verifier_matched), (client_auth, Some(true)));
        assert_eq!(seen.client_id.as_deref(), Some("token-broker"));
        assert_eq!((seen.had_query, &*seen.content_type), (false, "application/x-www-form-urlencoded"));
    }
}

async fn with_switch(switch: FaultSwitch) -> TestBroker {
    let broker = TestBroker::with_switch(switch);
    broker.ready().await;
    broker
}

#[actix_web::test]
async fn no_login_starts_without_usable_metadata() {
    for (switch, status, code) in [
        (FaultSwitch::DiscoveryWrongIssuer, 502, "provider_error"),
        (FaultSwitch::DiscoveryForeignEndpoints, 502, "provider_error"),
        (FaultSwitch::DiscoveryRedirect, 502, "provider_error"),
        (FaultSwitch::DiscoveryHuge, 502, "provider_error"),
        (FaultSwitch::DiscoveryNotJson, 502, "provider_error"),
        (FaultSwitch::Discovery500, 503, "temporarily_unavailable"),
        (FaultSwitch::Everything500, 503, "temporarily_unavailable"),
    ] {
        let broker = with_switch(switch).await;
        let browser = broker.browser();
        let answer = browser.navigate(&broker.login(&[]).url).await;
        answer.assert_own_page(status, code);
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{answer:?}");
        assert!(browser.cookies("localhost").is_empty(), "nothing began");
        assert_eq!(broker.provider.log().trapped, []);

        broker.provider.faults().clear();
        assert!(broker.log_in(&browser, "dev", "alice", "").await.key().starts_with("tbo_"), "{switch:?}");
    }
}

#[actix_web::test]
async fn a_login_needs_usable_keys() {
    for (switch, code) in [
        (FaultSwitch::WeakRsa, "invalid_id_token"),
        (FaultSwitch::JwksHuge, "provider_error"),
        (FaultSwitch::Jwks500, "temporarily_unavailable"),
        (FaultSwitch::JwksOddKeys, OK),
    ] {
        let broker = with_switch(switch).await;
        ends_with(&broker, "dev", "", code).await;
        broker.provider.faults().clear();
        broker.advance(60);
        ends_with(&broker, "dev", "", OK).await;
    }
}

#[actix_web::test]
async fn iss_is_optional_unless_announced() {
    let broker = with_switch(FaultSwitch::DiscoveryNoIssParameter).await;
    let login = broker.log_in(&broker.browser(), "dev", "alice", "").await;
    assert!(!login.callback.contains("iss="), "{}", login.callback);
    assert!(login.key().starts_with("tbo_"));
    // But if it sends one, it must be right.
    let browser = broker.browser();
    let callback = broker.callback_url(&browser, &broker.login(&[]).url, "&user=alice").await;
    let answer = browser.navigate(&format!("{callback}&iss=https%3A%2F%2Fattacker.example")).await;
    answer.assert_own_page(400, "issuer_mismatch");
}

#[actix_web::test]
async fn keys_are_fetched_once_for_all_and_a_rotation_needs_no_restart() {
    let broker = started(Setup::default()).await;
    let logins = (0..8).map(|_| async {
        broker.log_in(&broker.browser(), "dev", "alice", "").await.key();
    });
    futures_util::future::join_all(logins).await;
    let fetched = |path: &str| broker.provider.log().count(path);
    assert_eq!((fetched("/.well-known/openid-configuration"), fetched("/jwks")), (1, 1));

    broker.provider.faults().set(FaultSwitch::JwksRotate, true);
    broker.log_in(&broker.browser(), "dev", "alice", "").await.key();
    assert_eq!(fetched("/jwks"), 2);
    for _ in 0..5 {
        broker.log_in(&broker.browser(), "dev", "alice", "&fault=unknown_kid").await.error();
    }
    assert_eq!(fetched("/jwks"), 2, "unknown keys cost one fetch a minute");
    broker.advance(61);
    broker.log_in(&broker.browser(), "dev", "alice", "&fault=unknown_kid").await.error();
    assert_eq!(fetched("/jwks"), 3);
}
