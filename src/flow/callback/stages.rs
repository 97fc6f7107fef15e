//! Stages two to five: code, person, user, key.

use crate::domain::api_token::TokenHandle;
use crate::domain::audit::AuditKind;
use crate::domain::browser_session::{BrowserSession, SessionSecret};
use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::ids::{IdentityId, SessionId, UserId};
use crate::domain::key_ring::KeyRing;
use crate::domain::login_attempt::LoginAttempt;
use crate::domain::logout_attempt::seal_id_token;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::authenticate::about;
use crate::flow::browser_session::SessionCookieChange;
use crate::flow::hand_over::{ParkedKey, park_key};
use crate::flow::issue::{Issue, reopen_handle};
use crate::provider::{CodeExchange, ExchangedGrant, Provider, SignedInProfile};
use crate::state::Broker;
use crate::state::audit_trail::Event;
use crate::storage::records::{NewBrowserSession, SignIn, SignInRefused, SignedIn, StoredToken};

use super::Incomplete;
use super::verify::{Answer, VerifiedCallback};

/// The provider has taken the code back; for OpenID Connect the ID token is verified.
pub(super) struct ExchangedCode<'a> {
    attempt: LoginAttempt,
    client: &'a Client,
    provider: &'a Provider,
    grant: ExchangedGrant,
}

/// The provider has said who it is.
pub(super) struct KnownPerson<'a> {
    attempt: LoginAttempt,
    client: &'a Client,
    person: SignedInProfile,
}

/// User, session and token are in the database; nobody can write the token down yet but us.
pub(super) struct SignedInUser {
    attempt: LoginAttempt,
    token: StoredToken,
    handle: TokenHandle,
    session_cookie: SessionCookieChange,
}

impl<'a> VerifiedCallback<'a> {
    /// Exchanges the code, once.
    pub(super) async fn exchange(self) -> Result<ExchangedCode<'a>> {
        let Self { attempt, client, provider, answer } = self;
        let code = match answer {
            Answer::Code(code) => code,
            Answer::Refused(refusal) => return Err(refusal.into()),
        };
        let grant = provider
            .exchange(CodeExchange {
                code: &code,
                verifier: &attempt.verifier(),
                nonce: &attempt.nonce,
                max_age: attempt.max_age,
            })
            .await?;
        Ok(ExchangedCode { attempt, client, provider, grant })
    }
}

impl<'a> ExchangedCode<'a> {
    /// Asks the provider who signed in; its tokens end here.
    pub(super) async fn profile(self) -> Result<KnownPerson<'a>> {
        let Self { attempt, client, provider, grant } = self;
        let person = provider.profile(grant).await?;
        Ok(KnownPerson { attempt, client, person })
    }
}

impl KnownPerson<'_> {
    /// Finds or creates the user, begins the session and writes the token's row, in one transaction, which ends
    /// the session that the browser had before. The cookie's secret is always a new one (ASVS 7.2.4).
    pub(super) async fn sign_in(
        self,
        broker: &Broker,
        caller: &Caller,
        previous: Option<BrowserSession>,
    ) -> Result<SignedInUser> {
        let Self { attempt, client, person } = self;
        let now = broker.clock.now();
        let issue = Issue::new(broker, client, now);
        let (keys, fresh) = (issue.keys(), issue.handle().clone());
        let session_id = SessionId::random(&*broker.entropy);
        let seal = |token| seal_id_token(token, session_id, &keys, &*broker.entropy);
        let secret = SessionSecret::random(&*broker.entropy);
        // A `legacy` client's sessions share one token over all browsers: none of them is the browser's own.
        let browser_session = (!client.legacy).then(|| NewBrowserSession {
            digest: secret.digest(),
            previous: previous.map(|previous| previous.secret.digest()),
        });
        let sign_in = SignIn {
            sealed_id_token: person.id_token.as_ref().filter(|_| !client.legacy).and_then(seal),
            profile: person.profile,
            client_id: client.id.clone(),
            session_id,
            user_id: UserId::random(&*broker.entropy),
            identity_id: IdentityId::random(&*broker.entropy),
            browser: caller.browser(),
            auth_time: person.auth_time,
            now,
            session_expires_at: now + broker.lifetimes.session,
            browser_session,
            reuse: client.legacy,
            live_tokens: broker.live_tokens_per_user,
        };
        let session_ends = sign_in.session_expires_at;
        let signed_in = write(broker, issue, sign_in).await?;
        let handle = handle(&keys, &signed_in, fresh)?;
        remember(broker, caller, &attempt, &signed_in);
        let SignedIn { token, .. } = signed_in;
        let session_cookie = match browser_session {
            Some(_) => {
                let (session_id, user_id) = (token.facts.session_id, token.facts.user_id);
                let session = BrowserSession { secret, session_id, user_id };
                SessionCookieChange::keep(broker, &session, session_ends, now)
            }
            None => SessionCookieChange::None,
        };
        Ok(SignedInUser { attempt, token, handle, session_cookie })
    }
}

async fn write(broker: &Broker, issue: Issue, sign_in: SignIn) -> Result<SignedIn> {
    let session_ends = sign_in.session_expires_at;
    let keys = issue.keys();
    let written = broker.storage.sign_in(
        sign_in,
        move |user, session| issue.row(user, session, session_ends),
        move |stored| reopen_handle(&keys, stored).is_some(),
    );
    written.await?.map_err(|SignInRefused::UserDisabled| Error::new(ErrorCode::AccessDenied))
}

/// The handle of the row that was written, or of the `legacy` token that lives already.
fn handle(keys: &KeyRing, signed_in: &SignedIn, fresh: TokenHandle) -> Result<TokenHandle> {
    if signed_in.token.facts.handle == fresh.digest() {
        return Ok(fresh);
    }
    reopen_handle(keys, &signed_in.token)
        .ok_or_else(|| Error::new(ErrorCode::ServerError).caused_by("a reused token does not open"))
}

fn remember(broker: &Broker, caller: &Caller, attempt: &LoginAttempt, signed_in: &SignedIn) {
    if let Some((session, user)) = signed_in.ended {
        Event::new(broker, caller, AuditKind::SessionEnded).session(session).user(user).record();
    }
    for kind in [AuditKind::LoginSucceeded, AuditKind::TokenIssued] {
        let event = Event::new(broker, caller, kind).provider(&attempt.provider);
        about(event, &signed_in.token.facts).record();
    }
}

impl SignedInUser {
    /// Parks the key that the SPA will redeem. The browser is given its session cookie with it, and without it, too:
    /// the session it had before is over, and the next login continues this one.
    pub(super) async fn park_key(
        self,
        broker: &Broker,
    ) -> Result<(ParkedKey, SessionCookieChange), Incomplete> {
        let Self { attempt, token, handle, session_cookie } = self;
        match park_key(broker, &token, handle, attempt.challenge.as_ref()).await {
            Ok(key) => Ok((key, session_cookie)),
            Err(error) => Err(Incomplete { session_cookie, ..error.into() }),
        }
    }
}
