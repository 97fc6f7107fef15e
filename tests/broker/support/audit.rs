//! The audit trail and the users' rows, past the commands.

use secrecy::ExposeSecret;
use token_broker::domain::ids::UserId;
use token_broker::storage::Storage;
use token_broker::storage::audit::{AuditFilter, AuditRecord, Order};

use super::broker::TestBroker;
use super::storage::sql;

/// The newest audit events, newest first.
pub async fn newest(storage: &Storage, limit: u32) -> Vec<AuditRecord> {
    let filter = AuditFilter { limit, ..AuditFilter::default() };
    let entries = storage.read_audit(filter, Order::NewestFirst, None).await.unwrap();
    entries.into_iter().map(|entry| entry.event).collect()
}

/// Disables a user, or enables it again. The command would also end the user's sessions.
pub fn set_user_disabled(broker: &TestBroker, user: UserId, disabled: bool) {
    let url = broker.config.database.url.expose_secret();
    let (id, now) = if url.starts_with("sqlite:") {
        (format!("x'{}'", user.as_uuid().simple()), broker.now().timestamp_micros().to_string())
    } else {
        (format!("'{user}'"), "now()".to_owned())
    };
    let at = if disabled { now.as_str() } else { "NULL" };
    sql::execute(url, &format!("UPDATE users SET disabled_at = {at} WHERE id = {id}"));
}
