//! `check-config --connect`: asks everything that the configuration names whether it works, and says what to do if not.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;

use super::Failure;
use super::administration::open;
use super::serve::runtime;
use crate::config::Config;
use crate::domain::clock::{Clock, SystemClock};
use crate::key_store::KeyStore;
use crate::provider::Providers;
use crate::storage::{Backend, Storage};

/// How long the key store may take: longer than for a health check, because nothing is connected yet.
const KEY_STORE_TIME: Duration = Duration::from_secs(3);

/// How far the clocks of this machine and of the database may differ, in seconds.
const CLOCK_TOLERANCE: f64 = 5.0;

/// Writes a line for each part, as comments. Changes nothing that lasts.
///
/// # Errors
/// At least one part does not work.
pub(super) fn check(config: &Config, out: &mut dyn Write) -> Result<(), Failure> {
    let findings = System::new().block_on(findings(config))?;
    for (part, problem) in &findings {
        writeln!(out, "# {part}: {}", problem.as_deref().unwrap_or("works"))?;
    }
    let broken = findings.iter().filter(|(_, problem)| problem.is_some()).count();
    if broken == 0 {
        return Ok(());
    }
    Err(Failure::Runtime(format!("{broken} of {} parts do not work: see above", findings.len())))
}

type Finding = (String, Option<String>);

async fn findings(config: &Config) -> Result<Vec<Finding>, Failure> {
    let key_store = KeyStore::new(&config.key_store, Arc::new(SystemClock)).map_err(runtime)?;
    let providers = Providers::new(config.providers.clone(), Arc::new(SystemClock)).map_err(runtime)?;
    let mut findings = Vec::new();
    let storage = open(&config.database)?;
    // Opening a SQLite file would create it, for the user that runs this command.
    if storage.backend() == Backend::Postgres {
        findings.push(("database".to_owned(), problem(storage.check().await)));
        findings.push(("clock".to_owned(), clock(&storage).await));
    }
    let health = key_store.check("check-config", KEY_STORE_TIME).await;
    findings.push((format!("key store {}", key_store.describe()), problem(health.stores.and(health.takes))));
    for provider in providers.iter() {
        findings.push((format!("provider {}", provider.id()), problem(provider.ready().await)));
    }
    Ok(findings)
}

fn problem<E: std::error::Error>(outcome: Result<(), E>) -> Option<String> {
    outcome.err().map(|error| runtime(error).to_string())
}

/// A database that does not answer is a finding of its own.
async fn clock(storage: &Storage) -> Option<String> {
    let server = storage.server_time().await.ok().flatten()?;
    let ahead = (SystemClock.now() - server).as_seconds_f64();
    (ahead.abs() > CLOCK_TOLERANCE).then(|| {
        format!(
            "differs from that of the database by {ahead:.1} s: check the time service (NTP) of both machines"
        )
    })
}
