//! `serve`: runs the broker in production.

use std::sync::Arc;

use actix_web::rt::System;
use clap::Args;

use super::{ConfigFile, Failure, descriptors};
use crate::config::Loaded;
use crate::domain::clock::SystemClock;
use crate::server::{self, Environment};
use crate::service_manager;
use crate::telemetry::{self, LogSettings};

/// Run the broker in production
///
/// Refuses to start with settings that are only safe for development: a public URL without https, sample keys, secrets
/// that other users can read, the development provider, plain http addresses. Logs one JSON line per event to standard
/// error. On SIGTERM it reports that it is not ready while a load balancer sends its requests elsewhere, then finishes the
/// requests in progress and exits.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Loaded { config, warnings, .. } = self.config.load()?;
        start_log(&config.log)?;
        descriptors::raise(&config);
        for warning in warnings {
            tracing::warn!(key = warning.key, "{}", warning.text);
        }
        let system = System::new();
        let outcome = system.block_on(async {
            let server = server::build(config, Environment::system()).await.map_err(runtime)?;
            let admin_listen = server.admin_addr().map(tracing::field::display);
            let gateway_listen = server.gateway_addr().map(tracing::field::display);
            tracing::info!(listen = %server.addr(), gateway_listen, admin_listen, "ready");
            service_manager::report_ready();
            server.run().await.map_err(runtime)
        });
        // Dropped, the runtime would wait for a query of a database that hangs. The process ends here anyway.
        std::mem::forget(system);
        telemetry::flush();
        outcome
    }
}

/// Logs from here on, panics included.
pub(super) fn start_log(log: &LogSettings) -> Result<(), Failure> {
    telemetry::init(log, Arc::new(SystemClock)).map_err(runtime)?;
    telemetry::install_panic_hook();
    Ok(())
}

/// A runtime failure with the error and its causes in one line.
pub(super) fn runtime(error: impl std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    Failure::Runtime(text)
}
