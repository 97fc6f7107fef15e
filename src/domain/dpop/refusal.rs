//! Why the holder of a token has not shown that it has the token's key.

/// The reason. The audit trail gets it by name, the caller the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofRefused {
    /// A bound token was presented without a proof, as a bearer token.
    Missing,
    /// An unbound token was presented with the scheme `DPoP`.
    NotBound,
    /// The proof is of another key than the token.
    OtherKey,
    /// The proof does not meet RFC 9449 section 4.3; the text says why.
    Invalid(&'static str),
    /// The proof was used before.
    Replayed,
    /// The proof needs a current nonce of the broker (RFC 9449 section 8).
    Nonce,
    /// The gateway does not say which request the proof is for; the text says what it has to send.
    RequestUnknown(&'static str),
}

impl ProofRefused {
    /// The stable name in the audit trail and the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "dpop_missing",
            Self::NotBound => "dpop_not_bound",
            Self::OtherKey => "dpop_other_key",
            Self::Invalid(_) => "dpop_invalid",
            Self::Replayed => "dpop_replayed",
            Self::Nonce => "dpop_nonce",
            Self::RequestUnknown(_) => "dpop_request_unknown",
        }
    }

    /// What is wrong, for the caller.
    pub fn text(self) -> &'static str {
        match self {
            Self::Missing => {
                "The token is bound to a key. Send it with the scheme DPoP and with a proof of that key."
            }
            Self::NotBound => "The token is not bound to a key. Send it with the scheme Bearer.",
            Self::OtherKey => "The DPoP proof is of another key than the token.",
            Self::Invalid(text) => text,
            Self::Replayed => "The DPoP proof was used before. Make a new one for each request.",
            Self::Nonce => "The DPoP proof needs the nonce of the header DPoP-Nonce. Make a new one with it.",
            Self::RequestUnknown(_) => {
                "The gateway does not support tokens that are bound to a key. The log of the broker says what its operator has to change."
            }
        }
    }
}
