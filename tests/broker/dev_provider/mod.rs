//! The development provider, driven by a script over HTTP: what it must refuse, so that the tests of the broker against
//! it are meaningful.

mod faults;
mod pages;
mod script;

use actix_web::http::header::WWW_AUTHENTICATE;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use token_broker::provider::dev::{ClientAuthSeen, DevClient, FaultSwitch, TRAP};

use self::script::{CALLBACK, CLIENT, Kind, SECRET, Script};

async fn json_of(request: RequestBuilder) -> Value {
    request.send().await.unwrap().json().await.unwrap()
}

/// Status and `error` of a refused request.
async fn error_of(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["error"].as_str().unwrap().to_owned())
}

fn claims_of(id_token: &str) -> Value {
    let claims = id_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn a_script_signs_in_with_openid_connect() {
    let script = Script::new();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let choice = format!("user=bob&id_token_signed_response_alg={algorithm}");
        let callback = script.callback(Kind::Oidc, &choice).await;
        assert_eq!(callback.get("kept"), Some("1"));
        assert_eq!(callback.get("state"), Some("the-state"));
        assert_eq!(callback.get("iss"), Some(script.provider.url()));

        let tokens = json_of(script.exchange(Kind::Oidc, callback.code())).await;
        assert_eq!(tokens["token_type"], "Bearer");
        let id_token = tokens["id_token"].as_str().unwrap();
        assert_eq!(jsonwebtoken::decode_header(id_token).unwrap().alg, algorithm.parse().unwrap());
        assert!(script.is_signed_by_the_provider(id_token).await, "{algorithm}");
        let claims = claims_of(id_token);
        assert_eq!(claims["iss"], script.provider.issuer());
        assert_eq!(claims["aud"], CLIENT);
        assert_eq!(claims["nonce"], "the-nonce");
        assert_eq!(claims["iat"], 1_790_000_000);
        assert_eq!(claims["auth_time"], 1_790_000_000);
        assert_eq!(claims["acr"], "urn:dev:password");
        assert!(claims["sid"].is_string() && claims["at_hash"].is_string());
        assert_eq!(script.provider.log().last_id_token, Some(claims.clone()));

        let access_token = tokens["access_token"].as_str().unwrap();
        let profile = json_of(script.get("/userinfo").bearer_auth(access_token)).await;
        assert_eq!(profile["sub"], claims["sub"]);
        assert_eq!(profile["name"], "Bob 鲍勃");
        assert_eq!(profile["email_verified"], true);
        assert_eq!(profile["permissions"], json!(["report.read"]));
    }
    assert_eq!(script.provider.log().count("/token"), 3);
    assert_eq!(script.provider.log().trapped, []);
}

#[tokio::test]
async fn a_script_signs_in_with_plain_oauth2() {
    let script = Script::new();
    let callback = script.callback(Kind::Plain, "user=alice").await;
    assert_eq!(callback.get("iss"), None);
    let tokens = json_of(script.exchange(Kind::Plain, callback.code())).await;
    assert_eq!(tokens.get("id_token"), None);
    let token = tokens["access_token"].as_str().unwrap();
    let [person, permissions] = [0, 1].map(|n| script.get(Kind::Plain.profile_paths()[n]).bearer_auth(token));
    let expected = json!({"name": "alice", "email": "alice@example.com", "name_cn": "Alice Example"});
    assert_eq!(json_of(person).await, expected);
    let expected = json!({"permissions": ["report.read", "report.write", "user.manage"]});
    assert_eq!(json_of(permissions).await, expected);
    // Its token is not accepted by the OpenID provider, and requests without a token are refused.
    for request in [script.get("/userinfo").bearer_auth(token), script.get(Kind::Plain.profile_paths()[0])] {
        let refused = request.send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert!(refused.headers().contains_key(WWW_AUTHENTICATE.as_str()));
    }
}

#[tokio::test]
async fn the_discovery_document_names_existing_endpoints() {
    let script = Script::new();
    let document = json_of(script.get("/.well-known/openid-configuration")).await;
    assert_eq!(document["issuer"], script.provider.issuer());
    for required in
        ["response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"]
    {
        assert!(!document[required].as_array().unwrap().is_empty(), "{required}");
    }
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
    for name in ["authorization", "token", "userinfo", "end_session"] {
        let address = document[format!("{name}_endpoint")].as_str().unwrap();
        let path = address.strip_prefix(script.provider.url()).unwrap();
        assert_ne!(script.get(path).send().await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
    }
    let keys = json_of(script.get("/jwks")).await;
    let algorithms: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| &key["alg"]).collect();
    assert_eq!(json!(algorithms), document["id_token_signing_alg_values_supported"]);
    assert!(!keys.to_string().contains("\"d\""), "a private key is published");
}

#[tokio::test]
async fn pkce_is_enforced() {
    let script = Script::new();
    let wrong = "w".repeat(43);
    for kind in [Kind::Oidc, Kind::Plain] {
        for (verifier, verified) in [(None, false), (Some(wrong.clone()), false)] {
            let code = script.callback(kind, "user=alice").await.code().to_owned();
            let mut form = script.token_form(&code);
            form.remove("code_verifier");
            form.extend(verifier.map(|verifier| ("code_verifier", verifier)));
            let request = script.post(kind.token_path()).basic_auth(CLIENT, Some(encoded_secret()));
            assert_eq!(error_of(request.form(&form)).await, (400, "invalid_grant".into()));
            let seen = script.provider.log().last_token_request.unwrap();
            assert_eq!(seen.verifier_matched, Some(verified));
            // The wrong proof has used up the code.
            assert_eq!(error_of(script.exchange(kind, &code)).await.1, "invalid_grant");
        }
    }
    let without = |kind| {
        let url = script.authorize_url(kind).to_string();
        let url = url.split("&code_challenge=").next().unwrap().to_owned();
        script.get(&format!("{}&user=alice", url.strip_prefix(script.provider.url()).unwrap()))
    };
    let refused = script::Callback::of(&without(Kind::Oidc).send().await.unwrap());
    assert_eq!((refused.get("error"), refused.get("code")), (Some("invalid_request"), None));
    let plain = script::Callback::of(&without(Kind::Plain).send().await.unwrap());
    assert_eq!(script.exchange(Kind::Plain, plain.code()).send().await.unwrap().status(), 200);
    assert_eq!(script.provider.log().last_token_request.unwrap().verifier_matched, None);
}

/// As RFC 6749 section 2.3.1 sends it in the header.
fn encoded_secret() -> String {
    url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect()
}

#[tokio::test]
async fn clients_authenticate_in_the_header_or_in_the_body() {
    let script = Script::new();
    let code = script.callback(Kind::Oidc, "user=alice").await.code().to_owned();
    let form = script.token_form(&code);
    let mut both = form.clone();
    both.extend([("client_id", CLIENT.to_owned()), ("client_secret", SECRET.to_owned())]);
    let mut wrong = both.clone();
    wrong.insert("client_secret", "wrong".into());
    let post = || script.post("/token");
    let refused = [
        (post().form(&form), "invalid_client", ClientAuthSeen::None),
        (post().form(&wrong), "invalid_client", ClientAuthSeen::Post),
        (post().basic_auth(CLIENT, Some("wrong")).form(&form), "invalid_client", ClientAuthSeen::Basic),
        (
            post().basic_auth("other", Some(encoded_secret())).form(&form),
            "invalid_client",
            ClientAuthSeen::Basic,
        ),
        (
            post().basic_auth(CLIENT, Some(encoded_secret())).form(&both),
            "invalid_request",
            ClientAuthSeen::Both,
        ),
        (post().json(&both), "invalid_request", ClientAuthSeen::None),
    ];
    for (request, error, seen) in refused {
        let (status, got) = error_of(request).await;
        assert_eq!((status, got.as_str()), (if error == "invalid_client" { 401 } else { 400 }, error));
        assert_eq!(script.provider.log().last_token_request.unwrap().client_auth, seen);
    }
    // None of these requests has used up the code.
    let granted = post().basic_auth(CLIENT, Some(encoded_secret())).form(&form).send().await.unwrap();
    assert_eq!(granted.status(), 200);
    let seen = script.provider.log().last_token_request.unwrap();
    assert_eq!((seen.client_auth, seen.verifier_matched), (ClientAuthSeen::Basic, Some(true)));
    assert_eq!(seen.client_id.as_deref(), Some(CLIENT));
    assert!(!seen.had_query);
}

#[tokio::test]
async fn a_code_works_once_within_a_minute_for_its_client_and_address() {
    let script = Script::new();
    let code = async || script.callback(Kind::Oidc, "user=alice").await.code().to_owned();
    let used = code().await;
    assert_eq!(script.exchange(Kind::Oidc, &used).send().await.unwrap().status(), 200);
    assert_eq!(error_of(script.exchange(Kind::Oidc, &used)).await.1, "invalid_grant");

    let (last_second, expired) = (code().await, code().await);
    script.clock.advance(TimeDelta::seconds(59));
    assert_eq!(script.exchange(Kind::Oidc, &last_second).send().await.unwrap().status(), 200);
    script.clock.advance(TimeDelta::seconds(1));
    assert_eq!(error_of(script.exchange(Kind::Oidc, &expired)).await.1, "invalid_grant");

    let of_other_kind = code().await;
    assert_eq!(error_of(script.exchange(Kind::Plain, &of_other_kind)).await.1, "invalid_grant");

    let client_id = "second".to_owned();
    let redirect_uris = vec![CALLBACK.to_owned()];
    script.provider.register(DevClient { client_id, client_secret: "two".into(), redirect_uris });
    let stolen = script.token_form(&code().await);
    let request = script.post("/token").basic_auth("second", Some("two")).form(&stolen);
    assert_eq!(error_of(request).await.1, "invalid_grant");

    let mut elsewhere = script.token_form(&code().await);
    elsewhere.insert("redirect_uri", "http://localhost:8080/other".into());
    let request = script.post("/token").basic_auth(CLIENT, Some(encoded_secret())).form(&elsewhere);
    assert_eq!(error_of(request).await.1, "invalid_grant");
}

#[tokio::test]
async fn unregistered_addresses_get_no_redirect() {
    let script = Script::new();
    let good = script.authorize_url(Kind::Oidc).to_string();
    let good = good.strip_prefix(script.provider.url()).unwrap();
    let bad = [
        good.replace("client_id=broker", "client_id=unknown"),
        good.replace("oauth2_callback", "oauth2_callback/../evil"),
        good.replace("localhost%3A8080", "localhost%3A9"),
        format!("{good}&state=twice"),
        format!("{good}&fault=no_such_fault"),
        format!("{good}&user=mallory"),
        format!("{good}&user=alice&deny=1"),
    ];
    for path in bad {
        let answer = script.get(&path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
        assert!(!answer.headers().contains_key("location"));
    }
}

#[tokio::test]
async fn prompts_and_max_age_are_honoured() {
    let script = Script::new();
    let error = |callback: &script::Callback| callback.get("error").map(str::to_owned);
    let silent = script.callback(Kind::Oidc, "prompt=none").await;
    assert_eq!(error(&silent).as_deref(), Some("login_required"));
    assert_eq!(error(&script.callback(Kind::Oidc, "deny=1").await).as_deref(), Some("access_denied"));
    let odd = script.callback(Kind::Oidc, "prompt=none%20login").await;
    assert_eq!(error(&odd).as_deref(), Some("invalid_request"));

    let first = script.choose(Kind::Oidc, "user=alice").send().await.unwrap();
    let cookie = first.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let again = async |choice: &str| {
        let request = script.choose(Kind::Oidc, choice).header("cookie", &cookie);
        let callback = script::Callback::of(&request.send().await.unwrap());
        let Some(code) = callback.get("code") else { return Value::from(error(&callback)) };
        let tokens = json_of(script.exchange(Kind::Oidc, code)).await;
        claims_of(tokens["id_token"].as_str().unwrap())["auth_time"].clone()
    };
    script.clock.advance(TimeDelta::seconds(100));
    assert_eq!(again("prompt=none").await, 1_790_000_000);
    assert_eq!(again("prompt=none&max_age=100").await, 1_790_000_000);
    assert_eq!(again("prompt=none&max_age=99").await, "login_required");
    assert_eq!(again("user=alice").await, 1_790_000_000);
    assert_eq!(again("user=alice&max_age=99").await, 1_790_000_100);
    assert_eq!(again("user=alice&prompt=login").await, 1_790_000_100);
    assert_eq!(again("user=bob").await, 1_790_000_100);

    let logout = script.get("/end-session").header("cookie", &cookie).send().await.unwrap();
    assert_eq!(logout.status(), 200);
    assert_eq!(again("prompt=none").await, "login_required");
}

#[tokio::test]
async fn logout_leads_back_to_the_client_only() {
    let script = Script::new();
    let back = "http%3A%2F%2Flocalhost%3A8080%2Flogout%2Fcallback";
    let logout = async |query: &str| script.get(&format!("/end-session?{query}")).send().await.unwrap();
    let good = logout(&format!("client_id={CLIENT}&post_logout_redirect_uri={back}&state=s")).await;
    assert_eq!(good.headers()["location"], "http://localhost:8080/logout/callback?state=s");
    let elsewhere = back.replace("8080", "9090");
    for bad in [
        format!("post_logout_redirect_uri={back}"),
        format!("client_id=unknown&post_logout_redirect_uri={back}"),
        format!("client_id={CLIENT}&post_logout_redirect_uri={elsewhere}"),
        format!("client_id={CLIENT}&post_logout_redirect_uri=data:,x"),
        "id_token_hint=garbage".to_owned(),
    ] {
        assert_eq!(logout(&bad).await.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn an_outage_ends_with_the_same_port_keys_and_codes() {
    let script = Script::new();
    let code = script.callback(Kind::Oidc, "user=alice").await.code().to_owned();
    let (address, keys) = (script.provider.address(), json_of(script.get("/jwks")).await);
    let script = script.after_an_outage().await;
    assert_eq!(script.provider.address(), address);
    assert_eq!(json_of(script.get("/jwks")).await, keys);
    assert_eq!(script.exchange(Kind::Oidc, &code).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_outage_cuts_off_requests_in_flight() {
    let script = Script::new();
    script.provider.faults().set(FaultSwitch::JwksSlow, true);
    let in_flight = tokio::spawn(script.get("/jwks").send());
    while script.provider.log().count("/jwks") == 0 {
        tokio::task::yield_now().await;
    }
    let limit = std::time::Duration::from_secs(10);
    tokio::time::timeout(limit, script.provider.stop()).await.expect("stops without waiting for it");
    let cut_off = tokio::time::timeout(limit, in_flight).await.expect("ends with the server").unwrap();
    assert!(!cut_off.unwrap_err().is_timeout());
}

#[tokio::test]
async fn with_open_registration_any_client_can_use_a_loopback_address() {
    let script = Script::with_open_registration();
    let form = script.authorize_url(Kind::Oidc).to_string().replace("client_id=broker", "client_id=mine");
    let path = |address: &str| {
        let path = form.strip_prefix(script.provider.url()).unwrap();
        format!("{}&user=alice", path.replace("localhost%3A8080", address))
    };
    let callback = script::Callback::of(&script.get(&path("localhost%3A8080")).send().await.unwrap());
    let form = script.token_form(callback.code());
    let request = script.post("/token").basic_auth("mine", Some("any")).form(&form);
    assert_eq!(request.send().await.unwrap().status(), 200);
    for elsewhere in ["attacker.example", "localhost.attacker.example", "192.0.2.1"] {
        assert_eq!(script.get(&path(elsewhere)).send().await.unwrap().status(), 400, "{elsewhere}");
    }
    // A registered client keeps its secret.
    let request = script.post("/token").basic_auth(CLIENT, Some("any")).form(&form);
    assert_eq!(error_of(request).await.1, "invalid_client");
}

#[tokio::test]
async fn signs_tokens_for_tests_and_records_requests_to_the_trap() {
    let script = Script::new();
    let token = script.provider.sign("logout+jwt", &json!({"jti": "1"})).unwrap();
    assert!(script.is_signed_by_the_provider(&token).await);
    assert_eq!(jsonwebtoken::decode_header(&token).unwrap().typ.as_deref(), Some("logout+jwt"));
    script.post(TRAP).bearer_auth("x").body("1234").send().await.unwrap();
    let trapped = script.provider.log().trapped;
    assert_eq!(
        (trapped[0].method.as_str(), trapped[0].had_authorization, trapped[0].body_bytes),
        ("POST", true, 4)
    );
    script.provider.faults().set(FaultSwitch::JwksRotate, true);
    assert!(!script.is_signed_by_the_provider(&token).await);
}
