use super::Caller;
use super::authenticate::Authenticated;
use crate::error::{ErrorCode, Result};
use crate::state::Broker;

pub async fn logout(_: &Broker, _: &Caller, _: &Authenticated, _: bool) -> Result<()> {
    Err(ErrorCode::ServerError.into())
}
