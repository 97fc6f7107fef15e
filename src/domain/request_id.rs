//! The id of a request: links its answer, its log lines and its audit events.

use std::fmt;
use std::str::FromStr;

use super::entropy::{self, Entropy};

/// An id of a request, or of whatever takes the place of one: a run of a command, an event of the broker's own.
///
/// 1 to 64 characters of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`, so that it can do no harm in a log line or a header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

/// The text is not a request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'")]
pub struct InvalidRequestId;

impl RequestId {
    /// Draws an id.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy::uuid(entropy).simple().to_string())
    }

    /// Draws an id for something that is not a request, as in `cli-1f0a2b3c4d5e6f70`.
    pub fn with_prefix(prefix: &'static str, entropy: &dyn Entropy) -> Self {
        Self(format!("{prefix}-{:016x}", u64::from_be_bytes(entropy::bytes(entropy))))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidRequestId) }
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entropy::SeededEntropy;
    use super::*;

    #[test]
    fn an_id_is_made_of_harmless_characters() {
        assert_eq!("a.B_9-z".parse::<RequestId>().unwrap().as_str(), "a.B_9-z");
        for bad in ["", "a b", "a\tb", "a\"b", "ü", &"a".repeat(65)] {
            assert_eq!(bad.parse::<RequestId>(), Err(InvalidRequestId), "{bad:?}");
        }
        let entropy = SeededEntropy::new(1);
        for drawn in [RequestId::random(&entropy), RequestId::with_prefix("cli", &entropy)] {
            assert_eq!(drawn.as_str().parse::<RequestId>(), Ok(drawn.clone()));
        }
    }
}
