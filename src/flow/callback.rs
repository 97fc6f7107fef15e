use super::Caller;
use super::login::AttemptCookie;
use crate::domain::login_attempt::AttemptId;
use crate::error::{ErrorCode, Result};
use crate::state::Broker;

#[derive(Debug)]
pub struct CallbackRequest {
    pub path: String,
    pub code: Option<String>,
    pub state: Option<String>,
    pub iss: Option<String>,
    pub error: Option<String>,
    pub attempts: Vec<AttemptCookie>,
    pub conflicting: Vec<AttemptId>,
}

#[derive(Debug)]
pub struct CallbackEnd {
    pub location: String,
    pub forget: Option<AttemptId>,
}

pub async fn callback(_: &Broker, _: &Caller, _: CallbackRequest) -> Result<CallbackEnd> {
    Err(ErrorCode::ServerError.into())
}
