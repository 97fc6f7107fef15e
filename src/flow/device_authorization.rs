//! `/oauth2/device_authorization`: a device without a browser asks to be connected, and gets a code that its user enters in
//! one (RFC 8628 section 3.1).

use zeroize::Zeroizing;

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::device_code::{DeviceCode, UserCode};
use crate::domain::device_request::{DeviceRequest, WaitingDevice};
use crate::domain::ids::SessionId;
use crate::domain::lifetimes;
use crate::domain::one_time_key::EntryPart;
use crate::domain::token::TokenHandle;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::authorize::scopes;
use crate::flow::device_sign_in::address;
use crate::flow::login_request::audiences;
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::state::limits::{Counted, count};

/// How often a user code is drawn that no other device is waiting with. One draw is enough in practice.
const DRAWS: usize = 3;

/// What a device asks for, each parameter at most once, as it was sent.
#[derive(Default)]
pub struct DeviceAuthorizationRequest {
    /// The client.
    pub client_id: Option<String>,
    /// The scopes of the token; without it, those of the client.
    pub scope: Option<String>,
    /// The APIs that the token is for (RFC 8707); without one, all of the client's.
    pub resources: Vec<String>,
}

/// What a device gets.
pub struct DeviceAuthorization {
    /// The code with which the device asks for its token.
    pub device_code: Zeroizing<String>,
    /// The code that the user enters.
    pub user_code: String,
    /// Where the user enters it.
    pub verification_uri: String,
    /// The same address with the code in it.
    pub verification_uri_complete: String,
    /// Seconds until both codes expire.
    pub expires_in: i64,
    /// Seconds that the device waits between two questions.
    pub interval: i64,
}

/// Starts the connection of a device.
///
/// # Errors
/// `invalid_request`, `invalid_client`, `unauthorized_client`, `invalid_scope` (RFC 6749 section 5.2), `invalid_target`
/// (RFC 8707), `rate_limited`, and `temporarily_unavailable` if the key store is unreachable.
pub async fn authorize_device(
    broker: &Broker,
    caller: &Caller,
    request: &DeviceAuthorizationRequest,
) -> Result<DeviceAuthorization> {
    count(broker, caller, Counted::Device)?;
    let missing = || Error::invalid_request("The parameter 'client_id' is missing.");
    let id = request.client_id.as_deref().ok_or_else(missing)?;
    let client = broker.clients.find(id).ok_or(ErrorCode::InvalidClient)?;
    if !client.device {
        return Err(ErrorCode::UnauthorizedClient.into());
    }
    let device_code = DeviceCode::random(&*broker.entropy);
    let browser = caller.browser();
    let request = DeviceRequest {
        answer: device_code.answer_name(&client.id),
        client_id: client.id.clone(),
        scopes: scopes(client, request.scope.as_deref())?,
        audiences: audiences(client, &request.resources)?,
        user_agent: browser.user_agent.map(|text| text.as_str().to_owned()),
        address_prefix: browser.address_prefix.to_string(),
        session_id: SessionId::random(&*broker.entropy),
        handle: TokenHandle::random(&*broker.entropy),
        expires_at: broker.clock.now() + lifetimes::DEVICE_CODE,
    };
    let user_code = store(broker, client, &device_code, &request).await?;
    Event::new(broker, caller, AuditKind::DeviceStarted).client(&client.id).record();
    Ok(DeviceAuthorization {
        device_code: device_code.expose(),
        user_code: user_code.to_string(),
        verification_uri: address(broker, None, None),
        verification_uri_complete: address(broker, Some(&user_code), None),
        expires_in: lifetimes::DEVICE_CODE.num_seconds(),
        interval: lifetimes::POLL_INTERVAL.num_seconds(),
    })
}

/// Stores the request under both of its codes, and returns the user code.
async fn store(
    broker: &Broker,
    client: &Client,
    device_code: &DeviceCode,
    request: &DeviceRequest,
) -> Result<UserCode> {
    let keys = broker.keys.current();
    let name = device_code.request_name(&client.id);
    let waiting = WaitingDevice { expires_at: request.expires_at }.seal(&name, &keys, &*broker.entropy);
    let known = lifetimes::DEVICE_CODE_KNOWN.to_std().unwrap_or_default();
    broker.key_store.add_request(&name, &waiting, known).await?;
    let life = lifetimes::DEVICE_CODE.to_std().unwrap_or_default();
    for _ in 0..DRAWS {
        let user_code = UserCode::random(&*broker.entropy);
        let name = user_code.request_name(keys.issuing());
        let sealed = request.seal(&name, &keys, &*broker.entropy);
        if broker.key_store.add_request(&name, &sealed, life).await? {
            return Ok(user_code);
        }
    }
    Err(Error::new(ErrorCode::TemporarilyUnavailable).caused_by("every user code that was drawn is in use"))
}
