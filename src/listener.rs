//! From an application to a running HTTP/1.1 server whose connections are guarded.
//!
//! The framework's own `HttpServer` does not let its connections be wrapped, so its parts are put together here.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::http::KeepAlive;
use actix_web::rt::net::TcpStream;

use ipnet::IpNet;

use crate::http::connection::{GuardedStream, HEAD_TIME, Refusals, Shares};

/// How long a closing connection may take.
const DISCONNECT_TIME: Duration = Duration::from_secs(1);

/// How many connections a listener serves, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct ListenerSettings {
    /// Worker threads.
    pub(crate) workers: usize,
    /// Connections that may be open at once, in the whole process.
    pub(crate) max_connections: usize,
    /// How many of them one address may have.
    pub(crate) per_address: usize,
    /// Proxies, to which that does not apply.
    pub(crate) proxies: Vec<IpNet>,
    /// How long a connection may be idle between two requests.
    pub(crate) keep_alive: Duration,
    /// How long requests in flight may take once the server is told to stop.
    pub(crate) shutdown_timeout: Duration,
}

/// Serves applications that `app` makes, one for each worker; `refusals` answers what never reaches them. The server
/// ignores signals.
///
/// # Errors
/// The socket cannot be used.
pub(crate) fn serve<F, I, S>(
    settings: ListenerSettings,
    refusals: Refusals,
    socket: TcpListener,
    app: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = Error>
        + 'static,
    S::InitError: fmt::Debug,
{
    let ListenerSettings { workers, max_connections, per_address, proxies, keep_alive, shutdown_timeout } =
        settings;
    let shares = Shares::new(per_address, proxies);
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(max_connections / workers + 1)
        .shutdown_timeout(shutdown_timeout.as_secs())
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder.listen("http", socket, move || {
        let (stopping, shares) = (stopping.clone(), shares.clone());
        let app = app().into_factory().map_err(|error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KeepAlive::Timeout(keep_alive))
            .client_request_timeout(HEAD_TIME)
            .client_disconnect_timeout(DISCONNECT_TIME)
            .tcp_nodelay(true)
            .on_connect_ext(|stream: &GuardedStream, data| {
                data.insert(stream.connection());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        let refusals = refusals.clone();
        fn_service(move |stream: TcpStream| {
            let (refusals, shares) = (refusals.clone(), shares.clone());
            async move {
                let peer = stream.peer_addr().map_err(DispatchError::Io)?;
                // Dropped, the connection is closed.
                let share = shares.take(peer.ip());
                let share = share.ok_or_else(|| DispatchError::Io(ErrorKind::ConnectionRefused.into()))?;
                stream.set_nodelay(true).map_err(DispatchError::Io)?;
                Ok((GuardedStream::new(stream, share, keep_alive, refusals), Some(peer)))
            }
        })
        .and_then(http)
    })?;
    Ok(server.run())
}
