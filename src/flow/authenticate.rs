//! Step 4, every API call: checks that the bearer token is live and has what the endpoint requires.

use crate::domain::caller::Caller;
use crate::domain::ids::IdentityId;
use crate::domain::session::Session;
use crate::domain::token::TokenFacts;
use crate::domain::user::User;
use crate::error::{Error, ErrorCode, Result};
use crate::flow::decide::{Access, Need, decide};
use crate::flow::possession::Presented;
use crate::flow::react::{Asker, react};
use crate::state::Broker;

/// Who calls, proven by a live token.
#[derive(Debug)]
pub struct Authenticated {
    /// The user.
    pub user: User,
    /// The session that the token belongs to, if its kind has one.
    pub session: Option<Session>,
    /// What the token is for.
    pub token: TokenFacts,
}

impl Authenticated {
    /// The identity with which the user signed in.
    pub fn identity_id(&self) -> IdentityId {
        self.token.owner.identity_id
    }
}

impl From<Access> for Authenticated {
    fn from(access: Access) -> Self {
        let record = *access.record;
        Self {
            user: record.user,
            session: record.session.map(|state| state.session),
            token: record.token.facts,
        }
    }
}

/// Who calls, proven by a live token of a session.
#[derive(Debug)]
pub struct SignedIn {
    /// The user.
    pub user: User,
    /// The session that the token belongs to.
    pub session: Session,
    /// What the token is for.
    pub token: TokenFacts,
}

impl TryFrom<Authenticated> for SignedIn {
    type Error = Error;

    fn try_from(authenticated: Authenticated) -> Result<Self> {
        let Authenticated { user, session, token } = authenticated;
        let session = session.ok_or(ErrorCode::InsufficientScope)?;
        Ok(Self { user, session, token })
    }
}

/// Checks a presented token for an endpoint that needs `need`.
///
/// # Errors
/// Those of [`react`].
pub async fn authenticate(
    broker: &Broker,
    caller: &Caller,
    presented: &Presented<'_>,
    need: &Need<'_>,
) -> Result<Access> {
    let decision = decide(broker, presented, need).await;
    react(broker, Asker::Holder(caller), decision).await
}
