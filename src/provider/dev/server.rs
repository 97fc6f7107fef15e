//! The server: its routes, and the thread that it runs on.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::thread;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::{KeepAlive, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self as actix, Bytes, Data, ServiceConfig};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer};
use tokio::sync::oneshot;

use super::faults::FaultSwitch;
use super::request_log::TrappedRequest;
use super::shared::Shared;
use super::{TRAP, authorize, oauth2, oidc, pages, token, web};

/// The largest request body.
const BODY_LIMIT: usize = 64 * 1024;

/// A running server; `ended` tells when its port is free again.
pub(super) struct Running {
    pub handle: ServerHandle,
    pub ended: oneshot::Receiver<()>,
}

/// Serves on a thread of its own, so that it neither blocks the caller's runtime nor ends with it.
pub(super) fn run(listener: TcpListener, shared: Arc<Shared>) -> io::Result<Running> {
    let (started, starting) = mpsc::channel();
    let (ending, ended) = oneshot::channel();
    let serve = move || {
        actix_web::rt::System::new().block_on(async move {
            let data = Data::from(shared);
            let app = move || App::new().wrap(from_fn(observe)).app_data(data.clone()).configure(routes);
            // An idle connection could outlive an outage by a moment, and look like one that is not over.
            let server = HttpServer::new(app).workers(1).keep_alive(KeepAlive::Disabled).disable_signals();
            let server = server.listen(listener);
            // The caller waits for this message; if it is gone, the server is not needed.
            match server.map(HttpServer::run) {
                Ok(server) => {
                    let _ = started.send(Ok(server.handle()));
                    let _ = server.await;
                }
                Err(error) => drop(started.send(Err(error))),
            }
        });
        let _ = ending.send(());
    };
    thread::Builder::new().name("dev-provider".into()).spawn(serve)?;
    let handle =
        starting.recv().map_err(|_| io::Error::other("the development provider did not start"))??;
    Ok(Running { handle, ended })
}

fn routes(config: &mut ServiceConfig) {
    let at = |path: &str| actix::resource(path);
    config
        .app_data(actix::PayloadConfig::new(BODY_LIMIT))
        .service(at("/").get(overview))
        .service(at("/.well-known/openid-configuration").get(oidc::discovery))
        .service(at("/jwks").get(oidc::jwks))
        .service(at("/authorize").get(authorize::oidc).post(authorize::oidc))
        .service(at("/token").post(token::oidc))
        .service(at("/userinfo").get(oidc::userinfo).post(oidc::userinfo))
        .service(at("/end-session").get(oidc::end_session).post(oidc::end_session))
        .service(at("/o/authorize/").get(authorize::plain).post(authorize::plain))
        .service(at("/o/token/").post(token::plain))
        .service(at("/public-api/current_user/base_info").get(oauth2::base_info))
        .service(at("/public-api/current_user/all_permissions").get(oauth2::all_permissions))
        .service(at("/dev/faults").get(overview).post(switch))
        .service(at(TRAP).route(actix::route().to(trap)));
}

/// Counts every request and, if asked to, fails it.
async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let path = request.match_pattern().unwrap_or_else(|| "unknown".into());
    let shared = request.app_data::<Data<Shared>>().cloned();
    let fails = shared.is_some_and(|shared| {
        shared.log().counted(path.clone());
        shared.is_on(FaultSwitch::Everything500) && !path.starts_with("/dev/")
    });
    if fails {
        let answer =
            web::uncached(StatusCode::INTERNAL_SERVER_ERROR).body("everything fails as it was asked to");
        return Ok(request.into_response(answer).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

async fn overview(shared: Data<Shared>) -> HttpResponse {
    pages::overview(&shared)
}

/// `POST /dev/faults` with a form of `<switch>=on` or `<switch>=off`.
async fn switch(body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let Some(params) = web::parse(&body) else { return pages::refusal("A switch is named twice.") };
    for (name, state) in &params {
        match (FaultSwitch::named(name), state.as_str()) {
            (Some(switch), "on" | "off") => shared.switches.set(switch, state == "on"),
            _ => return pages::refusal("There is no such switch, or it is set to neither on nor off."),
        }
    }
    web::uncached(StatusCode::SEE_OTHER).insert_header((header::LOCATION, "/dev/faults")).finish()
}

/// A path that must not be called: remembers the requests that came.
async fn trap(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    shared.log().trapped(TrappedRequest {
        method: request.method().to_string(),
        had_authorization: request.headers().contains_key(header::AUTHORIZATION),
        body_bytes: body.len(),
    });
    HttpResponse::NoContent().finish()
}
