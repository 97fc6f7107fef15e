//! `[dpop]`: tokens that are bound to a key of their holder (RFC 9449).

use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::domain::dpop::NonceDemand;

/// Tokens that are bound to a key of the app (DPoP). Whether a client uses them is its own setting, `dpop`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDpop {
    /// Which proofs need a nonce of the broker, so that they cannot be made long before they are used: `token_endpoints`,
    /// those sent to `/api/get_token` and `/oauth2/token`; `always`, all of them, also through gateways, which then have to
    /// pass the header `DPoP-Nonce` on; `wrong_time`, only those whose time is more than a minute wrong, which is the case
    /// in a browser whose clock is wrong.
    nonces: String,
}

impl Default for RawDpop {
    fn default() -> Self {
        Self { nonces: "token_endpoints".to_owned() }
    }
}

impl RawDpop {
    /// Which proofs need a nonce.
    pub(super) fn check(self, check: &mut Check) -> Option<NonceDemand> {
        check.choice("dpop.nonces", &self.nonces)
    }
}
