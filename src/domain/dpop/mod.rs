//! DPoP, Demonstrating Proof of Possession (RFC 9449): a token that is bound to a key is useless without that key.
//!
//! The holder of the key signs a [`proof`] for each request. A token is bound to the [`thumbprint`] of the public
//! [`jwk`] in its proofs. A server-provided [`nonce`] limits how long before its use a proof can be made.

pub mod jwk;
pub mod nonce;
pub mod proof;
pub mod refusal;
pub mod thumbprint;

use serde::{Deserialize, Serialize};

/// Whether a client's tokens have to be bound to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientDpop {
    /// The client decides at each login.
    #[default]
    Optional,
    /// The client gets bound tokens only.
    Required,
}

/// Which requests need a proof with a nonce of the broker (RFC 9449 section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonceDemand {
    /// Those whose proof has a wrong time, so that a browser whose clock is wrong can still sign in.
    WrongTime,
    /// In addition, those of the token endpoints, `/api/get_token` and `/oauth2/token`.
    #[default]
    TokenEndpoints,
    /// All.
    Always,
}
