//! Whether the holder of a token shows that it has the key that the token is bound to (RFC 9449).
//!
//! The rules for the proof are in `domain/dpop/proof.rs`. Each kind of surface says here how it was given the token.

use std::fmt;
use std::time::Duration;

use url::Url;

use crate::domain::dpop::proof::Proof;
use crate::domain::dpop::refusal::ProofRefused;
use crate::domain::dpop::thumbprint::Thumbprint;
use crate::domain::dpop::{NonceDemand, nonce};
use crate::domain::key_ring::KeyRing;
use crate::domain::token::TokenFacts;
use crate::error::{Error, ErrorCode, Result};
use crate::state::Broker;

/// A proof as it was sent, and the request that it has to be for.
pub struct ProofRequest {
    /// The header `DPoP`.
    pub jwt: String,
    /// The method of the request.
    pub method: String,
    /// The public address of the request.
    pub url: Url,
}

impl fmt::Debug for ProofRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ProofRequest(…)")
    }
}

/// A token as it was presented.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Its text.
    pub text: &'a str,
    /// How it was presented.
    pub possession: Possession<'a>,
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Presented({:?})", self.possession)
    }
}

/// How a token was presented.
#[derive(Debug, Clone, Copy)]
pub enum Possession<'a> {
    /// With the scheme `Bearer`: the token alone is enough (RFC 6750).
    Bearer,
    /// With the scheme `DPoP` and a proof.
    Proof(&'a ProofRequest),
    /// With the scheme `DPoP`, through a gateway that does not say what its visitor's request is; the text says what it
    /// has to send.
    UnknownRequest(&'static str),
    /// At the token endpoint, as a refresh token, which is bound with its access token.
    Refresh(Option<&'a ProofRequest>),
    /// By another party than the holder, which judges the proof itself or needs none.
    NotAsked,
}

impl Possession<'_> {
    /// Checks what was presented with the token `text`. Returns the proof that is used up with this, if there is one.
    ///
    /// # Errors
    /// The token is bound to a key and the proof is not one of that key for this request and token; or it is not bound and
    /// was presented as if it were. An unbound refresh token may come with a proof: its successor will be bound.
    pub(super) fn check(
        &self,
        broker: &Broker,
        keys: &KeyRing,
        text: &str,
        facts: &TokenFacts,
    ) -> Result<Option<VerifiedProof>, ProofRefused> {
        let always = broker.dpop_nonces == NonceDemand::Always;
        let verified = match (*self, facts.dpop_jkt) {
            (Self::NotAsked, _) | (Self::Bearer | Self::Refresh(None), None) => return Ok(None),
            (Self::Bearer | Self::Refresh(None), Some(_)) => return Err(ProofRefused::Missing),
            (Self::Proof(_) | Self::UnknownRequest(_), None) => return Err(ProofRefused::NotBound),
            (Self::UnknownRequest(why), Some(_)) => return Err(ProofRefused::RequestUnknown(why)),
            (Self::Proof(proof), bound @ Some(_)) => {
                let expected = Expected { key: bound, token: Some(text), nonce: always, for_tokens: false };
                verify(broker, keys, proof, &expected)?
            }
            (Self::Refresh(Some(proof)), bound) => verify_for_grant(broker, keys, proof, bound)?,
        };
        Ok(Some(verified))
    }
}

/// A proof that is good, but may have been used before.
#[derive(Debug)]
pub(super) struct VerifiedProof {
    /// The key that made it.
    pub(super) thumbprint: Thumbprint,
    used_name: String,
    lives_for: Duration,
    /// It came with a request for tokens.
    for_tokens: bool,
}

impl VerifiedProof {
    /// Marks the proof as used, everywhere. Returns whether this is its first use.
    ///
    /// Call this last: a proof that is refused for another reason must not fill the key store.
    ///
    /// # Errors
    /// The key store is unreachable or full: whether the proof was used is unknown.
    pub(super) async fn is_first_use(&self, broker: &Broker) -> Result<bool> {
        Ok(broker.key_store.mark_proof(&self.used_name, self.for_tokens, self.lives_for).await?)
    }
}

/// Verifies the proof of a request for tokens: one of `key`, if the token is bound already.
///
/// # Errors
/// It does not meet RFC 9449 section 4.3, or it needs a nonce.
pub(super) fn verify_for_grant(
    broker: &Broker,
    keys: &KeyRing,
    proof: &ProofRequest,
    key: Option<Thumbprint>,
) -> Result<VerifiedProof, ProofRefused> {
    let nonce = broker.dpop_nonces != NonceDemand::WrongTime;
    verify(broker, keys, proof, &Expected { key, token: None, nonce, for_tokens: true })
}

/// What a proof has to be besides being one for its request.
struct Expected<'a> {
    /// Of this key.
    key: Option<Thumbprint>,
    /// For this token.
    token: Option<&'a str>,
    /// With a nonce, whatever its time.
    nonce: bool,
    /// Of a request for tokens.
    for_tokens: bool,
}

/// The key comes before the nonce, so that someone who tries a stolen token is recorded.
fn verify(
    broker: &Broker,
    keys: &KeyRing,
    request: &ProofRequest,
    expected: &Expected<'_>,
) -> Result<VerifiedProof, ProofRefused> {
    let proof = Proof::verify(&request.jwt)?;
    if expected.key.is_some_and(|key| key != proof.thumbprint) {
        return Err(ProofRefused::OtherKey);
    }
    proof.is_for_request(&request.method, &request.url)?;
    if let Some(token) = expected.token {
        proof.is_for_token(token)?;
    }
    let lives_for = proof.lives_for(keys, broker.clock.now(), expected.nonce)?;
    Ok(VerifiedProof {
        thumbprint: proof.thumbprint,
        used_name: proof.used_name(),
        lives_for: lives_for.to_std().unwrap_or_default(),
        for_tokens: expected.for_tokens,
    })
}

/// A new nonce for proofs.
pub fn new_nonce(broker: &Broker) -> String {
    nonce::issue(&broker.keys.current(), broker.clock.now())
}

/// The error for the holder of a token (RFC 9449 section 7.1).
pub(super) fn error(refused: ProofRefused) -> Error {
    match refused {
        ProofRefused::Nonce => ErrorCode::UseDpopNonce.into(),
        ProofRefused::Missing => Error::new(ErrorCode::InvalidToken).detail(refused.text()).asks_for_dpop(),
        ProofRefused::NotBound | ProofRefused::OtherKey => {
            Error::new(ErrorCode::InvalidToken).detail(refused.text())
        }
        ProofRefused::Invalid(_) | ProofRefused::Replayed | ProofRefused::RequestUnknown(_) => {
            Error::new(ErrorCode::InvalidDpopProof).detail(refused.text())
        }
    }
}

/// The error of a token endpoint (RFC 9449 sections 5 and 8).
pub(super) fn grant_error(refused: ProofRefused) -> Error {
    match refused {
        ProofRefused::Nonce => ErrorCode::UseDpopNonceForGrant.into(),
        _ => Error::new(ErrorCode::InvalidDpopProofForGrant).detail(refused.text()),
    }
}

/// The error of a client that gets bound tokens only and sent no proof.
pub(super) fn proof_required() -> Error {
    Error::new(ErrorCode::InvalidDpopProofForGrant)
        .detail("This client must send a DPoP proof, because its tokens are bound to a key.")
}
