//! A running broker and the file of its server keys: takes a new ring, or refuses the file, and notes either in the
//! audit trail, since whoever changes the keys decides who is signed in.
//!
//! Who changed the file, a broker cannot know; each instance notes what took effect on it, however the file came.

use std::sync::Arc;

use super::audit_trail::record_own;
use crate::domain::audit::AuditKind;
use crate::domain::key_ring::KeyRing;
use crate::state::Broker;

/// From now on the broker goes by this ring.
pub fn replace(broker: &Broker, ring: Arc<KeyRing>) {
    let same = broker.keys.current().is_same(&ring);
    broker.keys.replace(ring);
    if !same {
        let keys = broker.keys.known();
        let known: Vec<String> = keys.known.iter().map(ToString::to_string).collect();
        let reason = format!("key {} issues, known: {}", keys.issuing, known.join(", "));
        record_own(broker, AuditKind::ServerKeysReplaced, reason);
    }
}

/// The file cannot be used, and why: the broker goes on with the ring that it has.
pub fn refuse(broker: &Broker, problem: String) {
    record_own(broker, AuditKind::ServerKeysRefused, problem.clone());
    broker.keys.refuse(problem);
}
