//! `/device`: the page on which a person connects a device to their account (RFC 8628 section 3.3).
//!
//! Opening the page does nothing, whatever its address says. A person who is not signed in signs in first, as for any
//! client; so only signed-in people can try codes. Then the page's own form looks the code up, and a second form, which
//! shows what asks, answers (`device_answer.rs`). The answer is bound to the session that was asked.

use crate::domain::audit::AuditKind;
use crate::domain::browser_session::{BrowserSession, SessionDigest};
use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::device::Device;
use crate::domain::device_code::UserCode;
use crate::domain::device_request::{DeviceQuestion, DeviceRequest};
use crate::domain::one_time_key::EntryPart;
use crate::domain::scope::Scope;
use crate::domain::sealed::Sealed;
use crate::domain::session::SessionRecord;
use crate::domain::standing::{SessionStanding, session_standing};
use crate::error::Result;
use crate::flow::browser_session::find_opened;
use crate::flow::device_sign_in::{SignInChoice, failure};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::state::limits::count_user_code;

/// What the page shows.
pub enum DevicePage {
    /// The person signs in first.
    SignIn(SignInChoice),
    /// The form for the code.
    Enter {
        /// Who is signed in.
        account: Account,
        /// The code of the page's address.
        code: Option<UserCode>,
        /// What is wrong with the code that was entered.
        problem: Option<CodeProblem>,
    },
    /// The question whether to connect this device.
    Ask(Box<Question>),
    /// The person has connected the device of this client.
    Connected {
        /// The name of the client.
        client: String,
    },
    /// The person has refused.
    Refused,
}

/// What is wrong with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeProblem {
    /// It is no code.
    Malformed,
    /// No device is waiting with it.
    Unknown,
    /// The question about it was answered before.
    Answered,
}

/// Who is signed in.
pub struct Account {
    /// The person's name, if the provider told it.
    pub person: Option<String>,
    /// The provider's name, if it is still configured.
    pub provider: Option<String>,
}

/// Which device may be connected, and to what.
pub struct Question {
    /// The code that the device shows.
    pub code: UserCode,
    /// The name of the client.
    pub client: String,
    /// Who is signed in.
    pub account: Account,
    /// What the device is called, as far as it can be told.
    pub device: Option<String>,
    /// The network that the device is in.
    pub address_prefix: String,
    /// The scopes that it asks for.
    pub scopes: Vec<String>,
    /// The sealed question, which the answer brings back.
    pub sealed: String,
}

/// `GET /device`: changes nothing.
///
/// # Errors
/// `temporarily_unavailable` if the database is unreachable: then it is unknown whether a person is signed in.
pub async fn open(
    broker: &Broker,
    cookie: Option<&str>,
    code: Option<&str>,
    error: Option<&str>,
) -> Result<DevicePage> {
    let parsed = code.map(str::parse::<UserCode>);
    let code = parsed.clone().and_then(Result::ok);
    let Some(person) = SignedInPerson::find(broker, cookie).await? else {
        let failure = error.and_then(failure);
        return Ok(DevicePage::SignIn(SignInChoice { failure, ..SignInChoice::new(broker, code) }));
    };
    let problem = parsed.and_then(Result::err).map(|_| CodeProblem::Malformed);
    Ok(DevicePage::Enter { account: person.account(broker), code, problem })
}

/// `POST /device` with a code: finds the device and asks.
///
/// # Errors
/// `rate_limited` if codes are entered too often; `temporarily_unavailable` if a store is unreachable.
pub async fn look_up(
    broker: &Broker,
    caller: &Caller,
    cookie: Option<&str>,
    code: Option<&str>,
) -> Result<DevicePage> {
    let code = code.unwrap_or_default().parse::<UserCode>();
    let Some(person) = SignedInPerson::find(broker, cookie).await? else {
        return Ok(DevicePage::SignIn(SignInChoice::new(broker, code.ok())));
    };
    let Ok(code) = code else { return Ok(person.enter(broker, CodeProblem::Malformed)) };
    ask(broker, caller, &person, code).await
}

/// Looks a code up, as often as anyone may, and asks about its device.
pub(super) async fn ask(
    broker: &Broker,
    caller: &Caller,
    person: &SignedInPerson,
    code: UserCode,
) -> Result<DevicePage> {
    let user = person.session.user.id;
    count_user_code(broker, caller, user)?;
    let Some((request, client)) = find_request(broker, &code).await? else {
        Event::new(broker, caller, AuditKind::DeviceCodeRefused).user(user).record();
        return Ok(person.enter(broker, CodeProblem::Unknown));
    };
    if broker.key_store.receipt(&request.answer).await?.is_some() {
        return Ok(person.enter(broker, CodeProblem::Answered));
    }
    let question = DeviceQuestion {
        user_code: code.clone(),
        session_id: person.session.state.session.id,
        asked_at: broker.clock.now(),
    };
    Ok(DevicePage::Ask(Box::new(Question {
        code,
        client: client.display_name.clone(),
        account: person.account(broker),
        device: Device::of(request.user_agent.as_deref()).name,
        address_prefix: request.address_prefix,
        scopes: request.scopes.iter().map(Scope::as_str).map(str::to_owned).collect(),
        sealed: Sealed::new(&question, &[], &broker.keys.current(), &*broker.entropy).into(),
    })))
}

/// The request that waits behind a code, and its client. The code may have been issued under any key of the ring.
pub(super) async fn find_request<'a>(
    broker: &'a Broker,
    code: &UserCode,
) -> Result<Option<(DeviceRequest, &'a Client)>> {
    let keys = broker.keys.current();
    for key in keys.iter() {
        let name = code.request_name(key);
        let Some(sealed) = broker.key_store.find_request(&name).await? else { continue };
        let request = DeviceRequest::open(&sealed, &name, &keys);
        let request = request.filter(|request| broker.clock.now() < request.expires_at);
        return Ok(request.and_then(|request| {
            let client = broker.clients.get(&request.client_id).filter(|client| client.device)?;
            Some((request, client))
        }));
    }
    Ok(None)
}

/// The person who is signed in in a browser.
pub(super) struct SignedInPerson {
    /// The digest of the browser's cookie.
    pub(super) cookie: SessionDigest,
    /// The browser's session, which was live a moment ago.
    pub(super) session: Box<SessionRecord>,
}

impl SignedInPerson {
    /// The person whose live session `cookie` names.
    ///
    /// # Errors
    /// `temporarily_unavailable` if the database is unreachable.
    pub(super) async fn find(broker: &Broker, cookie: Option<&str>) -> Result<Option<Self>> {
        let presented = cookie.and_then(|cookie| BrowserSession::open(cookie, &broker.keys.current()));
        let Some(presented) = presented else { return Ok(None) };
        let now = broker.clock.now();
        let found = find_opened(broker, &presented).await?;
        let live = found.filter(|found| session_standing(found, now) == SessionStanding::Live);
        Ok(live.map(|session| Self { cookie: presented.secret.digest(), session }))
    }

    fn account(&self, broker: &Broker) -> Account {
        let user = &self.session.user;
        Account {
            person: user.name().map(|name| name.as_str().to_owned()),
            provider: broker.providers.get(&user.provider).map(|found| found.display_name().to_owned()),
        }
    }

    /// The form for the code, with what is wrong with the one that was entered.
    pub(super) fn enter(&self, broker: &Broker, problem: CodeProblem) -> DevicePage {
        DevicePage::Enter { account: self.account(broker), code: None, problem: Some(problem) }
    }
}
