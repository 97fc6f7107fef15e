//! Where one-time keys wait to be redeemed: in process memory for one machine, Redis for many.
//!
//! A few raw operations; what the bytes mean is decided above. Taking is one atomic step in every store:
//! of any number of parallel takers one gets the grant, and the rest of the entry's life recognises the others.

/// A new entry, both parts sealed by the caller.
#[derive(Debug)]
pub struct NewEntry {
    /// What the first taker gets.
    pub grant: Vec<u8>,
    /// What every later one gets.
    pub receipt: Vec<u8>,
}

/// What taking an entry gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The caller is the first: the grant is gone from the store now.
    First {
        /// The sealed grant.
        grant: Vec<u8>,
    },
    /// Somebody was first: what they left.
    Again {
        /// The sealed receipt.
        receipt: Vec<u8>,
        /// The sealed redemption of the first taker.
        redemption: Vec<u8>,
    },
    /// There is no such entry, or no more.
    Nothing,
}

/// The store cannot answer. Says nothing about the entry.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// It cannot be reached, or not in time.
    #[error("the key store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is full: every entry is live.
    #[error("the key store is full")]
    Full,
}

impl From<KeyStoreError> for crate::error::Error {
    fn from(error: KeyStoreError) -> Self {
        Self::new(crate::error::ErrorCode::TemporarilyUnavailable).caused_by(error)
    }
}
