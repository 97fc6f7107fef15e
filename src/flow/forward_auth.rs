//! Forward-auth: a gateway asks, before each request that it passes on, whether the visitor may use the API behind it.
//!
//! The visitor's token and the policy that the operator has written into the gateway decide, and nothing else of the
//! request. Only if the token is bound to a key, its proof must be for the visitor's request.

use tracing::error;

use crate::domain::caller::Caller;
use crate::domain::dpop::refusal::ProofRefused;
use crate::domain::policy::{Policy, Unmet};
use crate::domain::token::TokenFacts;
use crate::domain::user::{Permissions, User};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::authenticate::Authenticated;
use crate::flow::decide::{Decision, Denial, Need, Reason, decide};
use crate::flow::permissions::permissions;
use crate::flow::possession::Presented;
use crate::flow::react::{Asker, react};
use crate::state::Broker;

/// What a gateway asks.
#[derive(Debug)]
pub struct Question<'a> {
    /// The token that the visitor presents.
    pub presented: Presented<'a>,
    /// The policy that the gateway names, or why its address names none.
    pub policy: std::result::Result<&'a str, &'static str>,
    /// Whether the answer has to contain permissions and groups, even if the policy does not need them.
    pub with_permissions: bool,
}

/// A visitor who may use the API.
#[derive(Debug)]
pub struct Admitted {
    /// The user.
    pub user: User,
    /// What the token is for.
    pub token: TokenFacts,
    /// Permissions and groups of the user, if the policy or the gateway needs them.
    pub permissions: Option<Permissions>,
}

/// Answers a gateway.
///
/// # Errors
/// Those of [`react`]; `insufficient_scope` or `forbidden` for a live token that does not meet the policy;
/// `unknown_policy` if there is no such policy.
pub async fn forward_auth(broker: &Broker, caller: &Caller, question: &Question<'_>) -> Result<Admitted> {
    let policy = question.policy.and_then(|id| {
        broker.policies.find(id).ok_or("no policy has the id that the address of the gateway names")
    });
    // A token for another API is refused as invalid, as by every other surface.
    let need = Need { audience: policy.ok().map(|policy| &policy.audience), ..Need::any_kind(None) };
    let decision = decide(broker, &question.presented, &need).await;
    if let Decision::No(Denial { reason: Reason::Possession(ProofRefused::RequestUnknown(why)), .. }) =
        &decision
    {
        error!(
            "a gateway does not support tokens that are bound to a key, and its visitors are refused: {why}"
        );
    }
    let access = react(broker, Asker::Gateway(caller), decision).await?;
    let policy = policy.map_err(|mistake| misconfigured(question, mistake))?;
    admit(broker, access.into(), policy, question.with_permissions).await
}

/// Applies the policy to a live token.
async fn admit(
    broker: &Broker,
    authenticated: Authenticated,
    policy: &Policy,
    with_permissions: bool,
) -> Result<Admitted> {
    let permissions = if with_permissions || policy.needs_permissions() {
        Some(permissions(broker, &authenticated).await?)
    } else {
        None
    };
    match policy.unmet(&authenticated.token, permissions.as_ref()) {
        None => Ok(Admitted { user: authenticated.user, token: authenticated.token, permissions }),
        Some(Unmet::Scope) => Err(ErrorCode::InsufficientScope.into()),
        Some(Unmet::Client | Unmet::Right) => Err(ErrorCode::Forbidden.into()),
    }
}

/// Reports a gateway that cannot work. Only someone with a live token can cause the line in the log.
fn misconfigured(question: &Question<'_>, mistake: &'static str) -> Error {
    // Another text than an id could be a visitor's.
    let policy = question.policy.ok().filter(|id| id.parse::<crate::domain::ids::PolicyId>().is_ok());
    error!(policy, "a gateway is not configured correctly, and its visitors are refused: {mistake}");
    Error::new(ErrorCode::UnknownPolicy).caused_by(mistake)
}
