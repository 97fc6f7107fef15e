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
use crate::domain::refresh_token::RefreshToken;
use crate::domain::scope::ScopeSet;
use crate::domain::signing_key::SigningKey;
use crate::domain::standing::refresh_standing;
use crate::domain::token::{TokenFacts, TokenHandle};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::decide::{Denial, Reason, decide_refresh};
use crate::flow::device_token::{self, DEVICE_CODE_GRANT};
use crate::flow::issue::IssuedToken;
use crate::flow::react::{Asker, react, refuse};
use crate::flow::redeem::{Presented, Redeemed, redeem_presented};
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
    };
    // What the client can never have is refused before the code is spent.
    if resources.is_some_and(|resources| !resources.is_subset(&client.audiences)) {
        return Err(ErrorCode::InvalidTarget.into());
    }
    let redeemed = redeem_presented(broker, caller, &presented).await?;
    token_set(broker, client, redeemed, resources)
}

/// Collects the token of a device that its user has connected.
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
    let redeemed = device_token::poll(broker, caller, client, code).await.map_err(as_device_grant)?;
    token_set(broker, client, redeemed, resources)
}

fn token_set(
    broker: &Broker,
    client: &Client,
    Redeemed { issued, grant }: Redeemed,
    resources: Option<&AudienceSet>,
) -> Result<TokenSet> {
    is_for(resources, &grant.audiences)?;
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
    let decision = decide_refresh(broker, presented).await;
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
        let failed = || Error::new(ErrorCode::ServerError);
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
            let key = SigningKey::of(basis.keys.issuing());
            key.and_then(|key| facts.sign(&key))
                .ok_or_else(|| failed().caused_by("an ID token is not signed"))
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

fn resources(texts: &[String]) -> Result<Option<AudienceSet>> {
    if texts.is_empty() {
        return Ok(None);
    }
    let named = texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
    let set = named.ok().and_then(|named| AudienceSet::new(named).ok());
    set.map(Some).ok_or_else(|| ErrorCode::InvalidTarget.into())
}

/// The authorization request decided which APIs the token is for. A token request may repeat them; it neither widens nor,
/// because the token exists already, narrows them.
fn is_for(resources: Option<&AudienceSet>, audiences: &AudienceSet) -> Result<()> {
    if resources.is_none_or(|resources| resources == audiences) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::InvalidTarget)
        .detail("The parameter 'resource' must be the same as in the authorization request, or be omitted."))
}
