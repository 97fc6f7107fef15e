//! Stages two to five: code, person, user, key.

use chrono::TimeDelta;

use crate::domain::api_token::TokenHandle;
use crate::domain::audit::AuditKind;
use crate::domain::client::Client;
use crate::domain::ids::{IdentityId, SessionId, UserId};
use crate::domain::key_ring::KeyRing;
use crate::domain::login_attempt::LoginAttempt;
use crate::domain::one_time_key::{EntryPart, Grant, OneTimeKey, Receipt};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::Caller;
use crate::flow::audit_trail::Event;
use crate::flow::issue::{Issue, reopen_handle};
use crate::key_store::NewEntry;
use crate::provider::{CodeExchange, ExchangedGrant, Provider, SignedInProfile};
use crate::state::Broker;
use crate::storage::records::{SignIn, SignInRefused, SignedIn, StoredToken};

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
}

/// The key that the SPA will redeem is in the key store.
pub(super) struct ParkedKey {
    pub(super) key: OneTimeKey,
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
    /// Finds or creates the user, begins the session and writes the token's row, in one transaction.
    pub(super) async fn sign_in(self, broker: &Broker, caller: &Caller) -> Result<SignedInUser> {
        let Self { attempt, client, person } = self;
        let now = broker.clock.now();
        let issue = Issue::new(broker, client, now);
        let fresh = issue.handle().clone();
        let sign_in = SignIn {
            profile: person.profile,
            client_id: client.id.clone(),
            session_id: SessionId::random(&*broker.entropy),
            user_id: UserId::random(&*broker.entropy),
            identity_id: IdentityId::random(&*broker.entropy),
            browser: caller.browser(),
            auth_time: person.auth_time,
            now,
            session_expires_at: now + broker.lifetimes.session,
            reuse: client.legacy,
            live_tokens: broker.live_tokens_per_user,
        };
        let session_ends = sign_in.session_expires_at;
        let keys = issue.keys();
        let opening = keys.clone();
        let signed_in = broker
            .storage
            .sign_in(
                sign_in,
                move |user, session| issue.row(user, session, session_ends),
                move |stored| reopen_handle(&opening, stored).is_some(),
            )
            .await?
            .map_err(|SignInRefused::UserDisabled| Error::new(ErrorCode::AccessDenied))?;
        let handle = handle(&keys, &signed_in, fresh)?;
        remember(broker, caller, &attempt, &signed_in);
        Ok(SignedInUser { attempt, token: signed_in.token, handle })
    }
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
    let facts = &signed_in.token.facts;
    for kind in [AuditKind::LoginSucceeded, AuditKind::TokenIssued] {
        Event::new(broker, caller, kind)
            .client(&attempt.client)
            .provider(&attempt.provider)
            .user(facts.user_id)
            .session(facts.session_id)
            .token(facts.handle)
            .record();
    }
}

impl SignedInUser {
    /// Parks the sealed grant under a name that only key and verifier together lead to.
    pub(super) async fn park_key(self, broker: &Broker) -> Result<ParkedKey> {
        let Self { attempt, token, handle } = self;
        let facts = token.facts;
        let life: TimeDelta = broker.lifetimes.one_time_key;
        let key = OneTimeKey::random(&*broker.entropy);
        let name = key.entry_name(attempt.challenge.as_ref());
        let receipt = Receipt {
            user_id: facts.user_id,
            session_id: facts.session_id,
            client_id: facts.client_id.clone(),
        };
        let grant = Grant {
            handle,
            key_id: facts.key_id,
            user_id: facts.user_id,
            session_id: facts.session_id,
            client_id: facts.client_id,
            scope: facts.scope,
            token_expires_at: facts.expires_at,
            key_expires_at: broker.clock.now() + life,
        };
        let keys = broker.keys.current();
        let entry = NewEntry {
            grant: grant.seal(&name, &keys, &*broker.entropy),
            receipt: receipt.seal(&name, &keys, &*broker.entropy),
        };
        broker.key_store.put(&name, entry, life.to_std().unwrap_or_default()).await?;
        Ok(ParkedKey { key })
    }
}
