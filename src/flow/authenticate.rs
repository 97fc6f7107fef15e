use super::Caller;
use crate::domain::api_token::TokenFacts;
use crate::domain::session::Session;
use crate::domain::user::User;
use crate::error::{ErrorCode, Result};
use crate::state::Broker;

#[derive(Debug)]
pub struct Authenticated {
    pub user: User,
    pub session: Session,
    pub token: TokenFacts,
}

pub async fn authenticate(_: &Broker, _: &Caller, _: &str) -> Result<Authenticated> {
    Err(ErrorCode::ServerError.into())
}
