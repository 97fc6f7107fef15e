//! The thumbprint of a public key (RFC 7638), by which a token is bound to the key.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// SHA-256 of the canonical JWK: `jkt` (RFC 9449 section 6.1). Not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Thumbprint([u8; 32]);

/// The text is not 43 characters of canonical base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the thumbprint of a key")]
pub struct InvalidThumbprint;

impl Thumbprint {
    /// The thumbprint from its bytes in the database.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The thumbprint as bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Thumbprint {
    type Err = InvalidThumbprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidThumbprint)?;
        bytes.try_into().map(Self).map_err(|_| InvalidThumbprint)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_43_characters_of_canonical_base64url_are_a_thumbprint() {
        let good = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        assert_eq!(good.parse::<Thumbprint>().unwrap().to_string(), good);
        for bad in ["", &good[1..], &format!("{good}A"), &format!("{good}="), &good.replace('-', "+")] {
            assert_eq!(bad.parse::<Thumbprint>(), Err(InvalidThumbprint), "{bad}");
        }
        let not_canonical = format!("{}J", &good[..42]);
        assert_eq!(not_canonical.parse::<Thumbprint>(), Err(InvalidThumbprint));
    }
}
