//! What an ID token must say before anything in it, or anything else of the login, is believed
//! (OpenID Connect Core sections 3.1.3.7 and 3.1.3.8).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{self, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use jsonwebtoken::Algorithm;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::ProviderError;
use super::json::Object;
use super::jwt::{Refused, VerifiedJwt};
use crate::domain::clock::Timestamp;
use crate::domain::login_attempt::OidcNonce;
use crate::domain::profile::Subject;

/// How far the provider's clock may be from ours, in seconds.
const SKEW: f64 = 60.0;

/// How old a token may be when it arrives, in seconds.
const OLDEST: f64 = 600.0;

/// What the token is compared with.
pub(super) struct Expected<'a> {
    /// The configured issuer.
    pub(super) issuer: &'a str,
    /// The broker's `client_id`.
    pub(super) client_id: &'a str,
    /// Audiences that may stand beside it.
    pub(super) trusted_audiences: &'a [String],
    /// The attempt's nonce.
    pub(super) nonce: &'a OidcNonce,
    /// The `max_age` that was asked for, in seconds.
    pub(super) max_age: Option<u32>,
    /// The `acr_values` that were asked for.
    pub(super) acr_values: &'a [String],
    /// The access token that came with it.
    pub(super) access_token: &'a SecretString,
    /// The time.
    pub(super) now: Timestamp,
}

/// An ID token that passed every check.
pub(super) struct IdToken {
    /// Who signed in.
    pub(super) subject: Subject,
    /// The provider's session (`sid`).
    pub(super) session: Option<String>,
    /// When the person last proved who they are.
    pub(super) auth_time: Option<Timestamp>,
    /// All claims, for the mapping.
    pub(super) claims: Object,
}

impl Expected<'_> {
    /// Checks the claims of a token whose signature was verified.
    ///
    /// # Errors
    ///
    /// InvalidIdToken for a token that must not be believed, InsufficientAuthentication for a good one that
    /// tells of an older or weaker sign-in than was asked for.
    pub(super) fn check(&self, token: VerifiedJwt) -> Result<IdToken, ProviderError> {
        let claims = Claims(&token.claims);
        check_parties(claims, self.issuer, self.client_id, self.trusted_audiences)?;
        self.check_times(claims)?;
        self.check_nonce(claims)?;
        self.check_access_token(claims, token.algorithm)?;
        let subject = claims.text("sub")?.unwrap_or_default();
        let subject = subject.parse().map_err(|_| Refused("sub is not a usable subject"))?;
        let session = claims.text("sid")?.map(str::to_owned);
        let auth_time = self.check_strength(claims)?;
        Ok(IdToken { subject, session, auth_time, claims: token.claims })
    }

    fn check_times(&self, claims: Claims<'_>) -> Result<(), Refused> {
        let now = seconds(self.now);
        let expires = claims.time("exp")?.ok_or(Refused("exp is missing"))?;
        if now >= expires + SKEW {
            return Err(Refused("it has expired"));
        }
        let issued = claims.time("iat")?.ok_or(Refused("iat is missing"))?;
        if now - issued > OLDEST {
            return Err(Refused("it was issued more than ten minutes ago"));
        }
        if issued - now > SKEW {
            return Err(Refused("it was issued in the future"));
        }
        if claims.time("nbf")?.is_some_and(|not_before| not_before - now > SKEW) {
            return Err(Refused("it is not valid yet"));
        }
        Ok(())
    }

    fn check_nonce(&self, claims: Claims<'_>) -> Result<(), Refused> {
        let nonce = claims.text("nonce")?.ok_or(Refused("nonce is missing"))?;
        if self.nonce.matches(nonce) { Ok(()) } else { Err(Refused("nonce is not this login's")) }
    }

    /// `at_hash`: the left half of the access token's digest, by the hash of the signature's algorithm.
    fn check_access_token(&self, claims: Claims<'_>, algorithm: Algorithm) -> Result<(), Refused> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let Some(claimed) = claims.text("at_hash")? else { return Ok(()) };
        let hash = match algorithm {
            RS256 | PS256 | ES256 => &digest::SHA256,
            RS384 | PS384 | ES384 => &digest::SHA384,
            RS512 | PS512 | EdDSA => &digest::SHA512,
            _ => return Err(Refused("at_hash is of an unknown algorithm")),
        };
        let whole = digest(hash, self.access_token.expose_secret().as_bytes());
        let half = URL_SAFE_NO_PAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2]);
        verify_slices_are_equal(half.as_bytes(), claimed.as_bytes())
            .map_err(|_| Refused("at_hash does not match the access token"))
    }

    /// `auth_time` and `acr`, against what was asked for.
    fn check_strength(&self, claims: Claims<'_>) -> Result<Option<Timestamp>, ProviderError> {
        let now = seconds(self.now);
        let auth_time = claims.time("auth_time")?;
        if auth_time.is_some_and(|at| at - now > SKEW) {
            return Err(Refused("auth_time is in the future").into());
        }
        if let Some(max_age) = self.max_age {
            let at = auth_time.ok_or(Refused("auth_time is missing although max_age was asked for"))?;
            if now - at > f64::from(max_age) + SKEW {
                let text = "the person signed in longer ago than max_age";
                return Err(ProviderError::InsufficientAuthentication(text.to_owned()));
            }
        }
        let acr = claims.text("acr")?;
        let acr_is_asked_for = acr.is_some_and(|acr| self.acr_values.iter().any(|asked| asked == acr));
        if !self.acr_values.is_empty() && !acr_is_asked_for {
            let text = "acr is none of the acr_values asked for";
            return Err(ProviderError::InsufficientAuthentication(text.to_owned()));
        }
        Ok(auth_time.and_then(|at| DateTime::from_timestamp(at as i64, 0)))
    }
}

/// Who made the token and for whom: `iss`, `aud` and `azp`, exactly.
pub(super) fn check_parties(
    claims: Claims<'_>,
    issuer: &str,
    client_id: &str,
    trusted_audiences: &[String],
) -> Result<(), Refused> {
    if claims.text("iss")? != Some(issuer) {
        return Err(Refused("iss is not the configured issuer"));
    }
    let audiences = claims.audiences()?;
    if !audiences.contains(&client_id) {
        return Err(Refused("aud does not contain this client"));
    }
    let trusted = |audience: &&str| *audience == client_id || trusted_audiences.iter().any(|a| a == audience);
    if !audiences.iter().all(trusted) {
        return Err(Refused("aud contains an audience that is not trusted by name"));
    }
    match claims.text("azp")? {
        Some(authorized) if authorized != client_id => Err(Refused("azp is another client")),
        None if audiences.len() > 1 => Err(Refused("azp is missing beside several audiences")),
        _ => Ok(()),
    }
}

/// Claims read by type: one of the wrong type is an error, never an absent one.
#[derive(Clone, Copy)]
pub(super) struct Claims<'a>(pub(super) &'a Object);

impl<'a> Claims<'a> {
    /// A claim that is text.
    pub(super) fn text(self, name: &'static str) -> Result<Option<&'a str>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refused("a claim that must be text is not")),
        }
    }

    /// A claim that is a time: seconds since 1970, with or without a fraction (RFC 7519, NumericDate).
    pub(super) fn time(self, name: &'static str) -> Result<Option<f64>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(_) => Err(Refused("a claim that must be a number is not")),
        }
    }

    fn audiences(self) -> Result<Vec<&'a str>, Refused> {
        const WRONG: Refused = Refused("aud is neither text nor a list of texts");
        match self.0.get("aud") {
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(several)) => several.iter().map(|a| a.as_str().ok_or(WRONG)).collect(),
            _ => Err(WRONG),
        }
    }
}

impl From<Refused> for ProviderError {
    fn from(refused: Refused) -> Self {
        Self::InvalidIdToken(refused.0.to_owned())
    }
}

/// Seconds since 1970, as claims count them.
fn seconds(at: Timestamp) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}
