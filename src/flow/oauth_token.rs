//! `/oauth2/token`: the token endpoint of standard OAuth 2 (RFC 6749 section 3.2) for public clients.
//!
//! An authorization code is the one-time key under another name, and is redeemed by the same steps; a refresh token renews
//! a token by the steps of [`rotate`](super::rotate). A client that asked for `openid` also gets an ID token.

use crate::domain::audience::AudienceSet;
use crate::domain::caller::Caller;
use crate::domain::client::Client;
use crate::domain::client_text::ClientNonce;
use crate::domain::clock::Timestamp;
use crate::domain::ids::UserId;
use crate::domain::issued_id_token::IdTokenFacts;
use crate::domain::key_ring::{KeyId, KeyRing};
use crate::domain::oauth_request::OPENID;
use crate::domain::one_time_key::Grant;
use crate::domain::refresh_token::RefreshToken;
use crate::domain::scope::ScopeSet;
use crate::domain::signing_key::JwtType;
use crate::domain::standing::refresh_standing;
use crate::domain::token::{TokenFacts, TokenHandle};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::decide::{Denial, Reason, decide_refresh};
use crate::flow::device_token::{self, DEVICE_CODE_GRANT};
use crate::flow::issue::IssuedToken;
use crate::flow::possession::{Possession, Presented as PresentedToken, ProofRequest, proof_required};
use crate::flow::react::{Asker, react, refuse};
use crate::flow::redeem::{Claim, Presented, Redeemed, redeem_presented};
use crate::flow::resources::{is_for, resources};
use crate::flow::rotate::succeed;
use crate::state::Broker;

/// What a client presents, each parameter at most once, as it was sent. Not printable: it holds secrets.
#[derive(Default)]
pub struct TokenRequest {
    /// `authorization_code`, `refresh_token` or [`DEVICE_CODE_GRANT`].
    pub grant_type: Option<String>,
    /// The client.
    pub client_id: Option<String>,
    /// The authorization code.
    pub code: Option<String>,
    /// The address that the authorization request named.
    pub redirect_uri: Option<String>,
    /// The verifier behind the challenge of the authorization request.
    pub code_verifier: Option<String>,
    /// The refresh token.
    pub refresh_token: Option<String>,
    /// The device code.
    pub device_code: Option<String>,
    /// The scopes asked for; the renewed token has those of the one before, so no others.
    pub scope: Option<String>,
    /// The APIs that the token is for (RFC 8707 section 2.2).
    pub resources: Vec<String>,
    /// The DPoP proof, if there is one.
    pub proof: Option<ProofRequest>,
}

/// The tokens of one answer.
pub struct TokenSet {
    /// The access token.
    pub access: IssuedToken,
    /// The refresh token, if the client uses them.
    pub refresh: Option<RefreshToken>,
    /// The ID token, if the client asked for the scope `openid`.
    pub id_token: Option<String>,
}

/// Exchanges a code or a refresh token for tokens.
///
/// # Errors
/// Those of RFC 6749 section 5.2, `invalid_target` (RFC 8707), `origin_not_allowed`, `rate_limited`, and
/// `temporarily_unavailable` if a store is unreachable.
pub async fn token(broker: &Broker, caller: &Caller, request: &TokenRequest) -> Result<TokenSet> {
    let grant_type = required(request.grant_type.as_deref(), "The parameter 'grant_type' is missing.")?;
    if !["authorization_code", "refresh_token", DEVICE_CODE_GRANT].contains(&grant_type) {
        return Err(ErrorCode::UnsupportedGrantType.into());
    }
    let id = required(request.client_id.as_deref(), "The parameter 'client_id' is missing.")?;
    let client = broker.clients.find(id).ok_or(ErrorCode::InvalidClient)?;
    let may_use = match grant_type {
        "refresh_token" => client.refresh_tokens,
        DEVICE_CODE_GRANT => client.device,
        _ => true,
    };
    if client.legacy || !may_use {
        return Err(ErrorCode::UnauthorizedClient.into());
    }
    if caller.origin.as_deref().is_some_and(|origin| !client.has_origin(origin)) {
        return Err(ErrorCode::OriginNotAllowed.into());
    }
    let resources = resources(&request.resources)?;
    match grant_type {
        "refresh_token" => refresh(broker, caller, client, request, resources.as_ref()).await,
        DEVICE_CODE_GRANT => collect(broker, caller, client, request, resources.as_ref()).await,
        _ => redeem_code(broker, caller, client, request, resources.as_ref()).await,
    }
}

async fn redeem_code(
    broker: &Broker,
    caller: &Caller,
    client: &Client,
    request: &TokenRequest,
    resources: Option<&AudienceSet>,
) -> Result<TokenSet> {
    let presented = Presented {
        key: required(request.code.as_deref(), "The parameter 'code' is missing.")?,
        verifier: Some(required(
            request.code_verifier.as_deref(),
            "The parameter 'code_verifier' is missing.",
        )?),
        client_id: Some(client.id.as_str()),
        code_of: Some((&client.id, request.redirect_uri.as_deref())),
        resources,
        proof: request.proof.as_ref(),
    };
    if client.requires_dpop() && presented.proof.is_none() {
        return Err(proof_required());
    }
    let Redeemed { issued, grant } = redeem_presented(broker, caller, &presented).await?;
    token_set(broker, client, issued, &grant)
}

/// Collects the token of a device that its user has connected. With a DPoP proof it becomes bound to the key of the proof.
async fn collect(
    broker: &Broker,
    caller: &Caller,
    client: &Client,
    request: &TokenRequest,
    resources: Option<&AudienceSet>,
) -> Result<TokenSet> {
    let code = required(request.device_code.as_deref(), "The parameter 'device_code' is missing.")?;
    if resources.is_some_and(|resources| !resources.is_subset(&client.audiences)) {
        return Err(ErrorCode::InvalidTarget.into());
    }
    let claim = Claim {
        client_id: Some(client.id.as_str()),
        resources,
        proof: request.proof.as_ref(),
        may_bind: true,
    };
    if client.requires_dpop() && claim.proof.is_none() {
        return Err(proof_required());
    }
    let polled = device_token::poll(broker, caller, client, code, &claim).await;
    let Redeemed { issued, grant } = polled.map_err(as_device_grant)?;
    token_set(broker, client, issued, &grant)
}

fn token_set(broker: &Broker, client: &Client, issued: IssuedToken, grant: &Grant) -> Result<TokenSet> {
    let keys = broker.keys.current();
    TokenSet::new(
        broker,
        client,
        issued,
        &Basis {
            keys: &keys,
            key_id: grant.key_id,
            handle: &grant.handle,
            user: grant.user_id,
            nonce: grant.nonce.as_ref(),
            auth_time: grant.auth_time,
        },
    )
}

/// Renews a token. What is wrong with the refresh token is `invalid_grant`, whatever it is.
async fn refresh(
    broker: &Broker,
    caller: &Caller,
    client: &Client,
    request: &TokenRequest,
    resources: Option<&AudienceSet>,
) -> Result<TokenSet> {
    let missing = "The parameter 'refresh_token' is missing.";
    let presented = required(request.refresh_token.as_deref(), missing)?;
    let possession = Possession::Refresh(request.proof.as_ref());
    let decision = decide_refresh(broker, &PresentedToken { text: presented, possession }).await;
    let access = react(broker, Asker::Holder(caller), decision).await.map_err(as_grant)?;
    let facts = access.facts();
    if facts.client_id != client.id {
        let denial = Denial { reason: Reason::NotFound, record: Some(access.record) };
        return Err(as_grant(refuse(broker, Asker::Holder(caller), &denial).await));
    }
    is_within(request.scope.as_deref(), facts)?;
    is_for(resources, &facts.audiences)?;
    let auth_time = access.record.session.as_ref().and_then(|state| state.session.auth_time);
    let successor = succeed(broker, caller, access, refresh_standing).await.map_err(as_grant)?;
    let facts = &successor.stored.facts;
    TokenSet::new(
        broker,
        client,
        successor.issued()?,
        &Basis {
            keys: &successor.keys,
            key_id: facts.key_id,
            handle: &successor.handle,
            user: facts.owner.user_id,
            nonce: None,
            auth_time,
        },
    )
}

/// What the tokens beside the access token are made from.
struct Basis<'a> {
    keys: &'a KeyRing,
    key_id: KeyId,
    handle: &'a TokenHandle,
    user: UserId,
    nonce: Option<&'a ClientNonce>,
    auth_time: Option<Timestamp>,
}

impl TokenSet {
    fn new(broker: &Broker, client: &Client, access: IssuedToken, basis: &Basis<'_>) -> Result<Self> {
        let id_token = access.scopes.contains(OPENID).then(|| {
            let facts = IdTokenFacts {
                issuer: broker.issuer(),
                user: basis.user,
                client: &client.id,
                nonce: basis.nonce,
                auth_time: basis.auth_time,
                access_token: access.token.expose(),
                issued_at: broker.clock.now(),
            };
            broker.keys.sign(JwtType::IdToken, &facts.claims())
        });
        // The key that proves the handle is the one that issued the row: it may not be the issuing one any more.
        let key = basis.keys.get(basis.key_id).filter(|_| client.refresh_tokens);
        let refresh = key.map(|key| RefreshToken::issue(key, basis.handle));
        Ok(Self { id_token: id_token.transpose()?, access, refresh })
    }
}

fn required<'a>(value: Option<&'a str>, missing: &'static str) -> Result<&'a str> {
    value.ok_or_else(|| Error::invalid_request(missing))
}

/// The error of RFC 6749 section 5.2 for a refresh token that is no longer good.
fn as_grant(error: Error) -> Error {
    match error.code() {
        ErrorCode::InvalidDpopProof => {
            Error::new(ErrorCode::InvalidDpopProofForGrant).detail(error.public_text())
        }
        ErrorCode::InvalidToken if error.dpop_is_asked_for() => {
            Error::new(ErrorCode::InvalidDpopProofForGrant)
                .detail("The refresh token is bound to a key. Send a DPoP proof of that key.")
        }
        ErrorCode::UseDpopNonce => ErrorCode::UseDpopNonceForGrant.into(),
        ErrorCode::InvalidToken | ErrorCode::InsufficientScope => Error::new(ErrorCode::InvalidGrant)
            .detail("The refresh token is unknown, expired, used or revoked. Sign in again."),
        _ => error,
    }
}

/// The text for a device code that is no longer good.
fn as_device_grant(error: Error) -> Error {
    match error.code() {
        ErrorCode::InvalidGrant => error.detail("The device code is unknown, used or expired. Start again."),
        _ => error,
    }
}

/// A renewed token has the scopes of the one before; more cannot be asked for (RFC 6749 section 6).
fn is_within(scope: Option<&str>, facts: &TokenFacts) -> Result<()> {
    let Some(text) = scope else { return Ok(()) };
    let requested: ScopeSet = text.parse().map_err(|_| Error::new(ErrorCode::InvalidScope))?;
    if requested.is_subset(&facts.scopes) { Ok(()) } else { Err(ErrorCode::InvalidScope.into()) }
}
