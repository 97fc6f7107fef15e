//! Signed tokens of a provider (JWS compact form, RFC 7515), as far as they are the same for every kind:
//! shape, algorithm, signature. What the claims must say stands in [`super::id_token`].
//!
//! Only the signature check comes from `jsonwebtoken`: its own claim checks pass what is absent, read the
//! clock themselves and accept repeated names.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, crypto};
use serde_json::Value;

use super::json::{self, Object};
use super::jwks::KeySet;

/// The longest token that is looked at, in bytes.
const TOKEN_LIMIT: usize = 16 * 1024;

/// Why a token was refused: a fixed text without anything of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) &'static str);

/// A token that nobody vouches for yet: its claims cannot be read before [`UnverifiedJwt::verify`].
#[derive(Debug)]
pub(super) struct UnverifiedJwt<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// The claims of a token whose signature was verified.
pub(super) struct VerifiedJwt {
    /// The algorithm of the signature.
    pub(super) algorithm: Algorithm,
    /// What the provider says.
    pub(super) claims: Object,
}

/// Why no key of a set verifies a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VerifyError {
    /// The set may be outdated: no suitable key has the token's `kid`, or the token has none.
    KeyUnknown,
    /// The token is bad with any key.
    Refused(Refused),
}

impl<'a> UnverifiedJwt<'a> {
    /// Takes a token apart and checks its header.
    ///
    /// `allowed` is the provider's list of algorithms; HMAC is refused even there, because its "key" would be
    /// public. A `crit` is refused, since no extension is understood; keys and addresses of keys in the header
    /// (`jwk`, `jku`, `x5u`, `x5c`) are never read (RFC 8725 sections 3.1 and 3.10).
    pub(super) fn parse(token: &'a str, allowed: &[Algorithm]) -> Result<Self, Refused> {
        if token.len() > TOKEN_LIMIT {
            return Err(Refused("longer than 16 KiB"));
        }
        let shape = || Refused("not a signed token of three parts");
        let (message, signature) = token.rsplit_once('.').ok_or_else(shape)?;
        let (header, payload) = message.split_once('.').ok_or_else(shape)?;
        if payload.contains('.') {
            return Err(shape());
        }
        let header = decoded_object(header).ok_or(Refused("the header is not an object in base64url"))?;
        if header.contains_key("crit") {
            return Err(Refused("the header has critical extensions"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
        let algorithm = algorithm
            .filter(|algorithm: &Algorithm| algorithm.family() != AlgorithmFamily::Hmac)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or(Refused("the signature algorithm is not one of those allowed"))?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(key_id)) => Some(key_id.clone()),
            Some(_) => return Err(Refused("kid is not a string")),
        };
        check_type(header.get("typ"))?;
        Ok(Self { algorithm, key_id, message, payload, signature })
    }

    /// Verifies the signature with the keys of the provider and gives the claims out.
    ///
    /// A token without `kid` is tried with every suitable key.
    pub(super) fn verify(&self, keys: &KeySet) -> Result<VerifiedJwt, VerifyError> {
        let mut suitable = keys.suitable(self.key_id.as_deref(), self.algorithm).peekable();
        if self.key_id.is_some() && suitable.peek().is_none() {
            return Err(VerifyError::KeyUnknown);
        }
        let message = self.message.as_bytes();
        let verified =
            suitable.any(|key| crypto::verify(self.signature, message, key, self.algorithm).unwrap_or(false));
        match verified {
            true => {
                let claims = decoded_object(self.payload)
                    .ok_or(VerifyError::Refused(Refused("the claims are not an object in base64url")))?;
                Ok(VerifiedJwt { algorithm: self.algorithm, claims })
            }
            false if self.key_id.is_none() => Err(VerifyError::KeyUnknown),
            false => Err(VerifyError::Refused(Refused("the signature is wrong"))),
        }
    }
}

fn decoded_object(part: &str) -> Option<Object> {
    json::object(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Refuses tokens that say they are of another kind, such as `at+jwt` (RFC 8725 section 3.11).
fn check_type(typ: Option<&Value>) -> Result<(), Refused> {
    match typ {
        None => Ok(()),
        Some(Value::String(typ)) if !typ.to_ascii_lowercase().ends_with("+jwt") => Ok(()),
        Some(_) => Err(Refused("typ names another kind of token")),
    }
}
