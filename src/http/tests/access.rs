//! Who gets in: hosts, origins, methods, credentials, and which routes there are.

use super::*;

#[actix_web::test]
async fn unlisted_methods_get_405_with_allow() {
    for (method, uri, allow) in [
        (Method::POST, "/login", "GET"),
        (Method::HEAD, "/login", "GET"),
        (Method::POST, "/oauth2_callback/corp/", "GET"),
        (Method::PUT, "/api/me", "GET"),
        (Method::GET, "/api/logout", "POST"),
        (Method::GET, "/api/token/rotate/", "POST"),
        (Method::DELETE, "/", "GET, HEAD"),
        (Method::TRACE, "/healthz", "GET, HEAD"),
        (Method::OPTIONS, "/login", "GET"),
    ] {
        let answer = public(request(method.clone(), uri)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow), "{method} {uri}");
    }
}

#[actix_web::test]
async fn method_overrides_have_no_effect() {
    let overridden = get_from("/api/logout?_method=POST").insert_header(("x-http-method-override", "POST"));
    assert_eq!(public(overridden).await.status, 405);
}

#[actix_web::test]
async fn get_redeems_for_legacy_clients_only() {
    let answer = public(get_from("/api/get_token/?one_time_key=tbo_x")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    assert_eq!(answer.json()["error"], "method_not_allowed");
    assert_eq!(public(request(Method::PUT, "/api/get_token")).await.header("allow"), "POST");

    let mut state = Arc::into_inner(broker(false).into_inner()).unwrap();
    state.clients = ClientRegistry::new(vec![Client { legacy: true, ..client() }]);
    let app = public_app(web::Data::new(state), web::Data::default());
    let answer = ask(app, get_from("/api/get_token")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"token":null}"#));
}

#[actix_web::test]
async fn a_key_in_the_address_is_refused() {
    for query in ["one_time_key=tbo_x", "one%5Ftime_key", "code_verifier=a"] {
        let answer =
            public(post_json(&format!("/api/get_token?{query}"), r#"{"one_time_key":"tbo_x"}"#)).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &"invalid_request".into()), "{query}");
    }
}

#[actix_web::test]
async fn a_body_without_a_key_or_with_two_is_refused() {
    for body in ["{}", r#"{"one_time_key":""}"#, r#"{"one_time_key":"a","one_time_key":"a"}"#, "[]"] {
        assert_eq!(public(post_json("/api/get_token", body)).await.status, 400, "{body}");
    }
    for body in ["", "one_time_key=", "one_time_key=a&one_time_key=a", "one_time_key=%"] {
        let form = request(Method::POST, "/api/get_token")
            .insert_header(("content-type", "application/x-www-form-urlencoded"))
            .set_payload(body);
        assert_eq!(public(form).await.status, 400, "{body}");
    }
}

#[actix_web::test]
async fn challenges_follow_rfc_6750() {
    let with = |header: &'static str| get_from("/api/me").insert_header(("authorization", header));
    let plain = r#"Bearer realm="token-broker""#;
    for (request, status, challenge) in [
        (get_from("/api/me"), 401, plain.to_owned()),
        (with("Basic YTpi"), 401, plain.to_owned()),
        (with("Bearer a b"), 400, format!(r#"{plain}, error="invalid_request""#)),
    ] {
        let answer = public(request).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (status, challenge.as_str()));
    }
}

#[actix_web::test]
async fn cors_is_for_registered_origins_on_spa_endpoints_only() {
    for (uri, origin, allowed) in [
        ("/api/me", SPA, SPA),
        ("/api/nothing", SPA, SPA),
        ("/api/get_token", SPA, SPA),
        ("/api/me", "https://evil.example", ""),
        ("/api/me", "https://app.example.com.evil.example", ""),
        ("/api/me", "http://app.example.com", ""),
        ("/api/me", "null", ""),
        ("/login", SPA, ""),
        ("/oauth2_callback", SPA, ""),
        ("/readyz", SPA, ""),
        ("/", SPA, ""),
    ] {
        let answer = public(get_from(uri).insert_header(("origin", origin))).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{uri} {origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        assert_eq!(answer.header("vary").contains("Origin"), uri.starts_with("/api/"), "{uri}");
    }
}

#[actix_web::test]
async fn a_preflight_needs_no_credentials_and_is_kept_ten_minutes() {
    let preflight = |origin: &'static str| {
        request(Method::OPTIONS, "/api/logout")
            .insert_header(("origin", origin))
            .insert_header(("access-control-request-method", "POST"))
            .insert_header(("access-control-request-headers", "authorization,content-type,dpop"))
    };
    let answer = public(preflight(SPA)).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, SPA));
    assert_eq!(answer.header("access-control-max-age"), "600");
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    assert!(answer.header("vary").contains("Origin"));

    let foreign = public(preflight("https://evil.example")).await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (400, ""));
    assert_eq!(foreign.json()["code"], "invalid_request");
}

#[actix_web::test]
async fn a_readable_401_exposes_what_a_spa_needs() {
    let answer = public(get_from("/api/me").insert_header(("origin", SPA))).await;
    let exposed = answer.header("access-control-expose-headers");
    for name in ["www-authenticate", "retry-after", "x-request-id", "dpop-nonce"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

#[actix_web::test]
async fn a_state_changing_call_from_a_foreign_origin_is_stopped() {
    for (origin, status) in
        [("https://evil.example", 403), ("null", 403), ("https://auth.example.com", 401), (SPA, 401)]
    {
        let call = request(Method::POST, "/api/logout").insert_header(("origin", origin));
        assert_eq!(public(call).await.status, status, "{origin}");
    }
    let two = request(Method::POST, "/api/logout")
        .append_header(("origin", SPA))
        .append_header(("origin", "https://evil.example"));
    assert_eq!(public(two).await.json()["code"], "origin_not_allowed");
}

#[actix_web::test]
async fn a_foreign_host_is_misdirected() {
    let answer = public(get_from("/api/me").insert_header(("host", "evil.example"))).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (421, Some("misdirected_request")));
}

#[actix_web::test]
async fn a_production_broker_shows_its_docs_only_where_allowed() {
    let uris = ["/openapi.json", "/docs", "/docs/", "/docs/swagger-ui.css", "/docs/initialiser.js"];
    let open = web::Data::new(HttpSettings { docs_public: true, ..HttpSettings::default() });
    let metrics =
        web::Data::new(metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle());
    for uri in uris {
        assert_eq!(public(get_from(uri)).await.status, 404, "{uri}");
        assert_eq!(ask(public_app(broker(false), open.clone()), get_from(uri)).await.status, 200, "{uri}");
        assert_eq!(ask(public_app(broker(true), web::Data::default()), get_from(uri)).await.status, 200);
        let admin = admin_app(broker(false), web::Data::default(), metrics.clone());
        assert_eq!(ask(admin, get_from(uri).insert_header(("host", "10.0.0.7"))).await.status, 200);
    }
    assert_eq!(public(get_from("/metrics")).await.status, 404);
    let admin = admin_app(broker(false), web::Data::default(), metrics);
    assert_eq!(ask(admin, get_from("/metrics").insert_header(("host", "10.0.0.7"))).await.status, 200);
}

#[actix_web::test]
async fn the_sample_is_served_only_where_it_is_switched_on() {
    for broker in [broker(false), broker(true)] {
        let off = |uri| ask(public_app(broker.clone(), web::Data::default()), get_from(uri));
        assert!(!off("/").await.body.contains("script"));
        for uri in ["/sample/app.js", "/sample/config.js", "/sample/client/token-broker.js"] {
            assert_eq!(off(uri).await.status, 404, "{uri}");
        }
    }
    let sample = Sample::new(&"web".parse().unwrap(), std::iter::once(("corp", "Corp")), false, None);
    let settings = web::Data::new(HttpSettings { sample: Some(sample), ..HttpSettings::default() });
    let on = |uri| ask(public_app(broker(false), settings.clone()), get_from(uri));
    assert!(on("/").await.body.contains("/sample/app.js"));
    assert_eq!(on("/sample/client/token-broker.js").await.status, 200);
}

#[actix_web::test]
async fn health_checkers_may_ask_with_head() {
    for uri in ["/healthz", "/readyz"] {
        assert_ne!(public(request(Method::HEAD, uri)).await.status, 405, "{uri}");
    }
}

/// The admin listener's `/healthz` is detailed: a page of another site must not read it under a name of its own that
/// resolves to 127.0.0.1.
#[actix_web::test]
async fn probes_answer_under_any_name_on_the_public_listener_only() {
    let metrics =
        web::Data::new(metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle());
    for (path, host, at_public, at_admin) in [
        ("/healthz", "rebound.evil.example", true, false),
        ("/readyz/", "rebound.evil.example", true, false),
        ("/healthz", "10.0.0.7:8080", true, true),
        ("/healthz", "localhost", true, true),
        ("/healthz/more", "rebound.evil.example", false, false),
    ] {
        let probe = || TestRequest::with_uri(path).insert_header(("host", host));
        let admin = admin_app(broker(false), web::Data::default(), metrics.clone());
        for (answer, expected) in [(public(probe()).await, at_public), (ask(admin, probe()).await, at_admin)]
        {
            assert_eq!(answer.status != 421, expected, "{path} at {host}: {}", answer.status);
        }
    }
}
