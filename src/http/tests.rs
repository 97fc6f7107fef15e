//! The applications as a whole: what every answer has, whatever goes wrong. What the flow does is tested
//! elsewhere; nothing here gets as far.

use std::sync::Arc;

use actix_web::body::{MessageBody, to_bytes};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::{Error, HttpResponse, get, web};
use serde_json::Value;

use super::middleware::host::OwnNames;
use super::*;
use crate::domain::client::{Client, KeyDelivery, KeyParameter};
use crate::domain::clock::SystemClock;
use crate::domain::entropy::SystemEntropy;
use crate::state::ClientRegistry;

const SPA: &str = "https://app.example.com";

fn client() -> Client {
    Client {
        id: "web".parse().unwrap(),
        display_name: "Web".into(),
        redirect_uris: vec!["https://app.example.com/signed-in".parse().unwrap()],
        origins: vec![SPA.parse().unwrap()],
        key_delivery: KeyDelivery::Query,
        key_parameter: KeyParameter::OneTimeKey,
        legacy: false,
        enabled: true,
        scope: "profile".into(),
        login_parameters: vec![],
    }
}

fn broker(development: bool) -> web::Data<Broker> {
    web::Data::new(Broker {
        public_url: "https://auth.example.com/".parse().unwrap(),
        development,
        secure_cookies: true,
        clients: ClientRegistry::new(vec![client()]),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    })
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    async fn of(response: HttpResponse<impl MessageBody>) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.ok().unwrap();
        Self { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

async fn ask<T>(app: App<T>, request: TestRequest) -> Answer
where
    T: ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = Error, InitError = ()>,
    T: 'static,
    T::Future: 'static,
{
    let app = init_service(app).await;
    match try_call_service(&app, request.to_request()).await {
        Ok(response) => Answer::of(response.into_parts().1).await,
        Err(error) => Answer::of(error.error_response()).await,
    }
}

async fn public(request: TestRequest) -> Answer {
    ask(public_app(broker(false), web::Data::default()), request).await
}

fn request(method: Method, uri: &str) -> TestRequest {
    TestRequest::with_uri(uri).method(method).insert_header(("host", "auth.example.com"))
}

fn get_from(uri: &str) -> TestRequest {
    request(Method::GET, uri)
}

fn post_json(uri: &str, body: &'static str) -> TestRequest {
    request(Method::POST, uri).insert_header(("content-type", "application/json")).set_payload(body)
}

/// Requests whose answers are of every kind: success, page, redirectless error, framework error.
fn requests_of_every_kind() -> Vec<(TestRequest, u16)> {
    vec![
        (get_from("/"), 200),
        (get_from("/healthz"), 200),
        (get_from("/nothing"), 404),
        (get_from("/api/nothing"), 404),
        (get_from("/api/me"), 401),
        (get_from("/login?client_id=a&client_id=a"), 400),
        (get_from("/oauth2_callback/corp?state=%FF"), 400),
        (request(Method::DELETE, "/login"), 405),
        (post_json("/api/get_token", "{"), 400),
        (request(Method::POST, "/api/get_token").set_payload("x"), 415),
        (get_from("/healthz").insert_header(("host", "evil.example")), 421),
        (request(Method::POST, "/api/logout").insert_header(("origin", "https://evil.example")), 403),
        (get_from(&format!("/login?{}", "a".repeat(9000))), 414),
    ]
}

#[actix_web::test]
async fn hd_05_hd_06_every_answer_has_the_security_headers() {
    for (request, status) in requests_of_every_kind() {
        let answer = public(request).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000; includeSubDomains");
        assert!(answer.header("permissions-policy").contains("camera=()"));
        let policy = answer.header("content-security-policy");
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("server"), "");
    }
}

#[actix_web::test]
async fn hd_06_plain_http_has_no_transport_security_header() {
    let broker = web::Data::new(Broker {
        public_url: "http://localhost:8080/".parse().unwrap(),
        ..Arc::into_inner(broker(true).into_inner()).unwrap()
    });
    let answer = ask(
        public_app(broker, web::Data::default()),
        get_from("/healthz").insert_header(("host", "localhost")),
    );
    assert_eq!(answer.await.header("strict-transport-security"), "");
}

#[actix_web::test]
async fn er_01_every_error_has_the_form_of_its_address() {
    let oauth = public(post_json("/api/get_token/", "{")).await;
    assert_eq!(oauth.header("content-type"), "application/json");
    assert_eq!(oauth.json()["error"], "invalid_request");
    assert_eq!(oauth.json().as_object().unwrap().len(), 3);

    let problem = public(get_from("/api/me")).await;
    assert_eq!(problem.header("content-type"), "application/problem+json");
    let members: Vec<_> = problem.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["code", "detail", "request_id", "status", "title", "type"]);
    assert_eq!((&problem.json()["status"], &problem.json()["title"]), (&401.into(), &"Unauthorized".into()));

    for uri in ["/login?state=%FF", "/oauth2_callback?code=a&code=b", "/oauth2_callback/corp/?iss=%"] {
        let page = public(get_from(uri).insert_header(("accept", "application/json"))).await;
        assert_eq!((page.status, page.header("content-type")), (400, "text/html; charset=utf-8"), "{uri}");
        assert!(page.body.contains("Start again") && page.body.contains("href=\"https://app.example.com/\""));
        assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
    }
}

#[get("/panics")]
async fn panics() -> HttpResponse {
    panic!("a secret in a panic")
}

#[get("/fails")]
async fn fails() -> Result<HttpResponse, Error> {
    Err(actix_web::error::ErrorInternalServerError("SELECT secret FROM tokens"))
}

#[get("/number/{number}")]
async fn number(number: web::Path<u8>) -> String {
    number.to_string()
}

async fn faulty(uri: &str) -> Answer {
    let names = OwnNames::admin(&["auth.example.com".into()]);
    let app = app(broker(false), web::Data::default(), names, docs::Visible(false), |config| {
        config.map(|config| config.service(panics).service(fails).service(number));
    });
    ask(app, get_from(uri).insert_header(("x-request-id", "r-1"))).await
}

#[actix_web::test]
async fn er_01_er_02_panics_and_framework_errors_are_answered_with_fixed_texts() {
    for (uri, status, code) in
        [("/panics", 500, "server_error"), ("/fails", 500, "server_error"), ("/number/x", 404, "not_found")]
    {
        let answer = faulty(uri).await;
        assert_eq!((answer.status, answer.json()["code"].as_str().unwrap()), (status, code), "{uri}");
        assert_eq!(answer.json()["request_id"], "r-1");
        assert_eq!(answer.header("x-request-id"), "r-1");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(!answer.body.contains("secret"), "{}", answer.body);
    }
}

#[actix_web::test]
async fn er_02_the_request_id_is_the_same_in_header_and_body() {
    for uri in ["/api/me", "/nothing"] {
        let answer = public(get_from(uri)).await;
        assert_eq!(answer.header("x-request-id"), answer.json()["request_id"].as_str().unwrap());
        assert_eq!(answer.header("x-request-id").len(), 32);
    }
    let page = public(get_from("/login?state=%").insert_header(("x-request-id", "<b>"))).await;
    assert!(page.body.contains(page.header("x-request-id")) && !page.body.contains("<b>"));
}

#[actix_web::test]
async fn hd_11_unlisted_methods_get_405_with_allow() {
    for (method, uri, allow) in [
        (Method::POST, "/login", "GET"),
        (Method::HEAD, "/login", "GET"),
        (Method::POST, "/oauth2_callback/corp/", "GET"),
        (Method::PUT, "/api/me", "GET"),
        (Method::GET, "/api/logout", "POST"),
        (Method::GET, "/api/token/rotate/", "POST"),
        (Method::DELETE, "/", "GET"),
        (Method::TRACE, "/healthz", "GET"),
        (Method::OPTIONS, "/login", "GET"),
    ] {
        let answer = public(request(method.clone(), uri)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow), "{method} {uri}");
    }
}

#[actix_web::test]
async fn hd_11_method_overrides_have_no_effect() {
    let overridden = get_from("/api/logout?_method=POST").insert_header(("x-http-method-override", "POST"));
    assert_eq!(public(overridden).await.status, 405);
}

#[actix_web::test]
async fn ok_08_get_redeems_for_legacy_clients_only() {
    let answer = public(get_from("/api/get_token/?one_time_key=tbo_x")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    assert_eq!(answer.json()["error"], "method_not_allowed");

    let mut state = Arc::into_inner(broker(false).into_inner()).unwrap();
    state.clients = ClientRegistry::new(vec![Client { legacy: true, ..client() }]);
    let app = public_app(web::Data::new(state), web::Data::default());
    let answer = ask(app, get_from("/api/get_token")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"token":null}"#));
}

#[actix_web::test]
async fn ok_08_a_key_in_the_address_is_refused() {
    for query in ["one_time_key=tbo_x", "one%5Ftime_key", "code_verifier=a"] {
        let answer =
            public(post_json(&format!("/api/get_token?{query}"), r#"{"one_time_key":"tbo_x"}"#)).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &"invalid_request".into()), "{query}");
    }
}

#[actix_web::test]
async fn ok_08_a_body_without_a_key_or_with_two_is_refused() {
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
async fn br_02_br_04_challenges_follow_rfc_6750() {
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
async fn br_03_a_refused_token_gets_its_code_in_body_and_challenge() {
    let mut response =
        HttpResponse::from_error(crate::error::Error::new(crate::error::ErrorCode::InvalidToken));
    let failure = error_response::Failure::of(&response).unwrap();
    response = error_response::render(response, &failure, error_response::Shape::Problem, "r", "/");
    let answer = Answer::of(response).await;
    assert_eq!(answer.json()["code"], "invalid_token");
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="token-broker", error="invalid_token""#);
}

#[actix_web::test]
async fn hd_01_hd_02_cors_is_for_registered_origins_on_spa_endpoints_only() {
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
async fn hd_04_a_preflight_needs_no_credentials_and_is_kept_ten_minutes() {
    let preflight = |origin: &'static str| {
        request(Method::OPTIONS, "/api/logout")
            .insert_header(("origin", origin))
            .insert_header(("access-control-request-method", "POST"))
            .insert_header(("access-control-request-headers", "authorization,content-type"))
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
async fn hd_04_a_readable_401_exposes_what_a_spa_needs() {
    let answer = public(get_from("/api/me").insert_header(("origin", SPA))).await;
    let exposed = answer.header("access-control-expose-headers");
    for name in ["www-authenticate", "retry-after", "x-request-id"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

#[actix_web::test]
async fn hd_03_a_state_changing_call_from_a_foreign_origin_is_stopped() {
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
async fn ad_09_a_foreign_host_is_misdirected() {
    let answer = public(get_from("/api/me").insert_header(("host", "evil.example"))).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (421, Some("misdirected_request")));
}

#[actix_web::test]
async fn er_08_a_production_broker_shows_its_docs_only_where_allowed() {
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
async fn ad_10_the_development_page_is_not_served_in_production() {
    assert_eq!(public(get_from("/try.js")).await.status, 404);
    assert!(!public(get_from("/")).await.body.contains("script"));
    let development = ask(public_app(broker(true), web::Data::default()), get_from("/")).await;
    assert!(development.body.contains("/try.js"));
    assert!(development.header("content-security-policy").contains("script-src 'self'"));
}

#[actix_web::test]
async fn hd_07_pages_hold_no_inline_script_and_no_foreign_address() {
    for uri in ["/", "/docs", "/login?state=%"] {
        let page = ask(public_app(broker(true), web::Data::default()), get_from(uri)).await;
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(!page.body.contains("<script>") && !page.body.contains("src=\"http"), "{}", page.body);
        assert!(!page.body.contains(" style=") && !page.body.contains(" onclick="), "{}", page.body);
        assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
    }
}

#[actix_web::test]
async fn the_style_sheet_is_the_one_that_the_policy_names() {
    use base64::Engine;
    let page = public(get_from("/")).await;
    let style = page.body.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(digest);
    assert!(page.header("content-security-policy").contains(&format!("'sha256-{hash}'")));
}
