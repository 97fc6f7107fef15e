//! Bearer tokens in requests: where they are accepted, what a refusal looks like, and which other credentials are not
//! accepted.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use serde_json::{Value, json};
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::pkce::CodeVerifier;

use crate::support::audit;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::raw;
use crate::support::rows::{change, row_of};

/// Every call that needs a bearer token: method and path.
const CALLS: [(&str, &str); 4] =
    [("GET", "/api/me"), ("GET", "/api/permissions"), ("POST", "/api/token/rotate"), ("POST", "/api/logout")];

const CHALLENGE: &str = r#"Bearer realm="token-broker""#;

async fn sign_in(broker: &TestBroker, user: &str) -> String {
    broker.sign_in(&broker.browser(), "dev", user).await
}

async fn ask(broker: &TestBroker, (method, path): (&str, &str), headers: &[(&str, &str)]) -> Answer {
    broker.browser().send(method.parse().unwrap(), &broker.at(path), headers, None).await
}

/// Checks status, code and challenge of a refusal.
fn is_refused(answer: &Answer, status: u16, code: &str, challenge: &str, case: &str) {
    let seen = (answer.status.as_u16(), answer.error_code(), answer.header("www-authenticate"));
    assert_eq!(seen, (status, Some(code.to_owned()), Some(challenge)), "{case}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{case}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
}

#[actix_web::test]
async fn one_header_with_the_scheme_in_any_case() {
    let broker = TestBroker::start();
    let token = sign_in(&broker, "alice").await;
    for (header, good) in [
        (format!("Bearer {token}"), true),
        (format!("bearer {token}"), true),
        (format!("BEARER   {token}"), true),
        (format!("bEaReR {token}"), true),
        (token.clone(), false),
        (format!("Bearer{token}"), false),
        (format!("Token {token}"), false),
        (format!("DPoP {token}"), false),
        (format!("Bearer\t{token}"), false),
    ] {
        let answer = ask(&broker, CALLS[0], &[("authorization", &header)]).await;
        assert_eq!(answer.status == 200, good, "{header}: {answer:?}");
        assert!(good || answer.status.is_client_error(), "{header}: {answer:?}");
    }
    for name in ["x-authorization", "x-access-token", "x-auth-token", "proxy-authorization"] {
        let answer = ask(&broker, CALLS[0], &[(name, &format!("Bearer {token}"))]).await;
        is_refused(&answer, 401, "missing_token", CHALLENGE, name);
    }
}

#[actix_web::test]
async fn an_api_calls_the_broker_by_an_internal_name_that_is_configured() {
    let broker = TestBroker::start();
    let token = sign_in(&broker, "alice").await;
    let twin = broker.twin_with(|config| config.http.host_names = vec!["broker.internal".to_owned()]);
    for (asked, host, status) in [
        (&broker, "broker.internal:8080", 421),
        (&twin, "broker.internal:8080", 200),
        (&twin, "Broker.Internal", 200),
        (&twin, "other.internal", 421),
    ] {
        let request = format!(
            "GET /api/me HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let answer = raw::send(&asked.real_url, request).await;
        assert_eq!(answer.status(), Some(status), "{host}: {answer:?}");
    }
}

#[actix_web::test]
async fn without_credentials_the_challenge_has_no_error_code() {
    let broker = TestBroker::start();
    for call in CALLS {
        for headers in [&[][..], &[("authorization", "Basic YTpi")], &[("authorization", "")]] {
            let answer = ask(&broker, call, headers).await;
            is_refused(&answer, 401, "missing_token", CHALLENGE, &format!("{call:?} {headers:?}"));
        }
    }
}

/// Invalid tokens, each for a different reason.
async fn dead_tokens(broker: &TestBroker) -> Vec<(&'static str, String)> {
    let expired = sign_in(broker, "alice").await;
    broker.advance(604_801);
    let live = sign_in(broker, "alice").await;
    let [logged_out, revoked, superseded, unknown] = [
        sign_in(broker, "alice").await,
        sign_in(broker, "alice").await,
        sign_in(broker, "alice").await,
        sign_in(broker, "alice").await,
    ];
    assert_eq!(broker.post("/api/logout", &logged_out, &json!({})).await.status, 200);
    let row = row_of(broker, &revoked);
    assert_eq!(change(broker, &format!("UPDATE tokens SET revoked_at = 1 WHERE {row}")), 1);
    assert_eq!(broker.post("/api/token/rotate", &superseded, &json!({})).await.status, 200);
    let row = row_of(broker, &unknown);
    assert_eq!(change(broker, &format!("DELETE FROM tokens WHERE {row}")), 1);
    let disabled = sign_in(broker, "bob").await;
    let user = broker.call("/api/me", &disabled).await.json()["user"]["id"].as_str().unwrap().parse();
    audit::set_user_disabled(broker, user.unwrap(), true);
    broker.advance(61);
    let last = if live.ends_with('0') { '1' } else { '0' };
    vec![
        ("mistyped", format!("{}{last}", &live[..live.len() - 1])),
        ("cut", live[..40].to_owned()),
        ("no token at all", "x".to_owned()),
        ("unknown", unknown),
        ("expired", expired),
        ("logged out", logged_out),
        ("revoked", revoked),
        ("superseded", superseded),
        ("disabled", disabled),
    ]
}

#[actix_web::test]
async fn the_response_is_the_same_for_every_invalid_token() {
    let broker = TestBroker::start();
    let dead = dead_tokens(&broker).await;
    let challenge = format!(r#"{CHALLENGE}, error="invalid_token""#);
    for call in CALLS {
        let mut first = None;
        for (what, token) in &dead {
            let answer = ask(&broker, call, &[("authorization", &format!("Bearer {token}"))]).await;
            is_refused(&answer, 401, "invalid_token", &challenge, &format!("{call:?} {what}"));
            let like = answer.normalized();
            assert_eq!(first.get_or_insert_with(|| like.clone()), &like, "{call:?} {what}");
        }
    }
}

#[actix_web::test]
async fn unreadable_credentials_are_a_bad_request_and_not_a_server_error() {
    let broker = TestBroker::start();
    let token = sign_in(&broker, "alice").await;
    let good = format!("Bearer {token}");
    let challenge = format!(r#"{CHALLENGE}, error="invalid_request""#);
    let [long, longest] = [513, 512].map(|length| format!("Bearer {}", "a".repeat(length)));
    for bad in [
        "Bearer",
        "Bearer ",
        "Bearer ==",
        &format!("{good}, {good}"),
        &format!("{good}, Basic YTpi"),
        &format!("{good} {token}"),
        &format!("Bearer \"{token}\""),
        &format!("Bearer {token}ü"),
        "Bearer 口令",
        "Bearer a,b",
        &long,
    ] {
        for call in CALLS {
            let answer = ask(&broker, call, &[("authorization", bad)]).await;
            is_refused(&answer, 400, "invalid_request", &challenge, &format!("{call:?} {bad}"));
        }
    }
    let two = [("authorization", good.as_str()), ("authorization", good.as_str())];
    let other = [("authorization", good.as_str()), ("authorization", "Basic YTpi")];
    for headers in [two, other] {
        is_refused(&ask(&broker, CALLS[0], &headers).await, 400, "invalid_request", &challenge, "two");
    }
    let invalid = format!(r#"{CHALLENGE}, error="invalid_token""#);
    let answer = ask(&broker, CALLS[0], &[("authorization", &longest)]).await;
    is_refused(&answer, 401, "invalid_token", &invalid, "just not too long");
    assert_eq!(ask(&broker, CALLS[0], &two[..1]).await.status, 200, "and nothing happened to the session");
}

#[actix_web::test]
async fn a_token_in_the_url_or_a_form_is_refused_even_with_a_good_header() {
    let broker = TestBroker::start();
    let token = sign_in(&broker, "alice").await;
    let header = [("authorization", format!("Bearer {token}"))];
    let header = header.each_ref().map(|(name, value)| (*name, value.as_str()));
    let challenge = format!(r#"{CHALLENGE}, error="invalid_request""#);
    for (method, path) in CALLS {
        for query in [format!("?access_token={token}"), format!("?a=1&access%5Ftoken={token}")] {
            for headers in [&[][..], &header] {
                let answer = ask(&broker, (method, &format!("{path}{query}")), headers).await;
                is_refused(&answer, 400, "invalid_request", &challenge, &format!("{path}{query}"));
            }
        }
        if method == "POST" {
            for headers in [&[][..], &header] {
                let pairs = [("access_token", token.as_str())];
                let answer = broker.browser().post_form(&broker.at(path), &pairs, headers).await;
                is_refused(&answer, 400, "invalid_request", &challenge, path);
            }
        }
    }
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

/// The access token and ID token that the provider issues to the broker's client.
async fn provider_tokens(broker: &TestBroker) -> Vec<String> {
    use secrecy::ExposeSecret;

    let mut tokens = Vec::new();
    for (settings, authorize, token) in [
        (&broker.config.providers[0], "/authorize", "/token"),
        (&broker.config.providers[1], "/o/authorize/", "/o/token/"),
    ] {
        let browser = broker.browser();
        let verifier = CodeVerifier::random(&SystemEntropy);
        let challenge = verifier.challenge().to_string();
        let (address, redirect_uri) = (broker.provider.url(), settings.redirect_uri.as_str());
        let query = [
            ("response_type", "code"),
            ("client_id", &settings.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", "openid"),
            ("state", "s"),
            ("nonce", "n"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("user", "alice"),
        ];
        let url = url::Url::parse_with_params(&format!("{address}{authorize}"), query).unwrap();
        let code = browser.navigate(url.as_str()).await.parameter("code").unwrap();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("code_verifier", verifier.expose()),
            ("redirect_uri", redirect_uri),
            ("client_id", &settings.client_id),
            ("client_secret", settings.client_secret.expose_secret()),
        ];
        let answer = browser.post_form(&format!("{address}{token}"), &form, &[]).await.json();
        let texts = [&answer["access_token"], &answer["id_token"]].map(Value::as_str);
        tokens.extend(texts.into_iter().flatten().map(str::to_owned));
    }
    assert_eq!(tokens.len(), 3, "two access tokens and an ID token");
    tokens
}

#[actix_web::test]
async fn no_other_credential_authenticates_an_api_call() {
    use secrecy::ExposeSecret;

    let broker = TestBroker::start();
    let browser = broker.browser();
    broker.ready().await;
    broker.callback_url(&browser, &broker.login(&[]).url, "&user=alice").await;
    let login = broker.log_in(&browser, "dev", "alice", "").await;
    let cookies = browser.cookies("localhost");
    assert!(!cookies.is_empty(), "an attempt is under way");
    let mut others = provider_tokens(&broker).await;
    others.extend([login.key(), login.verifier.clone(), login.state.clone()]);
    others.push(broker.config.providers[0].client_secret.expose_secret().replace(' ', "-"));
    others.extend(cookies.into_values());
    let challenge = format!(r#"{CHALLENGE}, error="invalid_token""#);
    for other in others {
        let answer = ask(&broker, CALLS[0], &[("authorization", &format!("Bearer {other}"))]).await;
        // A credential that is longer than any token is not parsed.
        let (status, code, challenge) = match other.len() {
            0..=512 => (401, "invalid_token", challenge.clone()),
            _ => (400, "invalid_request", format!(r#"{CHALLENGE}, error="invalid_request""#)),
        };
        is_refused(&answer, status, code, &challenge, &other);
    }
    for (method, path) in CALLS {
        let answer = browser.send(method.parse().unwrap(), &broker.at(path), &[], None).await;
        is_refused(&answer, 401, "missing_token", CHALLENGE, "cookies alone");
    }
    let answer = broker.redeem(&browser, &login.key(), &login.verifier).await;
    assert_eq!(answer.status, 200, "the key is as good as before");
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let cookie = format!("access_token={token}; token={token}; Authorization=Bearer {token}");
    is_refused(
        &ask(&broker, CALLS[0], &[("cookie", &cookie)]).await,
        401,
        "missing_token",
        CHALLENGE,
        "cookie",
    );
}

/// The members of an answer must be those of its schema, at every level.
fn is_as_documented(document: &Value, schema: &str, value: &Value) {
    let documented = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
    let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
    let mut expected = names(documented);
    expected.sort();
    assert_eq!(names(value.as_object().unwrap()), expected, "{schema}");
    for (name, property) in documented {
        let reference = property["$ref"].as_str().or(property["oneOf"][0]["$ref"].as_str());
        if let Some(reference) = reference.filter(|_| value[name].is_object()) {
            is_as_documented(document, reference.rsplit('/').next().unwrap(), &value[name]);
        }
    }
}

#[actix_web::test]
async fn users_see_only_themselves_and_documented_fields() {
    let document: Value = serde_json::from_str(include_str!("../../openapi/token-broker.json")).unwrap();
    let broker = TestBroker::start();
    let [alice, bob] = [sign_in(&broker, "alice").await, sign_in(&broker, "bob").await];
    let bobs = broker.call("/api/me", &bob).await.json();
    let mine = broker.call("/api/me", &alice).await.json();
    is_as_documented(&document, "Me", &mine);
    is_as_documented(&document, "Permissions", &broker.call("/api/permissions", &alice).await.json());
    assert_ne!(mine["user"]["id"], bobs["user"]["id"]);

    let foreign = bobs["user"]["id"].as_str().unwrap();
    for query in ["user_id", "id", "sub", "user", "username"].map(|name| format!("?{name}={foreign}")) {
        let seen = broker.call(&format!("/api/me{query}"), &alice).await.json();
        assert_eq!((&seen["user"], &seen["session"]), (&mine["user"], &mine["session"]), "{query}");
        let permissions = broker.call(&format!("/api/permissions{query}"), &alice).await.json();
        assert_eq!(permissions, broker.call("/api/permissions", &alice).await.json(), "{query}");
    }
    let missing = broker.call("/api/users/0", &alice).await.normalized();
    for path in ["/api/me/", "/api/users/", "/api/permissions/"].map(|path| format!("{path}{foreign}")) {
        let answer = broker.call(&path, &alice).await;
        assert_eq!((answer.status.as_u16(), answer.normalized()), (404, missing.clone()), "{path}");
    }
}

#[actix_web::test]
async fn no_request_changes_a_user() {
    let broker = TestBroker::start();
    let alice = sign_in(&broker, "alice").await;
    let before = broker.call("/api/me", &alice).await.json();
    let wish = json!({ "id": before["user"]["id"], "subject": "root", "roles": ["admin"], "status": "owner",
        "scope": "admin", "permissions": ["everything"], "groups": ["root"], "email": "root@example.com" });
    let authorization = format!("Bearer {alice}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    for path in ["/api/me", "/api/permissions"] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let url = broker.at(path);
            let body = Some(wish.to_string());
            let answer = broker.browser().send(method.parse().unwrap(), &url, &headers, body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("allow")),
                (405, Some("GET")),
                "{method} {path}"
            );
        }
    }
    assert_eq!(broker.post("/api/logout", &alice, &wish).await.status, 400);
    assert_eq!(
        broker.post("/api/token/rotate", &alice, &wish).await.json()["scope"],
        before["token"]["scope"]
    );

    let wishes = [("scope", "admin"), ("sub", "root"), ("user_id", "1"), ("roles", "admin")];
    let login = broker.complete(&broker.browser(), broker.login(&wishes), "&user=alice").await;
    let mut body = wish.clone();
    body["one_time_key"] = json!(login.key());
    body["code_verifier"] = json!(login.verifier);
    let answer = broker.browser().post_json(&broker.at("/api/get_token"), &body, &[]).await.json();
    let token = answer["access_token"].as_str().unwrap();
    let after = broker.call("/api/me", token).await.json();
    assert_eq!((&after["user"], &after["token"]["scope"]), (&before["user"], &before["token"]["scope"]));
    let permissions = broker.call("/api/permissions", token).await.json();
    assert_eq!(permissions["groups"], json!(["staff", "admins"]), "as the provider said");
}

#[actix_web::test]
async fn a_token_without_the_scope_is_refused_and_the_scope_named() {
    for (scopes, me, permissions) in [
        ("profile permissions", 200, 200),
        ("profile", 200, 403),
        ("permissions", 403, 200),
        ("", 403, 403),
        ("profiles my-permissions", 403, 403),
        ("PROFILE Permissions", 403, 403),
        ("deploy permissions profile", 200, 200),
    ] {
        let broker = TestBroker::with(
            Setup::default().adjust(move |config| config.clients[0].scopes = scopes.parse().unwrap()),
        );
        let token = sign_in(&broker, "alice").await;
        for (path, scope, status) in
            [("/api/me", "profile", me), ("/api/permissions", "permissions", permissions)]
        {
            let answer = broker.call(path, &token).await;
            assert_eq!(answer.status, status, "{scopes:?} {path}: {answer:?}");
            if status == 403 {
                let challenge = format!(r#"{CHALLENGE}, error="insufficient_scope", scope="{scope}""#);
                is_refused(&answer, 403, "insufficient_scope", &challenge, scopes);
            }
        }
        assert_eq!(broker.post("/api/token/rotate", &token, &json!({})).await.status, 200, "{scopes}");
        assert_eq!(broker.post("/api/logout", &token, &json!({})).await.status, 200, "needs no scope");
    }
}

#[actix_web::test]
async fn failed_tokens_are_limited_per_address_and_good_ones_are_not() {
    let broker = TestBroker::with(
        Setup::default().adjust(|config| config.limits.failed_tokens = NonZeroU32::new(5).unwrap()),
    );
    let token = sign_in(&broker, "alice").await;
    for _ in 0..5 {
        assert_eq!(broker.call("/api/me", "guess").await.status, 401);
    }
    let limited = broker.call("/api/me", "guess").await;
    assert_eq!((limited.status.as_u16(), limited.error_code().as_deref()), (429, Some("rate_limited")));
    let seconds: i64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
    broker.clock.advance(TimeDelta::seconds(seconds));
    assert_eq!(broker.call("/api/me", "guess").await.status, 401);
}

/// An API that passes the tokens of its users on has one address for all of them: their tokens expire and are revoked,
/// and it must learn that from each of them.
#[actix_web::test]
async fn a_token_that_was_issued_here_never_counts_as_a_guess() {
    let broker = TestBroker::with(
        Setup::default().adjust(|config| config.limits.failed_tokens = NonZeroU32::new(2).unwrap()),
    );
    let ended = sign_in(&broker, "alice").await;
    assert_eq!(broker.post("/api/logout", &ended, &json!({})).await.status, 200);
    for _ in 0..5 {
        assert_eq!(broker.call("/api/me", &ended).await.status, 401);
    }
    // Not even after a flood of made-up ones from the same address.
    for _ in 0..5 {
        broker.call("/api/me", "guess").await;
    }
    assert_eq!(broker.call("/api/me", "guess").await.status, 429);
    assert_eq!(broker.call("/api/me", &ended).await.status, 401);
}
