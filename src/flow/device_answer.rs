//! `POST /device` with an answer: the person connects the device, or refuses to (RFC 8628 section 3.3).
//!
//! The first answer counts. A person whose answer got lost repeats it: the session of the device and the handle of its token
//! were drawn with its codes, so that approving again connects it once.

use chrono::TimeDelta;

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::clock::Timestamp;
use crate::domain::device_code::UserCode;
use crate::domain::device_request::{DeniedDevice, DeviceQuestion, DeviceRequest};
use crate::domain::one_time_key::{EntryPart, Receipt};
use crate::domain::profile::ProfileText;
use crate::domain::session::{Browser, SessionRecord};
use crate::domain::standing::{SessionStanding, session_standing};
use crate::domain::token::StoredToken;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::device_page::{CodeProblem, DevicePage, SignedInPerson, ask, find_request};
use crate::flow::device_sign_in::SignInChoice;
use crate::flow::hand_over::{Parked, sealed_entry};
use crate::flow::issue::Issue;
use crate::flow::react::concerning;
use crate::key_store::NewEntry;
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::storage::sign_in::{DeviceConnected, NewDevice};

/// What the person's form says, each field at most once, as it was sent.
#[derive(Default)]
pub struct AnswerRequest {
    /// The code.
    pub user_code: Option<String>,
    /// The sealed question.
    pub question: Option<String>,
    /// `connect` or `refuse`.
    pub answer: Option<String>,
}

/// Takes the person's answer. One that does not belong to a question which this session was asked about this code is not
/// believed: the person is asked again.
///
/// # Errors
/// `invalid_request` for another answer; `rate_limited` as [`look_up`](super::device_page::look_up);
/// `temporarily_unavailable` if a store is unreachable: then it is unknown whether the answer counts, and repeating is safe.
pub async fn answer(
    broker: &Broker,
    caller: &Caller,
    cookie: Option<&str>,
    request: AnswerRequest,
) -> Result<DevicePage> {
    let connects = match request.answer.as_deref() {
        Some("connect") => true,
        Some("refuse") => false,
        _ => return Err(Error::invalid_request("The parameter 'answer' must be connect or refuse.")),
    };
    let code = request.user_code.unwrap_or_default().parse::<UserCode>();
    let Some(person) = SignedInPerson::find(broker, cookie).await? else {
        return Ok(DevicePage::SignIn(SignInChoice::new(broker, code.ok())));
    };
    let Ok(code) = code else { return Ok(person.enter(broker, CodeProblem::Malformed)) };
    let (session, now, keys) = (person.session.state.session.id, broker.clock.now(), broker.keys.current());
    let question = request.question.unwrap_or_default();
    if !DeviceQuestion::is_answered_by(&question, &code, session, now, &keys) {
        return ask(broker, caller, &person, code).await;
    }
    let Some((request, client)) = find_request(broker, &code).await? else {
        return Ok(person.enter(broker, CodeProblem::Unknown));
    };
    if connects {
        connect(broker, caller, &person, &code, &request, client).await
    } else {
        refuse(broker, caller, &person, &request).await
    }
}

async fn refuse(
    broker: &Broker,
    caller: &Caller,
    person: &SignedInPerson,
    request: &DeviceRequest,
) -> Result<DevicePage> {
    let (now, name) = (broker.clock.now(), &request.answer);
    let seal = || DeniedDevice { at: now }.seal(name, &broker.keys.current(), &*broker.entropy);
    let entry = NewEntry { grant: seal(), receipt: seal() };
    let life = (expiry(broker, request, now) - now).to_std().unwrap_or_default();
    if broker.key_store.on_behalf_of(caller.address).put_new(name, entry, life).await? {
        let event = Event::new(broker, caller, AuditKind::DeviceDenied).client(&request.client_id);
        event.user(person.session.user.id).record();
        return Ok(DevicePage::Refused);
    }
    let denied = first_answer(broker, request).await?.is_none();
    Ok(if denied { DevicePage::Refused } else { person.enter(broker, CodeProblem::Answered) })
}

async fn connect(
    broker: &Broker,
    caller: &Caller,
    person: &SignedInPerson,
    code: &UserCode,
    request: &DeviceRequest,
    client: &Client,
) -> Result<DevicePage> {
    let now = broker.clock.now();
    let (token, auth_time) = match write(broker, person, request, client, now).await? {
        DeviceConnected::Connected { token, auth_time } => (token, auth_time),
        DeviceConnected::Taken => return Ok(person.enter(broker, CodeProblem::Answered)),
        DeviceConnected::NotSignedIn => {
            return Ok(DevicePage::SignIn(SignInChoice::new(broker, Some(code.clone()))));
        }
    };
    let expires_at = expiry(broker, request, now);
    let parked = Parked {
        token: &token,
        session_id: request.session_id,
        auth_time,
        handle: request.handle.clone(),
        ends_sessions_before: None,
    };
    let entry = sealed_entry(broker, &request.answer, parked, None, expires_at);
    let life = (expires_at - now).to_std().unwrap_or_default();
    let connected = DevicePage::Connected { client: client.display_name.clone() };
    let key_store = broker.key_store.on_behalf_of(caller.address);
    if key_store.put_new(&request.answer, entry, life).await? {
        for kind in [AuditKind::DeviceApproved, AuditKind::TokenIssued] {
            let event = Event::new(broker, caller, kind).provider(&person.session.user.provider);
            concerning(event, &token.facts).record();
        }
        return Ok(connected);
    }
    match first_answer(broker, request).await? {
        // The same person has approved before.
        Some(receipt) if receipt.user_id == person.session.user.id => Ok(connected),
        _ => {
            end(broker, caller, &token, now).await;
            Ok(person.enter(broker, CodeProblem::Answered))
        }
    }
}

/// Writes the session of the device and its token, if the browser's session is still live.
async fn write(
    broker: &Broker,
    person: &SignedInPerson,
    request: &DeviceRequest,
    client: &Client,
    now: Timestamp,
) -> Result<DeviceConnected> {
    let (audiences, scopes) = (request.audiences.clone(), request.scopes.clone());
    let issue = Issue::new(broker, client, audiences, scopes, now).with_handle(request.handle.clone());
    let unreadable =
        |_| Error::new(ErrorCode::ServerError).caused_by("the network of a device is unreadable");
    let device = NewDevice {
        approved_in: person.cookie,
        session_id: request.session_id,
        browser: Browser {
            user_agent: request.user_agent.as_deref().and_then(ProfileText::clean),
            address_prefix: request.address_prefix.parse().map_err(unreadable)?,
        },
        now,
        live_tokens: broker.live_tokens_per_user,
    };
    let (session, user) = (person.session.state.session.id, person.session.user.id);
    let is_live = move |found: &SessionRecord| {
        let same = found.state.session.id == session && found.user.id == user;
        same && session_standing(found, now) == SessionStanding::Live
    };
    let row = move |owner, ends| issue.row(owner, Some(ends));
    Ok(broker.storage.connect_device(device, row, is_live).await?)
}

/// The receipt of a device that is connected; `None` if the first answer was a refusal.
async fn first_answer(broker: &Broker, request: &DeviceRequest) -> Result<Option<Receipt>> {
    let sealed = broker.key_store.receipt(&request.answer).await?;
    Ok(sealed.and_then(|sealed| Receipt::open(&sealed, &request.answer, &broker.keys.current())))
}

/// How long the answer waits for the device: as long as its code, and at least as long as a one-time key.
fn expiry(broker: &Broker, request: &DeviceRequest, now: Timestamp) -> Timestamp {
    let life: TimeDelta = broker.lifetimes.one_time_key;
    request.expires_at.max(now + life)
}

/// Ends the session of a device that another answer has refused, later if the database is unreachable now.
async fn end(broker: &Broker, caller: &Caller, token: &StoredToken, now: Timestamp) {
    let Some(session) = token.facts.owner.session_id else { return };
    let event = concerning(Event::new(broker, caller, AuditKind::SessionEnded), &token.facts);
    match broker.storage.end_session(session, now).await {
        Ok(_) => event.record(),
        Err(error) => {
            tracing::error!(%error, session_id = %session, "the session of a refused device will be ended when the database recovers");
            event.end_later(session);
        }
    }
}
