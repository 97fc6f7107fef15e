//! Stages two to five: the code, the person, the user, the key.

use secrecy::SecretString;

use crate::domain::audit::AuditKind;
use crate::domain::browser_session::{BrowserSession, SessionSecret};
use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{IdentityId, SessionId, UserId};
use crate::domain::key_ring::KeyRing;
use crate::domain::login_attempt::LoginAttempt;
use crate::domain::logout_attempt::seal_id_token;
use crate::domain::pkce::CodeChallenge;
use crate::domain::profile::Profile;
use crate::domain::standing::{TokenRecord, standing};
use crate::domain::token::{StoredToken, TokenHandle};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::browser_session::SessionCookieChange;
use crate::flow::hand_over::{Parked, ParkedKey, WayBack, park_key};
use crate::flow::issue::{Issue, open_handle};
use crate::flow::react::concerning;
use crate::provider::{CodeExchange, ExchangedGrant, Provider, SignedInProfile};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::storage::sign_in::{
    BrowserSignedIn, NewBrowserSession, PreviousSession, SignIn, SignInRefused, SignedIn,
};

use super::Incomplete;
use super::verify::{Answer, TokenOrder, VerifiedCallback};

/// The provider has accepted the code; for OpenID Connect the ID token is verified.
pub(super) struct ExchangedCode<'a> {
    attempt: LoginAttempt,
    provider: &'a Provider,
    grant: ExchangedGrant,
}

/// The provider has said who it is.
pub(super) struct KnownPerson {
    attempt: LoginAttempt,
    person: SignedInProfile,
}

/// User, session and token are in the database; only the broker can compute the token's text.
pub(super) struct SignedInUser {
    challenge: Option<CodeChallenge>,
    token: StoredToken,
    session_id: SessionId,
    auth_time: Option<Timestamp>,
    handle: TokenHandle,
    session_cookie: SessionCookieChange,
    ends_sessions_before: Option<Timestamp>,
}

impl<'a> VerifiedCallback<'a> {
    /// Exchanges the code, once.
    pub(super) async fn exchange(self) -> Result<ExchangedCode<'a>> {
        let Self { attempt, provider, answer } = self;
        let code = match answer {
            Answer::Code(code) => code,
            Answer::Refused(refusal) => return Err(refusal),
        };
        let grant = provider
            .exchange(CodeExchange {
                code: &code,
                verifier: &attempt.verifier(),
                nonce: &attempt.nonce,
                max_age: attempt.max_age,
            })
            .await?;
        Ok(ExchangedCode { attempt, provider, grant })
    }
}

impl ExchangedCode<'_> {
    /// Asks the provider who signed in; its tokens end here.
    pub(super) async fn profile(self) -> Result<KnownPerson> {
        let Self { attempt, provider, grant } = self;
        let person = provider.profile(grant).await?;
        Ok(KnownPerson { attempt, person })
    }
}

impl KnownPerson {
    /// Finds or creates the user, begins the session and writes the token's row, in one transaction. The session that
    /// the browser had before ends only when the key is redeemed: any site can send the browser to `/login` with
    /// parameters that ask for a new sign-in. The cookie's secret is always a new one (ASVS 7.2.4).
    pub(super) async fn sign_in(
        self,
        broker: &Broker,
        caller: &Caller,
        order: &TokenOrder<'_>,
        previous: Option<BrowserSession>,
    ) -> Result<SignedInUser> {
        let Self { attempt, person } = self;
        let (client, now) = (order.client, broker.clock.now());
        let issue = Issue::new(broker, client, order.audiences.clone(), order.scopes.clone(), now);
        let issue = issue.bound_to(order.dpop_jkt);
        let (keys, fresh) = (issue.keys(), issue.handle().clone());
        let new = NewSession::random(broker);
        let sign_in = SignIn {
            client_id: Some(client.id.clone()),
            browser_session: client
                .shares_browser_session()
                .then(|| new.browser_session(previous, attempt.started_at)),
            reuse: client.legacy,
            sealed_id_token: person
                .id_token
                .as_ref()
                .filter(|_| !client.legacy)
                .and_then(|t| new.seal(broker, t)),
            ..new.sign_in(broker, caller, person.profile, person.auth_time, now)
        };
        let (with_cookie, auth_time) = (sign_in.browser_session.is_some(), sign_in.auth_time);
        let signed_in = write(broker, client, issue, sign_in).await?;
        let handle = handle(&keys, &signed_in, fresh)?;
        remember(broker, caller, &attempt, &signed_in);
        let SignedIn { token, is_same_browser, .. } = signed_in;
        let ends_sessions_before = is_same_browser.then_some(attempt.started_at);
        let session_cookie = match with_cookie {
            true => new.cookie(broker, token.facts.owner.user_id, now),
            false => SessionCookieChange::None,
        };
        let session_id = token.facts.owner.session_id.unwrap_or(new.id);
        Ok(SignedInUser {
            challenge: order.challenge,
            token,
            session_id,
            auth_time,
            handle,
            session_cookie,
            ends_sessions_before,
        })
    }

    /// The same for a page of the broker: the browser gets its session, and there is no token. Nothing ends the session
    /// that it had before: any site can send the browser here too. The next key that is redeemed in this browser does.
    pub(super) async fn sign_in_browser(
        self,
        broker: &Broker,
        caller: &Caller,
        previous: Option<BrowserSession>,
    ) -> Result<SessionCookieChange> {
        let Self { attempt, person } = self;
        let now = broker.clock.now();
        let new = NewSession::random(broker);
        let sign_in = SignIn {
            browser_session: Some(new.browser_session(previous, attempt.started_at)),
            sealed_id_token: person.id_token.as_ref().and_then(|token| new.seal(broker, token)),
            ..new.sign_in(broker, caller, person.profile, person.auth_time, now)
        };
        let BrowserSignedIn { user, ended } = broker
            .storage
            .sign_in_browser(sign_in)
            .await?
            .map_err(|SignInRefused::UserDisabled| Error::new(ErrorCode::AccessDenied))?;
        for session in ended {
            Event::new(broker, caller, AuditKind::SessionEnded).session(session).user(user).record();
        }
        let event = Event::new(broker, caller, AuditKind::LoginSucceeded).provider(&attempt.provider);
        event.user(user).session(new.id).record();
        Ok(new.cookie(broker, user, now))
    }
}

/// A session that is about to begin: its id, and the secret of its cookie.
struct NewSession {
    id: SessionId,
    secret: SessionSecret,
}

impl NewSession {
    fn random(broker: &Broker) -> Self {
        let entropy = &*broker.entropy;
        Self { id: SessionId::random(entropy), secret: SessionSecret::random(entropy) }
    }

    /// The cookie, beside the one of the session that the browser had when the login began.
    fn browser_session(&self, previous: Option<BrowserSession>, login_began: Timestamp) -> NewBrowserSession {
        let previous =
            previous.map(|previous| PreviousSession { digest: previous.secret.digest(), login_began });
        NewBrowserSession { digest: self.secret.digest(), previous }
    }

    fn seal(&self, broker: &Broker, id_token: &SecretString) -> Option<Vec<u8>> {
        seal_id_token(id_token, self.id, &broker.keys.current(), &*broker.entropy)
    }

    /// The login, without what depends on its client.
    fn sign_in(
        &self,
        broker: &Broker,
        caller: &Caller,
        profile: Profile,
        auth_time: Option<Timestamp>,
        now: Timestamp,
    ) -> SignIn {
        SignIn {
            profile,
            client_id: None,
            session_id: self.id,
            user_id: UserId::random(&*broker.entropy),
            identity_id: IdentityId::random(&*broker.entropy),
            browser: caller.browser(),
            auth_time,
            sealed_id_token: None,
            now,
            session_expires_at: now + broker.lifetimes.session,
            browser_session: None,
            reuse: false,
            live_tokens: broker.live_tokens_per_user,
        }
    }

    fn cookie(&self, broker: &Broker, user_id: UserId, now: Timestamp) -> SessionCookieChange {
        let session = BrowserSession { secret: self.secret.clone(), session_id: self.id, user_id };
        SessionCookieChange::keep(broker, &session, now + broker.lifetimes.session, now)
    }
}

async fn write(broker: &Broker, client: &Client, issue: Issue, sign_in: SignIn) -> Result<SignedIn> {
    let (now, session_ends) = (sign_in.now, sign_in.session_expires_at);
    let (keys, client) = (issue.keys(), client.clone());
    let written = broker.storage.sign_in(
        sign_in,
        move |owner| issue.row(owner, Some(session_ends)),
        move |record: &TokenRecord| {
            let usable = standing(record, Some(&client), None, &keys, now).is_usable();
            usable && open_handle(&keys, &record.token).is_some()
        },
    );
    written.await?.map_err(|SignInRefused::UserDisabled| Error::new(ErrorCode::AccessDenied))
}

/// The handle of the row that was written, or of the `legacy` token that is handed out again.
fn handle(keys: &KeyRing, signed_in: &SignedIn, fresh: TokenHandle) -> Result<TokenHandle> {
    if signed_in.token.facts.handle == fresh.digest() {
        return Ok(fresh);
    }
    open_handle(keys, &signed_in.token)
        .ok_or_else(|| Error::new(ErrorCode::ServerError).caused_by("a reused token does not open"))
}

fn remember(broker: &Broker, caller: &Caller, attempt: &LoginAttempt, signed_in: &SignedIn) {
    for session in &signed_in.ended {
        let facts = &signed_in.token.facts;
        let event = Event::new(broker, caller, AuditKind::SessionEnded).client(&facts.client_id);
        event.session(*session).user(facts.owner.user_id).record();
    }
    for kind in [AuditKind::LoginSucceeded, AuditKind::TokenIssued] {
        let event = Event::new(broker, caller, kind).provider(&attempt.provider);
        concerning(event, &signed_in.token.facts).record();
    }
}

impl SignedInUser {
    /// Parks the key that the SPA will redeem. The browser also gets its session cookie if that fails: the next login
    /// continues this session.
    pub(super) async fn park_key(
        self,
        broker: &Broker,
        caller: &Caller,
        way_back: &WayBack<'_>,
    ) -> Result<(ParkedKey, SessionCookieChange), Incomplete> {
        let Self { challenge, token, session_id, auth_time, handle, session_cookie, ends_sessions_before } =
            self;
        let parked = Parked { token: &token, session_id, auth_time, handle, ends_sessions_before };
        match park_key(broker, caller, way_back, challenge.as_ref(), parked).await {
            Ok(key) => Ok((key, session_cookie)),
            Err(error) => Err(Incomplete { session_cookie, ..error.into() }),
        }
    }
}
