//! The kinds of token. A kind is in the token's prefix, in the label of its MAC and in its row, so that a token of one
//! kind never passes for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What kind of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A token of a client inside a session: seven days, rotated.
    Session,
    /// A token that a person made for scripts: in no session, with a name.
    Personal,
}

/// The text names no kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of token")]
pub struct UnknownTokenKind;

impl TokenKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Session, Self::Personal];

    /// The type prefix of its tokens, for secret scanners.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Session => "tbk_",
            Self::Personal => "tbp_",
        }
    }

    /// The name in rows and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Personal => "personal",
        }
    }
}

impl FromStr for TokenKind {
    type Err = UnknownTokenKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(UnknownTokenKind)
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_differ_in_prefix_and_name() {
        for (one, other) in TokenKind::ALL.iter().zip(&TokenKind::ALL[1..]) {
            assert_ne!(one.prefix(), other.prefix());
            assert_ne!(one.as_str(), other.as_str());
        }
        assert!(TokenKind::ALL.iter().all(|kind| kind.as_str().parse() == Ok(*kind)));
        assert_eq!("other".parse::<TokenKind>(), Err(UnknownTokenKind));
    }
}
