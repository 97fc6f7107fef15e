//! The way to the provider: what the broker asks of it, and the attempt in which the browser keeps the login.

use url::Url;

use crate::domain::audit::AuditKind;
use crate::domain::caller::Caller;
use crate::domain::client::ShortDigest;
use crate::domain::clock::Timestamp;
use crate::domain::entropy;
use crate::domain::login_attempt::{AttemptId, LoginAttempt, OidcNonce, State};
use crate::domain::login_destination::LoginDestination;
use crate::error::Result;
use crate::flow::AttemptCookie;
use crate::flow::open_attempts::surplus;
use crate::provider::{AuthorizationRequest, Provider};
use crate::state::Broker;
use crate::state::audit_trail::Event;

/// The browser is sent to the provider.
pub struct ToProvider {
    /// The provider's authorization endpoint with our request.
    pub location: Url,
    /// The cookie of this attempt.
    pub attempt: AttemptCookie,
    /// Older attempts whose cookies are deleted.
    pub forget: Vec<AttemptId>,
}

/// A sign-in as it is wanted of a provider.
pub(super) struct WantedSignIn<'a> {
    /// Where it leads back to.
    pub(super) destination: LoginDestination,
    /// `prompt`, validated.
    pub(super) prompt: Option<&'a str>,
    /// The person who is expected to sign in.
    pub(super) login_hint: Option<&'a str>,
    /// How many seconds ago the person may have authenticated, at most.
    pub(super) max_age: Option<u32>,
}

/// Starts an attempt at this provider.
///
/// # Errors
/// What the provider's metadata causes.
pub(super) async fn send_to_provider(
    broker: &Broker,
    caller: &Caller,
    provider: &Provider,
    wanted: WantedSignIn<'_>,
    open_attempts: &[AttemptCookie],
) -> Result<ToProvider> {
    let WantedSignIn { destination, prompt, login_hint, max_age } = wanted;
    let attempt = LoginAttempt {
        state: State::random(&*broker.entropy),
        started_at: broker.clock.now(),
        provider: provider.id().clone(),
        provider_identity: ShortDigest::of(provider.identity()),
        destination,
        nonce: OidcNonce::random(&*broker.entropy),
        verifier_seed: entropy::bytes(&*broker.entropy),
        max_age,
    };
    let authorization = AuthorizationRequest {
        state: &attempt.state,
        nonce: &attempt.nonce,
        challenge: attempt.verifier().challenge(),
        prompt,
        login_hint,
        max_age,
    };
    let location = provider.authorization_url(&authorization).await?;
    let event = Event::new(broker, caller, AuditKind::LoginStarted).provider(provider.id());
    match &attempt.destination {
        LoginDestination::Client(login) => event.client(&login.client).record(),
        LoginDestination::DevicePage(_) => event.record(),
    }
    Ok(ToProvider {
        location,
        attempt: AttemptCookie {
            id: attempt.state.attempt_id(),
            value: attempt.seal(&broker.keys.current(), &*broker.entropy),
        },
        forget: surplus(open_attempts, |cookie| started(broker, cookie)),
    })
}

/// When an attempt that can still be completed was started.
fn started(broker: &Broker, cookie: &AttemptCookie) -> Option<Timestamp> {
    let attempt = LoginAttempt::open(&cookie.id, &cookie.value, &broker.keys.current())?;
    attempt.is_live(broker.clock.now()).then_some(attempt.started_at)
}
