//! `/device/sign_in`: a person signs in for the page that connects devices, as for any client, and comes back to it. The
//! browser gets a session, and no token.

use url::form_urlencoded;

use crate::domain::caller::Caller;
use crate::domain::device_code::UserCode;
use crate::domain::login_destination::LoginDestination;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::AttemptCookie;
use crate::flow::login::ProviderChoice;
use crate::flow::login_request::provider;
pub use crate::flow::to_provider::ToProvider;
use crate::flow::to_provider::{WantedSignIn, send_to_provider};
use crate::state::Broker;
use crate::state::limits::{Counted, count};

/// How a sign-in for this page can fail. The address of the page names the failure; it shows the broker's own text.
const SIGN_IN_FAILURES: [ErrorCode; 11] = [
    ErrorCode::AccessDenied,
    ErrorCode::LoginRequired,
    ErrorCode::InteractionRequired,
    ErrorCode::ConsentRequired,
    ErrorCode::AccountSelectionRequired,
    ErrorCode::InsufficientUserAuthentication,
    ErrorCode::ServerError,
    ErrorCode::ProviderError,
    ErrorCode::InvalidIdToken,
    ErrorCode::TemporarilyUnavailable,
    ErrorCode::ProviderTimeout,
];

/// The providers to sign in at.
pub struct SignInChoice {
    /// The code to come back with.
    pub code: Option<UserCode>,
    /// The providers.
    pub providers: Vec<ProviderChoice>,
    /// Whether the person wants to use another account than before.
    pub other_account: bool,
    /// Why the last attempt to sign in failed.
    pub failure: Option<ErrorCode>,
}

impl SignInChoice {
    /// All providers.
    pub(super) fn new(broker: &Broker, code: Option<UserCode>) -> Self {
        let providers = broker.providers.iter().map(ProviderChoice::of).collect();
        Self { code, providers, other_account: false, failure: None }
    }
}

/// The failure that the address of the page names.
pub(super) fn failure(name: &str) -> Option<ErrorCode> {
    SIGN_IN_FAILURES.into_iter().find(|known| known.as_str() == name)
}

/// The address of the page that connects devices, with this code; `error` says why the person comes back without being signed in.
pub(super) fn address(broker: &Broker, code: Option<&UserCode>, error: Option<ErrorCode>) -> String {
    let code = code.map(|code| ("user_code", code.to_string()));
    let error = error.map(|error| ("error", error.as_str().to_owned()));
    let pairs: Vec<_> = code.into_iter().chain(error).collect();
    let page = format!("{}/device", broker.issuer());
    if pairs.is_empty() {
        return page;
    }
    format!("{page}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

/// A sign-in for this page, each parameter at most once, as it was sent.
#[derive(Default)]
pub struct DeviceSignIn {
    /// The code to come back with.
    pub user_code: Option<String>,
    /// Which provider; may be omitted if there is only one.
    pub provider: Option<String>,
    /// `select_account` for another account than before.
    pub prompt: Option<String>,
    /// The attempts that this browser has open.
    pub open_attempts: Vec<AttemptCookie>,
}

/// Where a sign-in for this page leads.
pub enum DeviceSignInStep {
    /// To the provider.
    Redirect(ToProvider),
    /// To the choice among several.
    Choose(SignInChoice),
}

/// `GET /device/sign_in`: signs the person in, and leads back to the page.
///
/// # Errors
/// `invalid_request`, `rate_limited`, and what the provider's metadata causes.
pub async fn sign_in(broker: &Broker, caller: &Caller, request: DeviceSignIn) -> Result<DeviceSignInStep> {
    count(broker, caller, Counted::Login)?;
    let code: Option<UserCode> = request.user_code.and_then(|text| text.parse().ok());
    let other_account = match request.prompt.as_deref() {
        None => false,
        Some("select_account") => true,
        Some(_) => {
            return Err(Error::invalid_request("The parameter 'prompt' must be select_account."));
        }
    };
    let Some(provider) = provider(broker, request.provider.as_deref())? else {
        return Ok(DeviceSignInStep::Choose(SignInChoice {
            other_account,
            ..SignInChoice::new(broker, code)
        }));
    };
    let wanted = WantedSignIn {
        destination: LoginDestination::DevicePage(code),
        prompt: other_account.then_some("select_account"),
        login_hint: None,
        max_age: None,
    };
    let to_provider = send_to_provider(broker, caller, provider, wanted, &request.open_attempts).await?;
    Ok(DeviceSignInStep::Redirect(to_provider))
}
