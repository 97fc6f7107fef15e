//! What is kept of a device that waits to be connected, and the question that its user is asked (RFC 8628).
//!
//! The key store holds the parts of a request sealed, each under its own label (see
//! [`EntryPart`]). The question travels in the form that asks it.

use serde::{Deserialize, Serialize};

use super::audience::AudienceSet;
use super::clock::Timestamp;
use super::device_code::UserCode;
use super::ids::{ClientId, SessionId};
use super::key_ring::{KeyRing, Purpose};
use super::lifetimes;
use super::one_time_key::{EntryName, EntryPart};
use super::scope::ScopeSet;
use super::sealed::{Sealable, Sealed};
use super::token::TokenHandle;

/// What a device asked for, as its user finds it with the user code.
///
/// The session and the handle of the token are drawn with the codes, so that a person who approves twice, because an answer
/// was lost, still connects the device once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// Where the person's answer is put.
    pub answer: EntryName,
    /// The client.
    pub client_id: ClientId,
    /// What the token may be used for.
    pub scopes: ScopeSet,
    /// The APIs that it is for.
    pub audiences: AudienceSet,
    /// The `User-Agent` header of the device, cleaned.
    pub user_agent: Option<String>,
    /// The network of the device.
    pub address_prefix: String,
    /// The session that the device will have.
    pub session_id: SessionId,
    /// The handle of its token. There is no row of it before the person approves.
    #[serde(with = "super::one_time_key::handle_bytes")]
    pub handle: TokenHandle,
    /// When the codes expire.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub expires_at: Timestamp,
}

impl EntryPart for DeviceRequest {
    const LABEL: &'static str = "device-request";
}

/// What a polling device finds with its device code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingDevice {
    /// When the codes expire.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub expires_at: Timestamp,
}

impl EntryPart for WaitingDevice {
    const LABEL: &'static str = "waiting-device";
}

/// The answer of a person who refused. The answer of one who approved is a grant, with its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedDevice {
    /// When the person refused.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub at: Timestamp,
}

impl EntryPart for DeniedDevice {
    const LABEL: &'static str = "denied-device";
}

/// The question that was asked in a browser: about which code, and in which session. The form that answers it brings it
/// back, so that no answer is accepted that this person was not asked for.
#[derive(Clone, Serialize, Deserialize)]
pub struct DeviceQuestion {
    /// The user code.
    pub user_code: UserCode,
    /// The session of the browser that was asked.
    pub session_id: SessionId,
    /// When it was asked.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub asked_at: Timestamp,
}

impl Sealable for DeviceQuestion {
    const PURPOSE: Purpose = Purpose::DeviceQuestion;
}

impl DeviceQuestion {
    /// Whether `text` is the seal of this question for the same code and session, which has not become too old.
    pub fn is_answered_by(
        text: &str,
        code: &UserCode,
        session: SessionId,
        now: Timestamp,
        ring: &KeyRing,
    ) -> bool {
        let question: Option<Self> = Sealed::from_text(text).open(&[], ring);
        question.is_some_and(|question| {
            let age = now - question.asked_at;
            question.user_code == *code
                && question.session_id == session
                && age.abs() < lifetimes::DEVICE_CODE
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::clock::{Clock, SystemClock};
    use super::super::entropy::SeededEntropy;
    use super::super::key_ring::{KeyId, ServerKey};
    use super::*;

    #[test]
    fn a_question_is_answered_only_for_its_code_and_session_and_for_ten_minutes() {
        let entropy = SeededEntropy::new(1);
        let ring = |secret: u8| {
            KeyRing::new(KeyId(1), vec![ServerKey::new(KeyId(1), vec![secret; 32]).unwrap()]).unwrap()
        };
        let now = SystemClock.now();
        let [code, other] = [(); 2].map(|()| UserCode::random(&entropy));
        let [session, foreign] = [(); 2].map(|()| SessionId::random(&entropy));
        let question = DeviceQuestion { user_code: code.clone(), session_id: session, asked_at: now };
        let text: String = Sealed::new(&question, &[], &ring(1), &entropy).into();
        let good = |text: &str, code, session, seconds, secret| {
            let then = now + TimeDelta::seconds(seconds);
            DeviceQuestion::is_answered_by(text, code, session, then, &ring(secret))
        };
        assert!(good(&text, &code, session, 0, 1) && good(&text, &code, session, 599, 1));
        assert!(!good(&text, &other, session, 0, 1), "another code");
        assert!(!good(&text, &code, foreign, 0, 1), "another session");
        assert!(!good(&text, &code, session, 600, 1), "too old");
        assert!(!good(&text, &code, session, -600, 1), "from the future");
        assert!(!good(&text, &code, session, 0, 2), "not sealed here");
        assert!(!good(&text[1..], &code, session, 0, 1) && !good("", &code, session, 0, 1));
    }
}
