//! What `/metrics` shows of this moment: refreshed when it is read, except for what is expensive to count.

use std::time::Duration;

use super::Broker;
use super::health::health;
use super::process;
use crate::domain::clock::monotonic;
use crate::domain::metric;
use crate::domain::token_kind::TokenKind;

/// How often live sessions and tokens are counted, if counting them is quick.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// When a count that failed is repeated, such as before the tables of a new database are there.
const RETRY: Duration = Duration::from_secs(2);

/// The pause after a count is this many times as long as the count took, so that counting is never much of the load.
const PAUSE_FACTOR: u32 = 100;

/// Refreshes the gauges. Takes as long as the health check, which is bounded and reused for a second.
pub async fn refresh(broker: &Broker) {
    let health = health(broker).await;
    let ready = health.readiness;
    for (function, works) in [("log_in", ready.log_in), ("redeem", ready.redeem), ("verify", ready.verify)] {
        metrics::gauge!(metric::READY.name, "function" => function).set(flag(works));
    }
    // While the instance stops, the parts are not checked.
    for part in health.parts.iter().filter(|_| !broker.is_stopping()) {
        metrics::gauge!(metric::PART_UP.name, "part" => part.name.clone()).set(flag(part.works()));
    }
    let connections = broker.storage.connections();
    for (state, count) in [("idle", connections.idle), ("busy", connections.busy)] {
        metrics::gauge!(metric::DATABASE_CONNECTIONS.name, "state" => state).set(count);
    }
    metrics::gauge!(metric::DATABASE_CONNECTIONS_LIMIT.name).set(connections.limit);
    metrics::gauge!(metric::AUDIT_ROWS_WAITING.name).set(size(broker.audit.waiting()));
    metrics::gauge!(metric::LAST_USES_WAITING.name).set(size(broker.last_uses.count()));
    process::refresh();
}

/// Counts live sessions and tokens again and again. A count that fails leaves the previous numbers.
pub async fn count_live_for_ever(broker: &Broker) {
    loop {
        let started = monotonic();
        let least = if count_live(broker).await { COUNT_EVERY } else { RETRY };
        tokio::time::sleep(least.max(started.elapsed() * PAUSE_FACTOR)).await;
    }
}

/// Counts live sessions and tokens once. Returns whether that succeeded.
pub async fn count_live(broker: &Broker) -> bool {
    match broker.storage.count_live(broker.clock.now()).await {
        Ok(live) => {
            metrics::gauge!(metric::LIVE_SESSIONS.name).set(number(live.sessions));
            for (kind, count) in
                [(TokenKind::Session, live.session_tokens), (TokenKind::Personal, live.personal_tokens)]
            {
                metrics::gauge!(metric::LIVE_TOKENS.name, "kind" => kind.as_str()).set(number(count));
            }
            true
        }
        Err(error) => {
            tracing::debug!(%error, "live sessions and tokens were not counted");
            false
        }
    }
}

fn flag(works: bool) -> f64 {
    f64::from(u8::from(works))
}

fn size(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn number(count: i64) -> f64 {
    count as f64
}
