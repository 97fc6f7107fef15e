//! `/oauth2/token` with a device code: the device asks until its user has answered (RFC 8628 section 3.4).
//!
//! The answer of a user who approved is an entry like that of a one-time key, and is taken by the steps of
//! [`redeem`](super::redeem): once, and a second time is a replay.

use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::device_code::DeviceCode;
use crate::domain::device_request::{DeniedDevice, WaitingDevice};
use crate::domain::lifetimes;
use crate::domain::one_time_key::EntryPart;
use crate::error::{ErrorCode, Result};
use crate::flow::possession::{grant_error, verify_for_grant};
use crate::flow::redeem::{Claim, Redeemed, redeem_for_device, refuse_device_code};
use crate::key_store::{Pace, Paced};
use crate::state::Broker;
use crate::state::limits::{Counted, count};

/// The `grant_type` of a device code.
pub const DEVICE_CODE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Asks once whether the user has answered.
///
/// # Errors
/// `authorization_pending`, `slow_down`, `access_denied`, `expired_token` (RFC 8628 section 3.5), and those of
/// [`redeem_for_device`].
pub(super) async fn poll(
    broker: &Broker,
    caller: &Caller,
    client: &Client,
    code: &str,
    claim: &Claim<'_>,
) -> Result<Redeemed> {
    count(broker, caller, Counted::Redemption)?;
    let Ok(code) = DeviceCode::parse(code) else { return Err(refuse_device_code(broker, caller).await) };
    // Before the question counts as one: otherwise a device that lacks a nonce would have to wait to come back with it.
    if let Some(proof) = claim.proof {
        verify_for_grant(broker, &broker.keys.current(), proof, None).map_err(grant_error)?;
    }
    let (request, answer) = (code.request_name(&client.id), code.answer_name(&client.id));
    let now = broker.clock.now();
    let pace = Pace {
        now,
        interval: lifetimes::POLL_INTERVAL - lifetimes::POLL_LEEWAY,
        penalty: lifetimes::POLL_INTERVAL,
    };
    let waiting = match broker.key_store.pace_request(&request, pace).await? {
        Paced::InTime(sealed) => WaitingDevice::open(&sealed, &request, &broker.keys.current()),
        Paced::TooEarly => return Err(ErrorCode::SlowDown.into()),
        Paced::Nothing => None,
    };
    let Some(waiting) = waiting else { return Err(refuse_device_code(broker, caller).await) };
    match broker.key_store.receipt(&answer).await? {
        Some(receipt) if DeniedDevice::open(&receipt, &answer, &broker.keys.current()).is_some() => {
            Err(ErrorCode::DeviceDenied.into())
        }
        Some(_) => redeem_for_device(broker, caller, claim, answer).await,
        None if now >= waiting.expires_at => Err(ErrorCode::ExpiredToken.into()),
        None => Err(ErrorCode::AuthorizationPending.into()),
    }
}
