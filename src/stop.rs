//! Stopping: not ready first, then no more connections, then the requests in flight.

use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web;

use crate::service_manager;
use crate::state::Broker;

/// How long closing the listener for gateways, and then that of the administration, may take.
pub(crate) const SIDE_TIME: Duration = Duration::from_secs(1);

/// The signals that stop the broker. They count from the moment this is made.
pub(crate) struct StopSignals {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupt: Option<tokio::signal::unix::Signal>,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// SIGTERM: what has begun is finished.
    Graceful,
    /// SIGINT: at once.
    Now,
}

impl StopSignals {
    /// Listens for SIGTERM and SIGINT, which would otherwise end the process.
    #[cfg(unix)]
    pub(crate) fn listen() -> Self {
        use tokio::signal::unix::{Signal, SignalKind, signal};
        let listen = |kind| -> Option<Signal> {
            let listening = signal(kind);
            if let Err(error) = &listening {
                tracing::warn!(%error, "a signal will end the broker at once, without finishing requests");
            }
            listening.ok()
        };
        Self { terminate: listen(SignalKind::terminate()), interrupt: listen(SignalKind::interrupt()) }
    }

    /// Listens for Ctrl-C.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> Self {
        Self {}
    }

    #[cfg(unix)]
    async fn next(&mut self) -> Stop {
        let Self { terminate, interrupt } = self;
        tokio::select! {
            () = heard(terminate) => Stop::Graceful,
            () = heard(interrupt) => Stop::Now,
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Stop {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Stop::Now
    }
}

#[cfg(unix)]
async fn heard(signal: &mut Option<tokio::signal::unix::Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// Waits for a signal and stops the server as it asks.
pub(crate) async fn on_signal(
    mut signals: StopSignals,
    server: ServerHandle,
    broker: web::Data<Broker>,
    drain: Duration,
) {
    let mut stop = signals.next().await;
    service_manager::report_stopping();
    if stop == Stop::Graceful {
        tracing::info!(drain_seconds = drain.as_secs(), "stopping: not ready from now on");
        broker.begin_to_stop();
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            _ = signals.next() => stop = Stop::Now,
        }
    }
    if stop == Stop::Graceful {
        tracing::info!("stopping: requests in flight are finished, new connections are not accepted");
        tokio::select! {
            () = server.stop(true) => return,
            _ = signals.next() => {}
        }
    }
    server.stop(false).await;
}
