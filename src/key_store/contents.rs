//! What is put into the key store, and what comes out of it.

use chrono::TimeDelta;

use crate::domain::clock::Timestamp;

/// A new entry. The caller has sealed both parts.
#[derive(Debug)]
pub struct NewEntry {
    /// Returned to the first caller that takes the entry.
    pub grant: Vec<u8>,
    /// Returned to every later caller.
    pub receipt: Vec<u8>,
}

/// The result of taking an entry.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The caller is the first. The store has deleted the grant.
    First {
        /// The sealed grant.
        grant: Vec<u8>,
    },
    /// The entry was taken before.
    Again {
        /// The sealed receipt.
        receipt: Vec<u8>,
        /// The sealed redemption that the first caller left.
        redemption: Vec<u8>,
    },
    /// The entry does not exist or has expired.
    Nothing,
}

/// The result of looking at an entry.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// It can be taken.
    Waiting {
        /// The sealed grant.
        grant: Vec<u8>,
    },
    /// It was taken before.
    Taken,
    /// It does not exist or has expired.
    Nothing,
}

/// How often a request may be asked about.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The current time of the caller.
    pub now: Timestamp,
    /// The time that must pass between two questions.
    pub interval: TimeDelta,
    /// How much the time grows with each question that comes too early.
    pub penalty: TimeDelta,
}

/// The result of asking about a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Paced {
    /// The sealed value of the request.
    InTime(Vec<u8>),
    /// The question came too early; the time between two questions has grown.
    TooEarly,
    /// There is no such request, or it has expired.
    Nothing,
}
