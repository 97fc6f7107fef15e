use super::Caller;
use crate::domain::api_token::ApiToken;
use crate::domain::clock::Timestamp;
use crate::error::{ErrorCode, Result};
use crate::state::Broker;

pub struct RedeemRequest {
    pub one_time_key: String,
    pub code_verifier: Option<String>,
    pub client_id: Option<String>,
}

#[derive(Debug)]
pub struct IssuedToken {
    pub token: ApiToken,
    pub expires_in: i64,
    pub expires_at: Timestamp,
    pub scope: String,
}

pub async fn redeem(_: &Broker, _: &Caller, _: RedeemRequest) -> Result<IssuedToken> {
    Err(ErrorCode::ServerError.into())
}

pub async fn redeem_legacy(_: &Broker, _: &Caller, _: &str) -> Result<Option<IssuedToken>> {
    Err(ErrorCode::ServerError.into())
}
