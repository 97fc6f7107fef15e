//! Deleting expired rows, as running brokers do on schedule.

use super::{Administration, Result};
use crate::domain::audit::AuditKind;
use crate::storage::Storage;
use crate::storage::purge::Purged;

/// Counts what [`purge`] would delete.
///
/// # Errors
/// The database is unreachable.
pub async fn dry_run(administration: &Administration) -> Result<Purged> {
    let now = administration.storage.purge_time(administration.clock.now()).await?;
    Ok(administration.storage.count_purgeable(now, now - administration.audit_kept).await?)
}

/// Deletes tokens and sessions that have been over for a day, and audit events beyond their time. Deletes nothing while
/// a broker is purging.
///
/// # Errors
/// The database is unreachable; then a part may be done.
pub async fn purge(administration: &Administration) -> Result<Purged> {
    let event = administration.event(AuditKind::AdminPurged);
    let now = administration.storage.purge_time(event.at).await?;
    let purged =
        administration.storage.purge(now, now - administration.audit_kept, Storage::PURGE_BATCH).await?;
    administration.storage.record_audit(vec![event]).await?;
    Ok(purged)
}
