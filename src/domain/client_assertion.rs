//! Client assertions: a resource server proves who it is with a JWT that it has signed (`private_key_jwt`; RFC 7523
//! sections 2.2 and 3, OpenID Connect Core section 9).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::clock::Timestamp;
use super::ids::ResourceServerId;
use super::lifetimes::{CLIENT_ASSERTION, CLIENT_ASSERTION_AHEAD};
use super::public_key::PublicKey;

/// The value of `client_assertion_type` (RFC 7523 section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The algorithms of a signature, for the metadata.
pub const ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "PS256", "RS256"];

/// The longest assertion.
const LONGEST: usize = 8 * 1024;

/// The longest `jti`.
const LONGEST_ID: usize = 256;

/// Why an assertion is refused: a fixed text for the log that repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("client assertion: {0}")]
pub struct Refused(pub &'static str);

/// An assertion whose signature has not been verified.
pub struct ClientAssertion<'a> {
    algorithm: Algorithm,
    message: &'a str,
    signature: &'a str,
    claims: Claims,
    /// Who it says it is from.
    pub issuer: ResourceServerId,
}

/// A verified assertion. It may be used once.
#[derive(Debug)]
pub struct VerifiedAssertion {
    /// The name under which it is marked as used.
    pub used_name: String,
    /// How long the mark has to last.
    pub life: TimeDelta,
}

/// A known member twice is an error, as in every typed object of `serde`.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    jti: String,
    iat: Option<i64>,
    nbf: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl<'a> ClientAssertion<'a> {
    /// Reads an assertion. Nothing in it is verified.
    ///
    /// # Errors
    /// It is malformed, or cannot be valid with any key.
    pub fn parse(text: &'a str) -> Result<Self, Refused> {
        if text.len() > LONGEST {
            return Err(Refused("it is too long"));
        }
        let malformed = Refused("it is not a signed token with three parts");
        let (message, signature) = text.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) =
            message.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or(malformed)?;
        let header: Header = decode(header).ok_or(Refused("the header is malformed"))?;
        if header.crit.is_some() {
            return Err(Refused("the header has critical extensions"));
        }
        if header.typ.is_some_and(|typ| !is_assertion(&typ.to_ascii_lowercase())) {
            return Err(Refused("typ names another kind of token"));
        }
        let algorithm = Some(header.alg).filter(|name| ALGORITHMS.contains(&name.as_str()));
        let algorithm = algorithm.and_then(|name| name.parse().ok());
        let algorithm = algorithm.ok_or(Refused("the signature algorithm is not allowed"))?;
        let claims: Claims = decode(payload).ok_or(Refused("a claim is missing, repeated or malformed"))?;
        if claims.iss != claims.sub {
            return Err(Refused("iss and sub differ"));
        }
        let issuer = claims.iss.parse().map_err(|_| Refused("iss is not the id of a resource server"))?;
        Ok(Self { algorithm, message, signature, claims, issuer })
    }

    /// Verifies the signature with one of the issuer's keys, and the claims: for one of these audiences alone, not expired,
    /// and for five minutes at most.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(
        &self,
        keys: &[PublicKey],
        audiences: &[&str],
        now: Timestamp,
    ) -> Result<VerifiedAssertion, Refused> {
        if !keys.iter().any(|key| key.verifies(self.algorithm, self.message, self.signature)) {
            return Err(Refused("no key of the resource server has signed it"));
        }
        // Another server to which the assertion was also addressed could present it here.
        let audience = match &self.claims.aud {
            Audience::One(one) => Some(one.as_str()),
            Audience::Several(several) => match several.as_slice() {
                [only] => Some(only.as_str()),
                _ => None,
            },
        };
        if !audience.is_some_and(|audience| audiences.contains(&audience)) {
            return Err(Refused("aud is not this broker alone"));
        }
        let (now, ahead) = (now.timestamp(), CLIENT_ASSERTION_AHEAD.num_seconds());
        let left = self.claims.exp.checked_sub(now).unwrap_or(i64::MIN);
        if left <= 0 {
            return Err(Refused("it has expired"));
        }
        if left > CLIENT_ASSERTION.num_seconds() + ahead {
            return Err(Refused("exp is more than five minutes ahead"));
        }
        let later = |time: Option<i64>| time.is_some_and(|time| time > now + ahead);
        if later(self.claims.iat) || later(self.claims.nbf) {
            return Err(Refused("it is not valid yet"));
        }
        let id = &self.claims.jti;
        if !(1..=LONGEST_ID).contains(&id.len()) {
            return Err(Refused("jti is empty or too long"));
        }
        let named = digest(&SHA256, format!("{}\n{id}", self.issuer).as_bytes());
        Ok(VerifiedAssertion {
            used_name: format!("assertion:{}", URL_SAFE_NO_PAD.encode(named)),
            // As long as an instance whose clock is behind can accept it.
            life: TimeDelta::seconds(left + ahead),
        })
    }
}

impl std::fmt::Debug for ClientAssertion<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ClientAssertion(…)")
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Whether this `typ`, in lower case, may be that of an assertion: none in particular, or its own.
fn is_assertion(typ: &str) -> bool {
    matches!(typ, "jwt" | "client-authentication+jwt" | "application/client-authentication+jwt")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_text_is_refused_and_never_panics(text: String, header: Vec<u8>, claims: Vec<u8>) {
            prop_assert!(ClientAssertion::parse(&text).is_err());
            let dressed = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
            prop_assert!(ClientAssertion::parse(&dressed).is_err());
        }
    }
}
