//! `purge`: deletes expired rows now instead of on schedule.

use clap::Args;

use super::Failure;
use super::administration::{Common, HELP};
use super::output::{Console, counted};
use crate::flow::administration::purge;

/// Delete tokens and sessions that ended more than a day ago, and audit events older than [purge] audit_days
///
/// Running brokers do the same on schedule. If one of them is purging at this moment, this command deletes nothing.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Purge {
    /// Only count what would be deleted.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

impl Purge {
    pub(super) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let purged = self.common.run(async |administration| {
            Ok(if self.dry_run {
                purge::dry_run(administration).await?
            } else {
                purge::purge(administration).await?
            })
        })?;
        console.result(self.common.json, &purged, || {
            let verb = if self.dry_run { "would be deleted" } else { "deleted" };
            format!(
                "{}, {}, {} {verb}",
                counted(purged.tokens, "token"),
                counted(purged.sessions, "session"),
                counted(purged.audit_events, "audit event")
            )
        })
    }
}
