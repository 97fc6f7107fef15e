use super::Caller;
use super::redeem::IssuedToken;
use crate::error::{ErrorCode, Result};
use crate::state::Broker;

pub async fn rotate(_: &Broker, _: &Caller, _: &str) -> Result<IssuedToken> {
    Err(ErrorCode::ServerError.into())
}
