//! Step 1 for a browser that is signed in: a new token in the session it has, without a trip to the provider.
//!
//! A reload, a second tab, another SPA and a restarted browser come here. The session is neither prolonged nor
//! refreshed: what the provider said at the login holds until the session ends.

use chrono::TimeDelta;

use crate::domain::audit::AuditKind;
use crate::domain::browser_session::BrowserSession;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::user::User;
use crate::error::Result;
use crate::flow::authenticate::about;
use crate::flow::browser_session::{SessionCookieChange, find_opened, is_live, is_of};
use crate::flow::hand_over::{ParkedKey, park_key};
use crate::flow::issue::Issue;
use crate::flow::login::Asked;
use crate::provider::Provider;
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::storage::records::BrowserSessionRecord;

/// What a session, or its absence, leads to.
pub(super) enum Continuation<'a> {
    /// A key for a new token in the session.
    Key {
        /// The key, parked.
        key: ParkedKey,
        /// The session's cookie, sealed anew under the key that seals now.
        session_cookie: SessionCookieChange,
    },
    /// There is no session, or it is not what was asked for.
    Provider {
        /// Who to ask: the one that was named, or the only one, or the session's own for the same person.
        provider: Option<&'a Provider>,
        /// The cookie goes where its session is over.
        session_cookie: SessionCookieChange,
    },
}

/// Continues the session that `cookie` names, if it is live and is what was asked for.
///
/// # Errors
/// `temporarily_unavailable` while database or key store is away: then nothing is known about the session.
pub(super) async fn continue_session<'a>(
    broker: &'a Broker,
    caller: &Caller,
    asked: &Asked<'a>,
    cookie: Option<&str>,
) -> Result<Continuation<'a>> {
    let ask = |provider, session_cookie| Ok(Continuation::Provider { provider, session_cookie });
    // One token for all browsers is the contract of a `legacy` client: it has no part in this browser's session.
    let Some(cookie) = cookie.filter(|_| !asked.way_back.client.legacy) else {
        return ask(asked.provider, SessionCookieChange::None);
    };
    let Some(presented) = BrowserSession::open(cookie, &broker.keys.current()) else {
        return ask(asked.provider, SessionCookieChange::Forget);
    };
    let now = broker.clock.now();
    let last_used = broker.last_uses.of(presented.session_id);
    let Some(session) = find_opened(broker, &presented).await?.filter(|found| is_live(found, now)) else {
        return ask(asked.provider, SessionCookieChange::Forget);
    };
    // Otherwise the limit would be one that a reload of the page lifts.
    let last_used = last_used.max(session.session_last_used_at).unwrap_or(session.session.created_at);
    if asked.way_back.client.is_idle(last_used, now) || !suits(broker, asked, &session, now) {
        return ask(
            asked.provider.or_else(|| own_provider(broker, asked, &session)),
            SessionCookieChange::None,
        );
    }
    match new_token(broker, caller, asked, &presented, &session, now).await? {
        Some(key) => {
            let ends = session.session.expires_at;
            let session_cookie = SessionCookieChange::keep(broker, &presented, ends, now);
            Ok(Continuation::Key { key, session_cookie })
        }
        // It ended a moment ago.
        None => ask(asked.provider, SessionCookieChange::Forget),
    }
}

/// Whether a live session is what was asked for: the provider, the person, how fresh the sign-in is.
fn suits(broker: &Broker, asked: &Asked<'_>, session: &BrowserSessionRecord, now: Timestamp) -> bool {
    let provider = &session.user.provider;
    let its_provider = broker.providers.get(provider).is_some()
        && asked.provider.is_none_or(|wanted| wanted.id() == provider);
    let need_not_ask = asked.prompt.is_none_or(|prompt| prompt.is_none());
    let fresh = asked.max_age.is_none_or(|seconds| {
        // Where the provider did not say when the person signed in, only it can tell.
        let age = session.session.auth_time.map(|at| now - at);
        age.is_some_and(|age| age < TimeDelta::seconds(seconds.into()))
    });
    its_provider && need_not_ask && fresh && is_expected(asked, &session.user)
}

/// Whether the user is the one that `login_hint` names, if it names one.
fn is_expected(asked: &Asked<'_>, user: &User) -> bool {
    asked.login_hint.is_none_or(|hint| {
        let username = user.username.as_ref().is_some_and(|name| name.as_str() == hint);
        username || user.email.as_ref().is_some_and(|email| email.as_str().eq_ignore_ascii_case(hint))
    })
}

/// The session's provider, where the same person shall prove again who they are: nothing to choose then.
fn own_provider<'a>(
    broker: &'a Broker,
    asked: &Asked<'_>,
    session: &BrowserSessionRecord,
) -> Option<&'a Provider> {
    let same_person =
        is_expected(asked, &session.user) && !asked.prompt.is_some_and(|prompt| prompt.selects_account());
    let provider = broker.providers.get(&session.user.provider).filter(|_| same_person);
    provider.filter(|provider| asked.max_age.is_none() || provider.supports_max_age())
}

/// Parks the key of a new token, and then writes the token, if the session still lives.
///
/// In this order, so that a browser which tries again and again while the key store is away writes no tokens, of
/// which a user has a limited number. Nobody holds the key before the token is written.
async fn new_token(
    broker: &Broker,
    caller: &Caller,
    asked: &Asked<'_>,
    presented: &BrowserSession,
    session: &BrowserSessionRecord,
    now: Timestamp,
) -> Result<Option<ParkedKey>> {
    let issue = Issue::new(broker, asked.way_back.client, now);
    let token = issue.row(session.user.id, session.session.id, session.session.expires_at);
    let facts = token.facts.clone();
    let key = park_key(broker, &token, issue.handle().clone(), asked.challenge.as_ref()).await?;
    let (digest, presented) = (presented.secret.digest(), presented.clone());
    let still = move |found: &BrowserSessionRecord| is_of(found, &presented) && is_live(found, now);
    if !broker.storage.add_token(digest, token, now, broker.live_tokens_per_user, still).await? {
        return Ok(None);
    }
    for kind in [AuditKind::SessionContinued, AuditKind::TokenIssued] {
        about(Event::new(broker, caller, kind).provider(&session.user.provider), &facts).record();
    }
    Ok(Some(key))
}
