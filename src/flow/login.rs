use url::Url;

use super::Caller;
use crate::domain::ids::ProviderId;
use crate::domain::login_attempt::AttemptId;
use crate::error::{ErrorCode, Result};
use crate::state::Broker;

#[derive(Debug, Clone)]
pub struct AttemptCookie {
    pub id: AttemptId,
    pub value: String,
}

#[derive(Debug, Default)]
pub struct LoginRequest {
    pub client_id: Option<String>,
    pub redirect_uri: Option<String>,
    pub state: Option<String>,
    pub code_challenge: Option<String>,
    pub code_challenge_method: Option<String>,
    pub provider: Option<String>,
    pub prompt: Option<String>,
    pub login_hint: Option<String>,
    pub max_age: Option<String>,
    pub open_attempts: Vec<AttemptCookie>,
}

#[derive(Debug)]
pub struct ProviderChoice {
    pub id: ProviderId,
    pub display_name: String,
}

#[derive(Debug)]
pub enum LoginStep {
    Redirect { location: Url, attempt: AttemptCookie, forget: Vec<AttemptId> },
    Choose { client_name: String, providers: Vec<ProviderChoice> },
}

pub async fn login(_: &Broker, _: &Caller, _: LoginRequest) -> Result<LoginStep> {
    Err(ErrorCode::ServerError.into())
}
