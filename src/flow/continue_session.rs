//! Step 1 for a browser that is already signed in: a new token in its session, without a trip to the provider.
//!
//! This serves a reload, a second tab, another SPA and a restarted browser. The session is neither extended nor
//! refreshed: what the provider said at the login holds until the session ends.

use chrono::TimeDelta;

use crate::domain::audit::AuditKind;
use crate::domain::browser_session::BrowserSession;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::session::{Session, SessionRecord};
use crate::domain::standing::{SessionStanding, is_idle_for, session_standing};
use crate::domain::token::TokenOwner;
use crate::domain::user::User;
use crate::error::Result;
use crate::flow::browser_session::{SessionCookieChange, find_opened, is_of};
use crate::flow::hand_over::{Parked, ParkedKey, park_key};
use crate::flow::issue::Issue;
use crate::flow::login_request::ValidLoginRequest;
use crate::flow::react::concerning;
use crate::provider::Provider;
use crate::state::Broker;
use crate::state::audit_trail::Event;

/// The outcome of looking for a session to continue.
pub(super) enum Continuation<'a> {
    /// A key for a new token in the session.
    Key {
        /// The key, parked.
        key: ParkedKey,
        /// The session's cookie, sealed again under the current key.
        session_cookie: SessionCookieChange,
    },
    /// There is no session, or it does not satisfy the request.
    Provider(
        /// The provider to ask: the requested one, the only one, or the session's own for the same person.
        Option<&'a Provider>,
    ),
}

/// Continues the session that `cookie` names, if it is live and satisfies the request.
///
/// The cookie of a session that is over stays: the browser may have got a new one in the meantime, from the callback of
/// another tab, and no answer can delete one cookie and not the other. The next sign-in replaces it.
///
/// # Errors
/// `temporarily_unavailable` if the database or the key store is unreachable: then nothing is known about the session.
pub(super) async fn continue_session<'a>(
    broker: &'a Broker,
    caller: &Caller,
    request: &ValidLoginRequest<'a>,
    cookie: Option<&str>,
) -> Result<Continuation<'a>> {
    let ask = |provider| Ok(Continuation::Provider(provider));
    let Some(cookie) = cookie.filter(|_| request.way_back.client.shares_browser_session()) else {
        return ask(request.provider);
    };
    let Some(presented) = BrowserSession::open(cookie, &broker.keys.current()) else {
        return ask(request.provider);
    };
    let now = broker.clock.now();
    let last_used = broker.last_uses.of(presented.session_id);
    let Some(session) = find_opened(broker, &presented).await?.filter(|found| is_live(found, now)) else {
        return ask(request.provider);
    };
    // An idle session is not continued: otherwise, reloading the page would bypass `inactivity_seconds`.
    if is_idle_for(&session, request.way_back.client, last_used, now)
        || !suits(broker, request, &session, now)
    {
        return ask(request.provider.or_else(|| own_provider(broker, request, &session)));
    }
    match new_token(broker, caller, request, &presented, &session, now).await? {
        Some(key) => {
            let ends = session.state.session.expires_at;
            let session_cookie = SessionCookieChange::keep(broker, &presented, ends, now);
            Ok(Continuation::Key { key, session_cookie })
        }
        // It ended a moment ago.
        None => ask(request.provider),
    }
}

/// Whether a live session satisfies the request: the provider, the person, how fresh the sign-in is.
fn suits(broker: &Broker, request: &ValidLoginRequest<'_>, session: &SessionRecord, now: Timestamp) -> bool {
    let provider = &session.user.provider;
    let its_provider = broker.providers.get(provider).is_some()
        && request.provider.is_none_or(|wanted| wanted.id() == provider);
    let need_not_ask = request.prompt.is_none_or(|prompt| prompt.is_none());
    let fresh = request.max_age.is_none_or(|seconds| {
        // If the provider did not say when the person authenticated, only it can tell.
        let age = session.state.session.auth_time.map(|at| now - at);
        age.is_some_and(|age| age < TimeDelta::seconds(seconds.into()))
    });
    its_provider && need_not_ask && fresh && is_expected(request, &session.user)
}

/// Whether the user is the one that `login_hint` names, if it names one.
fn is_expected(request: &ValidLoginRequest<'_>, user: &User) -> bool {
    request.login_hint.is_none_or(|hint| {
        let username = user.username.as_ref().is_some_and(|name| name.as_str() == hint);
        username || user.email.as_ref().is_some_and(|email| email.as_str().eq_ignore_ascii_case(hint))
    })
}

/// The session's provider, if the same person has to authenticate again: then there is nothing to choose.
fn own_provider<'a>(
    broker: &'a Broker,
    request: &ValidLoginRequest<'_>,
    session: &SessionRecord,
) -> Option<&'a Provider> {
    let same_person =
        is_expected(request, &session.user) && !request.prompt.is_some_and(|prompt| prompt.selects_account());
    let provider = broker.providers.get(&session.user.provider).filter(|_| same_person);
    provider.filter(|provider| request.max_age.is_none() || provider.supports_max_age())
}

/// Parks the key of a new token, and then writes the token, if the session is still live.
///
/// In this order, so that a browser that keeps trying while the key store is unreachable writes no tokens, of which a
/// user has a limited number. No one holds the key before the token is written.
async fn new_token(
    broker: &Broker,
    caller: &Caller,
    request: &ValidLoginRequest<'_>,
    presented: &BrowserSession,
    session: &SessionRecord,
    now: Timestamp,
) -> Result<Option<ParkedKey>> {
    let (way_back, audiences, scopes) =
        (&request.way_back, request.audiences.clone(), request.scopes.clone());
    let issue = Issue::new(broker, way_back.client, audiences, scopes, now).bound_to(way_back.dpop_jkt);
    let Session { id: session_id, expires_at, auth_time, .. } = session.state.session;
    let owner = TokenOwner {
        user_id: session.user.id,
        identity_id: session.identity_id,
        session_id: Some(session_id),
    };
    let token = issue.row(owner, Some(expires_at));
    let facts = token.facts.clone();
    let parked = Parked {
        token: &token,
        session_id,
        auth_time,
        handle: issue.handle().clone(),
        // No one has signed in: see docs/architecture.md, "A browser that is signed in".
        ends_sessions_before: None,
    };
    let key = park_key(broker, caller, way_back, request.challenge.as_ref(), parked).await?;
    let (digest, presented) = (presented.secret.digest(), presented.clone());
    let still = move |found: &SessionRecord| is_of(found, &presented) && is_live(found, now);
    if !broker.storage.add_token(digest, token, now, broker.live_tokens_per_user, still).await? {
        return Ok(None);
    }
    for kind in [AuditKind::SessionContinued, AuditKind::TokenIssued] {
        concerning(Event::new(broker, caller, kind).provider(&session.user.provider), &facts).record();
    }
    Ok(Some(key))
}

fn is_live(session: &SessionRecord, now: Timestamp) -> bool {
    session_standing(session, now) == SessionStanding::Live
}
