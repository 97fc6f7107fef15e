//! Applies changes of the server keys file to a running broker, and records each change in the audit trail, because
//! the server keys decide which users are signed in.
//!
//! A broker cannot know who changed the file. Each instance records which keys took effect on it.

use std::sync::Arc;

use super::audit_trail::record_own;
use crate::domain::audit::AuditKind;
use crate::domain::key_ring::KeyRing;
use crate::state::Broker;

/// Makes the broker use this key ring. Records the change unless the keys are the same.
pub fn replace(broker: &Broker, ring: Arc<KeyRing>) {
    let is_same = broker.keys.current().is_same(&ring);
    broker.keys.replace(ring);
    if !is_same {
        let keys = broker.keys.known();
        let known: Vec<String> = keys.known.iter().map(ToString::to_string).collect();
        let reason = format!("key {} issues, known: {}", keys.issuing, known.join(", "));
        record_own(broker, AuditKind::ServerKeysReplaced, reason);
    }
}

/// Reports that the keys file cannot be used and why. The broker keeps its current keys.
pub fn refuse(broker: &Broker, problem: String) {
    record_own(broker, AuditKind::ServerKeysRefused, problem.clone());
    broker.keys.refuse(problem);
}
