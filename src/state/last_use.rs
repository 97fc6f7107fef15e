//! Records when tokens were last used, outside of the request: for their owner's list of sessions, and for the
//! inactivity limit of a client.
//!
//! A check whose stored time is older than five minutes adds an entry to this queue; a task writes the queue to the
//! database. At most one row is updated per five minutes, because the queue has one entry per token and the database
//! ignores an update that is too close to the previous one. While the database accepts no writes, entries wait, with
//! the latest time, and count towards the inactivity limit. No request waits for them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::clock::Timestamp;
use crate::domain::ids::SessionId;
use crate::domain::lifetimes::LAST_USE_GRAIN;
use crate::domain::metric;
use crate::domain::standing::TokenRecord;
use crate::domain::token::HandleDigest;
use crate::storage::tokens::TokenUse;
use crate::storage::{Storage, StorageError};

/// The maximum number of entries that wait.
const WAITING: usize = 4096;

/// Entries written at a time: each is a transaction, and all of them must fit into the time for one answer.
const BATCH: usize = 64;

/// How long to collect entries, so that they are written together.
const PAUSE: Duration = Duration::from_millis(200);

/// How long to wait before retrying a database that was unavailable.
const RETRY: Duration = Duration::from_secs(1);

/// The entries that wait.
#[derive(Debug, Default)]
pub struct LastUses {
    waiting: Mutex<HashMap<HandleDigest, TokenUse>>,
    some: Notify,
}

impl LastUses {
    /// Adds that the token of this row, which was just read, is used now.
    pub(crate) fn add(&self, record: &TokenRecord, now: Timestamp) {
        let is_recent = |at: Option<Timestamp>| at.is_some_and(|at| now - at < LAST_USE_GRAIN);
        let session = record.session.as_ref();
        if is_recent(record.last_used_at) && session.is_none_or(|session| is_recent(session.last_used_at)) {
            return;
        }
        let facts = &record.token.facts;
        self.add_use(TokenUse { handle: facts.handle, session: facts.owner.session_id, at: now });
    }

    /// When any token of the session was last used, as far as that waits to be written here.
    ///
    /// An entry is removed once it is written: look here first and read the row afterwards, or one can be missed.
    pub(crate) fn of(&self, session: SessionId) -> Option<Timestamp> {
        self.waiting().values().filter(|used| used.session == Some(session)).map(|used| used.at).max()
    }

    /// How many entries wait.
    pub(super) fn count(&self) -> usize {
        self.waiting().len()
    }

    fn add_use(&self, used: TokenUse) {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING && !waiting.contains_key(&used.handle) {
            metrics::counter!(metric::LAST_USES_DROPPED.name).increment(1);
            return;
        }
        let entry = waiting.entry(used.handle).or_insert(used);
        entry.at = entry.at.max(used.at);
        drop(waiting);
        self.some.notify_one();
    }

    /// Writes entries as they are added.
    pub async fn write_for_ever(&self, storage: &Storage) {
        loop {
            self.some.notified().await;
            tokio::time::sleep(PAUSE).await;
            while let Err(error) = self.write(storage).await {
                tracing::debug!(%error, "times of last use wait for the database");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Writes the entries that wait. Those that could not be written keep waiting.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn write(&self, storage: &Storage) -> Result<(), StorageError> {
        loop {
            let batch: Vec<TokenUse> = self.waiting().values().take(BATCH).copied().collect();
            if batch.is_empty() {
                return Ok(());
            }
            storage.note_token_uses(batch.clone()).await?;
            let mut waiting = self.waiting();
            for used in batch {
                // An entry that was updated in the meantime stays.
                if waiting.get(&used.handle) == Some(&used) {
                    waiting.remove(&used.handle);
                }
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<HandleDigest, TokenUse>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entropy::SeededEntropy;
    use crate::domain::ids::SessionId;
    use crate::domain::token::TokenHandle;

    #[test]
    fn notes_that_wait_are_bounded_and_not_doubled() {
        let entropy = SeededEntropy::new(1);
        let uses = LastUses::default();
        let (mut last, newest) = (None, Timestamp::UNIX_EPOCH + LAST_USE_GRAIN);
        for _ in 0..WAITING + 100 {
            let handle = TokenHandle::random(&entropy).digest();
            let at = Timestamp::UNIX_EPOCH;
            let used = TokenUse { handle, session: Some(SessionId::random(&entropy)), at };
            uses.add_use(used);
            uses.add_use(TokenUse { at: newest, ..used });
            uses.add_use(used);
            last = Some(used);
        }
        assert_eq!(uses.waiting().len(), WAITING);
        assert!(uses.waiting().values().all(|used| used.at == newest), "the newest counts");
        assert!(!uses.waiting().contains_key(&last.unwrap().handle), "dropped: the next call notes it");
    }
}
