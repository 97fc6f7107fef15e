//! `doctor --through`: finds the holes of a broken gateway by name, and nothing in the shipped examples.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::http::header::HeaderMap;
use actix_web::{
    App, FromRequest, Handler, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer, Responder, web,
};
use token_broker::domain::policy::Requirements;

use crate::gateways::with_orders_policy;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Browser;
use crate::support::gateway::{Example, Gateway, Kind};
use crate::support::process::free_port;
use crate::support::program::{Ended, Program};
use crate::support::upstream::Upstream;
use crate::support::visits::add_pages;

/// What is wrong with a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    None,
    LetsEveryoneIn,
    LeavesStaticFilesOpen,
    LeavesMethodsOpen,
    ChecksOnlyThatThereIsAToken,
    TakesTokensFromTheQuery,
    BelievesOriginalUrl,
    KeepsUnderscores,
    KeepsDots,
    OverwritesNoIdentity,
    CopiesNoIdentity,
    RepeatsTheOrigin,
    HasAWrongClock,
    RedirectsPrograms,
    HidesTheChallenge,
    PassesOnWhenUnknown,
    RefusesWhenUnknown,
}

/// A gateway with one hole.
#[derive(Clone)]
struct Broken {
    hole: Hole,
    broker: String,
    api: SocketAddr,
}

/// It serves until it is dropped.
struct Running {
    url: String,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Running {
    /// Serves an application on a free port.
    fn start<T, H, A>(state: T, handler: H) -> Self
    where
        T: Clone + Send + 'static,
        H: Handler<A> + Send + Copy,
        A: FromRequest + 'static,
        H::Output: Responder + 'static,
    {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    App::new().app_data(web::Data::new(state.clone())).default_service(web::to(handler))
                };
                let server = HttpServer::new(app).workers(1).bind(("127.0.0.1", 0)).unwrap();
                let addr = server.addrs()[0];
                let server = server.run();
                sender.send((addr, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (addr, handle) = receiver.recv().unwrap();
        Self { url: format!("http://{addr}"), handle, thread: Some(thread) }
    }
}

impl Broken {
    fn start(self) -> Running {
        Running::start(self, pass_on)
    }

    /// Whether a request needs no token at all.
    fn is_open(&self, request: &HttpRequest) -> bool {
        let is_static = request.path().starts_with("/static/") || request.path().ends_with(".js");
        match self.hole {
            Hole::LetsEveryoneIn => true,
            Hole::LeavesStaticFilesOpen => is_static,
            Hole::LeavesMethodsOpen => !["GET", "POST"].contains(&request.method().as_str()),
            Hole::BelievesOriginalUrl => request.headers().contains_key("x-original-url"),
            Hole::ChecksOnlyThatThereIsAToken => request.headers().contains_key("authorization"),
            _ => false,
        }
    }

    /// Whether a header of the visitor reaches the API.
    fn keeps(&self, name: &str) -> bool {
        let is_identity = name.replace(['_', '.'], "-").starts_with("x-auth");
        let kept = match self.hole {
            Hole::KeepsUnderscores => name.contains('_'),
            Hole::KeepsDots => name.contains('.'),
            Hole::OverwritesNoIdentity => true,
            _ => false,
        };
        (!is_identity || kept) && !["host", "authorization", "connection"].contains(&name)
    }
}

async fn pass_on(request: HttpRequest, gateway: web::Data<Broken>) -> HttpResponse {
    let browser = Browser::new();
    let mut credentials: Vec<(String, String)> = texts(request.headers(), |name| name == "authorization");
    if gateway.hole == Hole::TakesTokensFromTheQuery
        && let Some(token) = request.query_string().strip_prefix("access_token=")
    {
        credentials = vec![("authorization".to_owned(), format!("Bearer {token}"))];
    }
    let mut identity = Vec::new();
    if !gateway.is_open(&request) {
        let url = format!("{}/authz/orders", gateway.broker);
        let answer = browser.get(&url, &pairs(&credentials)).await;
        let status = answer.status.as_u16();
        let passes = status == 200 || (status >= 500 && gateway.hole == Hole::PassesOnWhenUnknown);
        if !passes {
            return refuse(&gateway, &request, status, answer.header("www-authenticate"));
        }
        let is_identity = |name: &str| name.starts_with("x-auth") && gateway.hole != Hole::CopiesNoIdentity;
        for (name, value) in &answer.headers {
            if is_identity(name.as_str()) {
                identity.push((name.to_string(), value.to_str().unwrap().to_owned()));
            }
        }
    }
    let mut headers = texts(request.headers(), |name| gateway.keeps(name));
    headers.retain(|(name, _)| !identity.iter().any(|(known, _)| known == name));
    headers.extend(identity);
    let url = format!("http://{}{}", gateway.api, request.uri());
    let method = request.method().as_str().parse().unwrap();
    let passed = browser.send(method, &url, &pairs(&headers), None).await;
    response(&gateway, &request, 200).content_type("application/json").body(passed.body)
}

fn texts(headers: &HeaderMap, of: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| of(name.as_str()));
    kept.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

fn pairs(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn response(gateway: &Broken, request: &HttpRequest, status: u16) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status.try_into().unwrap());
    if gateway.hole == Hole::RepeatsTheOrigin
        && let Some(origin) = request.headers().get("origin")
    {
        response.insert_header(("access-control-allow-origin", origin.clone()));
    }
    if gateway.hole == Hole::HasAWrongClock {
        response.insert_header(("date", "Sat, 01 Jan 2000 00:00:00 GMT"));
    }
    response
}

fn refuse(gateway: &Broken, request: &HttpRequest, status: u16, challenge: Option<&str>) -> HttpResponse {
    let mut status = if status >= 500 { 503 } else { status };
    if status == 503 && gateway.hole == Hole::RefusesWhenUnknown {
        status = 401;
    }
    if status == 401 && gateway.hole == Hole::RedirectsPrograms {
        return response(gateway, request, 302).insert_header(("location", "/login")).finish();
    }
    let mut response = response(gateway, request, status);
    if let Some(challenge) = challenge.filter(|_| gateway.hole != Hole::HidesTheChallenge) {
        response.insert_header(("www-authenticate", challenge));
    }
    response.finish()
}

/// Runs the check with a token in a file.
async fn doctor(url: &str, token: &str, further: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
    run(folder.path(), url, further).await
}

async fn run(folder: &Path, url: &str, further: &[&str]) -> Ended {
    let arguments = [&["doctor", "--through", url, "--token-file", "token"][..], further].concat();
    Program::run(folder, &arguments).await
}

/// The names of what was found.
fn found(ended: &Ended) -> BTreeSet<&str> {
    let names = ended.out.lines().filter(|line| !line.starts_with(' ') && line.contains(": "));
    names.map(|line| line.split(':').next().unwrap()).collect()
}

#[actix_web::test]
async fn each_planted_hole_is_found_by_its_name() {
    let broker = TestBroker::with(Setup::default().adjust(with_orders_policy));
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let api = Upstream::start();
    let direct = format!("http://{}/", api.addr);
    for (hole, further, names) in [
        (Hole::None, &[][..], &[][..]),
        (Hole::LetsEveryoneIn, &[], &["open_without_credential", "missing_identity_headers"]),
        (Hole::LeavesStaticFilesOpen, &[], &["open_path"]),
        (Hole::LeavesMethodsOpen, &[], &["open_path"]),
        (Hole::ChecksOnlyThatThereIsAToken, &[], &["made_up_token_accepted", "missing_identity_headers"]),
        (Hole::TakesTokensFromTheQuery, &[], &["token_in_query_accepted"]),
        (Hole::BelievesOriginalUrl, &[], &["forwarded_headers_trusted"]),
        (Hole::KeepsUnderscores, &[], &["spoofed_identity_headers"]),
        (Hole::KeepsDots, &[], &["spoofed_identity_headers"]),
        (Hole::OverwritesNoIdentity, &[], &["spoofed_identity_headers"]),
        (Hole::CopiesNoIdentity, &[], &["missing_identity_headers"]),
        (Hole::RepeatsTheOrigin, &[], &["cors_for_any_origin"]),
        (Hole::HasAWrongClock, &[], &["clock_skew"]),
        (Hole::RedirectsPrograms, &[], &["redirect_for_api_calls"]),
        (Hole::HidesTheChallenge, &[], &["no_challenge"]),
        (Hole::None, &["--upstream", &direct], &["direct_access"]),
    ] {
        let gateway = Broken { hole, broker: broker.real_url.clone(), api: api.addr }.start();
        let ended = doctor(&format!("{}/orders", gateway.url), &token, further).await;
        assert_eq!(found(&ended), names.iter().copied().collect(), "{hole:?}: {ended:?}");
        assert_eq!(ended.code, Some(i32::from(!names.is_empty())), "{hole:?}: {ended:?}");
        assert!(!ended.out.contains(&token) && !ended.err.contains(&token), "{ended:?}");
    }
    let gateway = Broken { hole: Hole::None, broker: broker.real_url.clone(), api: api.addr }.start();
    let bob = broker.sign_in(&broker.browser(), "dev", "bob").await;
    assert_eq!(found(&doctor(&gateway.url, &bob, &[]).await), ["valid_token_refused"].into());
}

#[actix_web::test]
async fn what_a_gateway_does_while_the_broker_is_stopped_is_checked_on_request() {
    let api = Upstream::start();
    let stopped = Running::start((), || async { HttpResponse::ServiceUnavailable().finish() });
    let token = format!("tbk_{}", "0".repeat(72));
    for (hole, names) in [
        (Hole::None, &[][..]),
        (Hole::PassesOnWhenUnknown, &["allows_while_unknown"]),
        (Hole::RefusesWhenUnknown, &["outage_called_invalid"]),
    ] {
        let gateway = Broken { hole, broker: stopped.url.clone(), api: api.addr }.start();
        let ended = doctor(&gateway.url, &token, &["--broker-stopped"]).await;
        assert_eq!(found(&ended), names.iter().copied().collect(), "{hole:?}: {ended:?}");
    }
}

#[actix_web::test]
async fn the_shipped_examples_have_no_holes() {
    let broker = TestBroker::with(Setup::default().adjust(with_orders_policy));
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let folder = tempfile::tempdir().unwrap();
    let echo = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut api = Program::start(folder.path(), "echo", &["doctor", "--echo", &echo.to_string()], &[]);
    api.line("answers with what arrives").await;
    for kind in [Kind::Nginx, Kind::Caddy, Kind::Haproxy, Kind::Apache] {
        let gateway = Gateway::start(kind, &broker.real_url, echo).await;
        let ended = doctor(&format!("{}/orders", gateway.url), &token, &[]).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), "No findings.\n"), "{kind:?}: {ended:?}");
    }
    broker.stop();
    let gateway = Gateway::start(Kind::Caddy, &format!("http://127.0.0.1:{}", free_port()), echo).await;
    let ended = doctor(&gateway.url, &token, &["--broker-stopped"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[actix_web::test]
async fn the_examples_for_pages_have_no_holes() {
    for kind in [Kind::Nginx, Kind::Caddy] {
        let port = free_port();
        let origin = format!("http://127.0.0.1:{port}");
        let pages = origin.clone();
        let broker = TestBroker::with(Setup::default().adjust(move |config| {
            let audience = config.clients[0].audiences.iter().next().unwrap().clone();
            add_pages(config, "tools", &[&pages], Requirements::default());
            config.policies.last_mut().unwrap().audience = audience;
        }));
        let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
        let site = Upstream::start();
        let _gateway = Gateway::start_on(port, (kind, Example::Pages), &broker.real_url, site.addr).await;
        let ended = doctor(&format!("{origin}/"), &token, &["--pages"]).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), "No findings.\n"), "{kind:?}: {ended:?}");
        // The example for APIs is none for pages.
        let port = free_port();
        let api = Gateway::start_on(port, (kind, Example::Api), &broker.real_url, site.addr).await;
        let twin = doctor(&api.url, &token, &["--pages"]).await;
        assert!(
            found(&twin).contains("no_sign_in") && found(&twin).contains("callback_not_routed"),
            "{twin:?}"
        );
    }
}
