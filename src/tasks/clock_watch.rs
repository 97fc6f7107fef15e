//! Compares the clock of this machine with that of the database, which all instances share: an instance whose clock is a
//! minute off ends sessions too early, or accepts tokens for too long.

use std::time::Duration;

use actix_web::web;
use chrono::TimeDelta;

use crate::domain::clock::monotonic;
use crate::domain::metric;
use crate::state::Broker;

/// How often they are compared.
const EVERY: Duration = Duration::from_secs(60);

/// How far they may differ, in seconds.
const TOLERANCE: f64 = 5.0;

/// Compares them for as long as the broker runs, and warns when they begin to differ.
pub(super) async fn watch(broker: web::Data<Broker>) {
    let mut differs = false;
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let (before, waiting) = (broker.clock.now(), monotonic());
        let Ok(Some(server)) = broker.storage.server_time().await else { continue };
        let halfway = before + TimeDelta::from_std(waiting.elapsed() / 2).unwrap_or_default();
        let ahead = (halfway - server).as_seconds_f64();
        metrics::gauge!(metric::CLOCK_AHEAD_OF_DATABASE.name).set(ahead);
        let differed = std::mem::replace(&mut differs, ahead.abs() > TOLERANCE);
        if differs && !differed {
            tracing::warn!(
                seconds_ahead_of_database = ahead,
                "the clock of this machine differs from that of the database: check the time service (NTP) of both"
            );
        } else if differed && !differs {
            tracing::info!("the clock agrees with that of the database again");
        }
    }
}
