//! Refresh tokens (RFC 6749 section 1.5): of the same row as the access token they were issued with, so that one judgement
//! and one rotation serve both.
//!
//! A refresh token is `tbr_` and a text of the same form as an access token. Its MAC has a label of its own: neither can
//! be computed from the other or used in its place.

use std::fmt;

use zeroize::Zeroizing;

use super::credential::Malformed;
use super::key_ring::{KeyRing, Purpose, ServerKey};
use super::token::{GenuineToken, TokenHandle, decode, encode};
use super::token_kind::TokenKind;

/// The type prefix, for secret scanners.
pub const PREFIX: &str = "tbr_";

/// A refresh token as its owner holds it.
pub struct RefreshToken(Zeroizing<String>);

impl RefreshToken {
    /// The refresh token of the row with this handle, issued by `key`.
    pub fn issue(key: &ServerKey, handle: &TokenHandle) -> Self {
        Self(encode(PREFIX, Purpose::RefreshToken, key, handle))
    }

    /// The text, for the one answer that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Checks a presented refresh token, without a store, and returns the session's token that it renews.
    ///
    /// # Errors
    /// The text is not a refresh token that a key of `ring` issued.
    pub fn parse(text: &str, ring: &KeyRing) -> Result<GenuineToken, Malformed> {
        let (key_id, handle) = decode(PREFIX, Purpose::RefreshToken, text, ring)?;
        Ok(GenuineToken { kind: TokenKind::Session, key_id, handle })
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RefreshToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::credential;
    use super::super::key_ring::KeyId;
    use super::super::token::AccessToken;
    use super::*;

    fn ring() -> KeyRing {
        KeyRing::new(KeyId(1), vec![ServerKey::new(KeyId(1), vec![1; 32]).unwrap()]).unwrap()
    }

    #[test]
    fn a_refresh_token_leads_to_the_row_of_its_access_token() {
        let (ring, handle) = (ring(), TokenHandle::from_bytes([7; 16]));
        let refresh = RefreshToken::issue(ring.issuing(), &handle);
        let genuine = RefreshToken::parse(refresh.expose(), &ring).unwrap();
        assert_eq!((genuine.kind, genuine.handle.digest()), (TokenKind::Session, handle.digest()));
        assert_eq!(format!("{refresh:?}"), "RefreshToken(…)");
    }

    #[test]
    fn neither_token_passes_for_the_other_even_with_the_others_prefix() {
        let (ring, handle) = (ring(), TokenHandle::from_bytes([7; 16]));
        let refresh = RefreshToken::issue(ring.issuing(), &handle);
        let access = AccessToken::issue(TokenKind::Session, ring.issuing(), &handle);
        let dressed = |text: &str, from: &str, to: &str| {
            credential::encode(to, credential::decode::<48>(from, text).unwrap().as_ref())
        };
        for text in [refresh.expose(), &dressed(refresh.expose(), "tbr_", "tbk_")] {
            assert_eq!(GenuineToken::parse(text, &ring).unwrap_err(), Malformed);
        }
        for text in [access.expose(), &dressed(access.expose(), "tbk_", "tbr_")] {
            assert_eq!(RefreshToken::parse(text, &ring).unwrap_err(), Malformed);
        }
    }
}
