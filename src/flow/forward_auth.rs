//! Forward-auth: a gateway asks, before each request that it passes on, whether the visitor may use the API behind it.
//!
//! The visitor's token and the policy that the operator has written into the gateway decide, and nothing else of the
//! request, but for two exceptions. A token that is bound to a key needs a proof for the visitor's request. And if the policy
//! has pages, a browser without a token may present the cookie of the page in its place; then what the browser says about
//! the cause of the request decides too.

use tracing::error;

use crate::domain::audience::Audience;
use crate::domain::caller::Caller;
use crate::domain::dpop::refusal::ProofRefused;
use crate::domain::page_sign_in::PageSession;
use crate::domain::page_visit::PageVisit;
use crate::domain::pages::Pages;
use crate::domain::policy::{Policy, Unmet};
use crate::domain::token::TokenFacts;
use crate::domain::user::{Permissions, User};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::AttemptCookie;
use crate::flow::authenticate::Authenticated;
use crate::flow::decide::{Access, Decision, Denial, Need, Reason, decide};
use crate::flow::page_sign_in::{PageLogin, begin};
use crate::flow::permissions::permissions;
use crate::flow::possession::{Possession, Presented};
use crate::flow::react::{Asker, react};
use crate::state::Broker;

/// What a gateway asks.
#[derive(Debug)]
pub struct Question<'a> {
    /// What the visitor presents.
    pub visitor: Visitor<'a>,
    /// The policy that the gateway names, or why its address names none.
    pub policy: std::result::Result<&'a str, &'static str>,
    /// Whether the answer has to contain permissions and groups, even if the policy does not need them.
    pub with_permissions: bool,
}

/// What a visitor presents.
pub enum Visitor<'a> {
    /// A token. It alone decides, with its proof if it is bound to a key.
    Token(Presented<'a>),
    /// No token.
    Browser(Box<Browser>),
}

impl std::fmt::Debug for Visitor<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Token(_) => "Token(…)",
            Self::Browser(_) => "Browser(…)",
        })
    }
}

/// What a browser without a token sends.
#[derive(Default)]
pub struct Browser {
    /// The request.
    pub visit: PageVisit,
    /// The cookie of the page, if it has one.
    pub session: Option<String>,
    /// The sign-ins that it has open on this origin.
    pub open_attempts: Vec<AttemptCookie>,
    /// Whether the gateway can pass a redirect on.
    pub can_be_redirected: bool,
}

/// The answer to a gateway, if it is not an error.
#[derive(Debug)]
pub enum Answer {
    /// The visitor may use the API.
    Admitted {
        /// The visitor.
        admitted: Box<Admitted>,
        /// Whether the policy has pages: then the broker says which cookies the page may see.
        has_pages: bool,
    },
    /// The visitor is sent away to sign in.
    SignIn(Box<PageLogin>),
}

/// A visitor who may use the API.
#[derive(Debug)]
pub struct Admitted {
    /// The user.
    pub user: User,
    /// What the token is for.
    pub token: TokenFacts,
    /// The API behind the gateway.
    pub audience: Audience,
    /// Permissions and groups of the user, if the policy or the gateway needs them.
    pub permissions: Option<Permissions>,
}

/// Answers a gateway.
///
/// # Errors
/// Those of [`react`]; `insufficient_scope` or `forbidden` for a live token that does not meet the policy;
/// `unknown_policy` if there is no such policy; `origin_not_allowed` for a cookie whose request another site may have
/// caused.
pub async fn forward_auth(broker: &Broker, caller: &Caller, question: &Question<'_>) -> Result<Answer> {
    let policy = question.policy.and_then(|id| {
        broker.policies.find(id).ok_or("no policy has the id that the address of the gateway names")
    });
    let token = match &question.visitor {
        Visitor::Token(token) => token,
        Visitor::Browser(browser) => {
            let Ok(policy) = policy else { return Err(ErrorCode::MissingToken.into()) };
            return visit(broker, caller, policy, browser, question.with_permissions).await;
        }
    };
    let access = access(broker, caller, *token, policy.ok()).await?;
    let policy = policy.map_err(|mistake| misconfigured(question, mistake))?;
    let admitted = admit(broker, access.into(), policy, question.with_permissions).await?;
    Ok(Answer::Admitted { admitted: Box::new(admitted), has_pages: policy.pages.is_some() })
}

/// Whether a person waits for the answer: a navigation of the window to one of the pages of the policy.
pub fn is_for_a_person(broker: &Broker, question: &Question<'_>) -> bool {
    let Visitor::Browser(browser) = &question.visitor else { return false };
    let policy = question.policy.ok().and_then(|id| broker.policies.find(id));
    let pages = policy.and_then(|policy| policy.pages.as_ref());
    let visit = &browser.visit;
    let is_page = |origin| pages.is_some_and(|pages| pages.origins.contains(origin));
    visit.origin.as_ref().is_some_and(is_page) && visit.is_top_level_navigation()
}

/// Decides about a token. One for another API is refused as invalid, as by every other surface.
async fn access(
    broker: &Broker,
    caller: &Caller,
    presented: Presented<'_>,
    policy: Option<&Policy>,
) -> Result<Access> {
    let need = Need { audience: policy.map(|policy| &policy.audience), ..Need::any_kind(None) };
    let decision = decide(broker, &presented, &need).await;
    if let Decision::No(Denial { reason: Reason::Possession(ProofRefused::RequestUnknown(why)), .. }) =
        &decision
    {
        error!(
            "a gateway does not support tokens that are bound to a key, and its visitors are refused: {why}"
        );
    }
    react(broker, Asker::Gateway(caller), decision).await
}

/// Answers for a browser without a token: lets the cookie of the page in, sends a navigation away to sign in, and refuses
/// everything else so that a program can read it.
async fn visit(
    broker: &Broker,
    caller: &Caller,
    policy: &Policy,
    browser: &Browser,
    with_permissions: bool,
) -> Result<Answer> {
    let missing = || Error::new(ErrorCode::MissingToken);
    let Some(pages) = &policy.pages else { return Err(missing()) };
    let visit = &browser.visit;
    let Some(origin) = visit.origin.as_ref().filter(|origin| pages.origins.contains(origin)) else {
        return Err(missing().caused_by(unusable_origin(visit)));
    };
    let session = browser.session.as_deref();
    let session =
        session.and_then(|cookie| PageSession::open(cookie, &policy.id, origin, &broker.keys.current()));
    let sign_in = |refusal: Error| {
        let target = visit.target.as_deref().filter(|_| visit.may_sign_in() && browser.can_be_redirected);
        let login = target.and_then(|target| begin(broker, policy, origin, target, &browser.open_attempts));
        login.map(|login| Answer::SignIn(Box::new(login))).ok_or(refusal)
    };
    let Some(session) = session else { return sign_in(missing()) };
    if !visit.may_use_cookie(&pages.origins) {
        return Err(of_another_site());
    }
    let presented = Presented { text: &session.token, possession: Possession::Bearer };
    let access = match access(broker, caller, presented, Some(policy)).await {
        Ok(access) => access,
        Err(refusal) if refusal.code() == ErrorCode::InvalidToken => return sign_in(refusal),
        Err(error) => return Err(error),
    };
    let access = of_pages(access, pages)?;
    let mut admitted = admit(broker, access.into(), policy, with_permissions).await.map_err(for_a_person)?;
    // An assertion for one site must be worth nothing at another one, also if their policies share an audience.
    admitted.audience = origin.as_str().parse().map_err(|_| ErrorCode::ServerError)?;
    Ok(Answer::Admitted { admitted: Box::new(admitted), has_pages: true })
}

/// A cookie of a page holds a token of its internal client and no other.
fn of_pages(access: Access, pages: &Pages) -> Result<Access> {
    if access.facts().client_id == pages.client { Ok(access) } else { Err(ErrorCode::InvalidToken.into()) }
}

/// The person knows of no token.
fn for_a_person(error: Error) -> Error {
    match error.code() {
        ErrorCode::Forbidden | ErrorCode::InsufficientScope => Error::new(ErrorCode::Forbidden).detail(
            "Your account may not use this page. Ask the people who run it, or sign in with another one.",
        ),
        _ => error,
    }
}

/// Why no page is visited, for the log.
fn unusable_origin(visit: &PageVisit) -> &'static str {
    if visit.origin.is_none() {
        "the policy has pages, but no gateway of server.trusted_proxies says which one is visited: it must send one \
         X-Forwarded-Proto and one X-Forwarded-Host"
    } else {
        "the policy has pages, but the visited origin is not one of them"
    }
}

fn of_another_site() -> Error {
    Error::new(ErrorCode::OriginNotAllowed).detail(
        "The cookie does not count for this request: it was not sent by a page of this site, or the browser or the gateway \
         does not say so.",
    )
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
        None => Ok(Admitted {
            user: authenticated.user,
            token: authenticated.token,
            audience: policy.audience.clone(),
            permissions,
        }),
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
