//! What every answer has: headers, the form of errors, pages, the log line.

use std::io::{Read, Write};

use actix_web::HttpServer;

use super::*;
use crate::http::error_response::Shape;
use crate::http::middleware::host::OwnNames;

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
        (get_from("/login").insert_header(("host", "evil.example")), 421),
        (request(Method::POST, "/api/logout").insert_header(("origin", "https://evil.example")), 403),
        (get_from(&format!("/login?{}", "a".repeat(9000))), 414),
    ]
}

#[actix_web::test]
async fn every_answer_has_the_security_headers() {
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
async fn plain_http_has_no_transport_security_header() {
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
async fn every_error_has_the_form_of_its_address() {
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

#[actix_web::test]
async fn a_browser_gets_a_page_for_an_address_that_does_not_exist_and_a_program_gets_json() {
    for (name, value) in
        [("accept", "text/html,application/xhtml+xml,*/*;q=0.8"), ("sec-fetch-mode", "navigate")]
    {
        for uri in ["/nothing", "/api/nothing"] {
            let page = public(get_from(uri).insert_header((name, value))).await;
            assert_eq!(
                (page.status, page.header("content-type")),
                (404, "text/html; charset=utf-8"),
                "{uri}"
            );
            assert!(
                page.body.contains("<h1>Page not found</h1>") && page.body.contains("<code>not_found</code>")
            );
            assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
            assert!(page.body.contains("href=\"https://app.example.com/\""), "{}", page.body);
        }
        let post = public(request(Method::POST, "/nothing").insert_header((name, value))).await;
        assert_eq!(post.header("content-type"), "application/problem+json");
    }
    let fetched = [("accept", "text/html"), ("sec-fetch-mode", "cors")];
    let fetched = fetched.into_iter().fold(get_from("/nothing"), TestRequest::insert_header);
    assert_eq!(public(fetched).await.json()["code"], "not_found");
    let script = public(get_from("/login?state=%FF").insert_header(("sec-fetch-mode", "same-origin"))).await;
    assert_eq!((script.status, script.json()["code"].as_str()), (400, Some("invalid_request")));
    let program = public(get_from("/nothing").insert_header(("accept", "*/*"))).await;
    assert_eq!(program.json()["code"], "not_found");
}

#[actix_web::test]
async fn a_mistake_of_the_application_is_explained_to_people_and_in_detail_to_its_developers() {
    let page = public(get_from("/login?state=%FF")).await;
    assert_eq!(page.status, 400);
    let (shown, details) = page.body.split_once("<details").unwrap();
    assert!(shown.contains("The application that sent you here made a mistake."), "{}", page.body);
    assert!(!shown.contains("parameter"), "{}", page.body);
    assert!(details.contains("The parameter &#39;") || details.contains("The parameter '"), "{}", page.body);
    let own = public(get_from("/oauth2_callback/corp?state=x&code=y")).await;
    assert!(own.body.contains("This sign-in has expired") && !own.body.contains("<details"), "{}", own.body);
}

#[utoipa::path]
#[get("/panics")]
async fn panics() -> HttpResponse {
    panic!("a secret in a panic")
}

#[utoipa::path]
#[get("/fails")]
async fn fails() -> Result<HttpResponse, Error> {
    Err(actix_web::error::ErrorInternalServerError("SELECT secret FROM tokens"))
}

#[utoipa::path]
#[get("/number/{number}")]
async fn number(number: web::Path<u8>) -> String {
    number.to_string()
}

fn faulty_app() -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = Error, InitError = ()>,
> {
    let names = OwnNames::admin(&["auth.example.com".into()]);
    app(broker(false), settings(), names, Listener::Public, |routes| {
        routes.route(Shape::Problem, panics).route(Shape::Problem, fails).route(Shape::Problem, number);
    })
}

async fn faulty(uri: &str) -> Answer {
    ask(faulty_app(), through_proxy(get_from(uri), "r-1")).await
}

#[actix_web::test]
async fn a_panic_does_not_leave_the_connection_without_an_answer() {
    let server = HttpServer::new(faulty_app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let answer = web::block(move || {
        let mut connection = std::net::TcpStream::connect(address).unwrap();
        let request = b"GET /panics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        connection.write_all(request).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).map(|_| answer).unwrap()
    })
    .await
    .unwrap();
    handle.stop(false).await;
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains(r#""code":"server_error""#), "{answer}");
}

#[actix_web::test]
async fn panics_and_framework_errors_are_answered_with_fixed_texts() {
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
async fn the_request_id_is_the_same_in_header_and_body() {
    for uri in ["/api/me", "/nothing"] {
        let answer = public(get_from(uri)).await;
        assert_eq!(answer.header("x-request-id"), answer.json()["request_id"].as_str().unwrap());
        assert_eq!(answer.header("x-request-id").len(), 32);
    }
    let page = public(through_proxy(get_from("/login?state=%"), "<b>")).await;
    assert!(page.body.contains(page.header("x-request-id")) && !page.body.contains("<b>"));
}

#[actix_web::test]
async fn a_refused_token_gets_its_code_in_body_and_challenge() {
    let mut response =
        HttpResponse::from_error(crate::error::Error::new(crate::error::ErrorCode::InvalidToken));
    let failure = error_response::Failure::of(&response).unwrap();
    response = error_response::render(response, &failure, Shape::Problem, "r", || {
        panic!("only pages ask for the way out")
    });
    let answer = Answer::of(response).await;
    assert_eq!(answer.json()["code"], "invalid_token");
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="token-broker", error="invalid_token""#);
}

#[actix_web::test]
async fn pages_hold_no_inline_script_and_no_foreign_address() {
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

#[actix_web::test]
async fn a_rate_limit_says_when_to_come_back() {
    let limited = crate::error::Error::new(crate::error::ErrorCode::RateLimited).retry_after(7);
    let response = HttpResponse::from_error(limited);
    assert_eq!(
        (response.status().as_u16(), response.headers().get("retry-after").unwrap().as_bytes()),
        (429, &b"7"[..])
    );
}

/// Everything that is logged on this thread while it lives.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[actix_web::test]
async fn the_access_log_holds_the_route_and_nothing_of_the_request() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone());
    // With one subscriber alive, tracing lets whichever thread meets a log line first decide for all threads
    // whether it is wanted; with two it asks both. Without this, tests running beside this one silence it.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    for request in [
        get_from("/oauth2_callback/secretpath?code=secretcode&code=secretcode")
            .insert_header(("cookie", "a=secretcookie")),
        get_from("/api/me").insert_header(("authorization", "Bearer secret token")),
        post_json("/api/get_token", r#"{"one_time_key":["secretkey"]}"#),
        get_from("/secret/address"),
        request(Method::from_bytes(b"SECRET").unwrap(), "/login"),
    ] {
        public(through_proxy(request, "r-1")).await;
    }
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.to_lowercase().contains("secret"), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // Beside the access log there are the audit trail's lines.
    let lines: Vec<Value> = lines.filter(|line| line["fields"]["route"].is_string()).collect();
    let routes: Vec<_> = lines.iter().map(|line| line["fields"]["route"].as_str().unwrap()).collect();
    assert_eq!(routes, ["/oauth2_callback/{provider}", "/api/me", "/api/get_token", "unmatched", "/login"]);
    for line in &lines {
        assert_eq!(
            (&line["span"]["request_id"], &line["span"]["address"]),
            (&"r-1".into(), &"192.0.2.1".into())
        );
        assert!(line["fields"]["status"].is_u64() && line["fields"]["duration_ms"].is_f64(), "{line}");
    }
}
