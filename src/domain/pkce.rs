//! Proof Key for Code Exchange (RFC 7636), method S256 only.
//!
//! It is used on both sides: the SPA proves to the broker that it started the login, and the broker proves the same to
//! the provider.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::entropy::{self, Entropy};

/// `BASE64URL(SHA-256(code_verifier))`, 43 characters (RFC 7636 section 4.2). It is not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeChallenge([u8; 32]);

/// The text is not 43 characters of canonical base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("code_challenge must be the 43 base64url characters of an S256 challenge")]
pub struct InvalidChallenge;

impl CodeChallenge {
    /// The challenge as bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for CodeChallenge {
    type Err = InvalidChallenge;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidChallenge)?;
        bytes.try_into().map(Self).map_err(|_| InvalidChallenge)
    }
}

impl fmt::Display for CodeChallenge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The secret behind a challenge: 43 to 128 unreserved characters (RFC 7636 section 4.1).
#[derive(Debug, Clone)]
pub struct CodeVerifier(SecretString);

/// The text is not 43 to 128 unreserved characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("code_verifier must be 43 to 128 characters of A-Z, a-z, 0-9, '-', '.', '_' and '~'")]
pub struct InvalidVerifier;

impl CodeVerifier {
    /// Generates a verifier of 256 random bits.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self::from_seed(&entropy::bytes(entropy))
    }

    /// The verifier whose text is the base64url encoding of these 256 random bits.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(seed).into())
    }

    /// The challenge of this verifier.
    pub fn challenge(&self) -> CodeChallenge {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, self.0.expose_secret().as_bytes()).as_ref());
        CodeChallenge(bytes)
    }

    /// The text of the verifier, for the token request.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl FromStr for CodeVerifier {
    type Err = InvalidVerifier;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        let good = (43..=128).contains(&text.len()) && text.bytes().all(unreserved);
        if good { Ok(Self(text.into())) } else { Err(InvalidVerifier) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b_is_correct() {
        let verifier: CodeVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".parse().unwrap();
        assert_eq!(verifier.challenge().to_string(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".parse::<CodeChallenge>().is_ok());
    }

    #[test]
    fn wrong_lengths_and_characters_are_refused() {
        let good = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        for bad in ["", &good[1..], &format!("{good}A"), &format!("{good}="), &good.replace('-', "+")] {
            assert_eq!(bad.parse::<CodeChallenge>(), Err(InvalidChallenge), "{bad}");
        }
        for bad in ["", &"a".repeat(42), &"a".repeat(129), &format!("{} ", "a".repeat(43))] {
            assert!(bad.parse::<CodeVerifier>().is_err(), "{bad}");
        }
    }
}
