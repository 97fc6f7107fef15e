//! The one-time key: the broker's authorization code (RFC 6749 section 1.3.1).
//!
//! `tbo_` + 44 base62 characters + 6 of checksum; 256 random bits. The key store's entry is named by a digest
//! over the key and the S256 challenge of its login, so a key without its verifier finds nothing and a wrong
//! guess spends nothing. The entry's value is sealed and bound to that name: a reader of the store learns
//! nothing that works, and a writer cannot plant a login.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::clock::Timestamp;
use super::credential::{self, Malformed};
use super::entropy::{self, Entropy};
use super::ids::{ClientId, SessionId, UserId};
use super::key_ring::{KeyId, KeyRing, Purpose};
use super::pkce::CodeChallenge;
use super::scope::ScopeSet;
use super::token::TokenHandle;

/// The type prefix, for secret scanners.
pub const PREFIX: &str = "tbo_";

/// A one-time key as the SPA holds it.
#[derive(Clone)]
pub struct OneTimeKey(Zeroizing<[u8; 32]>);

impl OneTimeKey {
    /// Draws a key.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new(entropy::bytes(entropy)))
    }

    /// Reads a presented key; asks no store.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        credential::decode::<32>(PREFIX, text).map(Self)
    }

    /// The key's text, for the one redirect that carries it.
    pub fn expose(&self) -> Zeroizing<String> {
        credential::encode(PREFIX, self.0.as_ref())
    }

    /// The name of the entry for a login with this challenge, or without one.
    ///
    /// A login without challenge has a name that no verifier leads to (RFC 9700 section 4.8.2: no downgrade).
    pub fn entry_name(&self, challenge: Option<&CodeChallenge>) -> EntryName {
        let mut context = Context::new(&SHA256);
        context.update(b"token-broker/v1/entry-name");
        context.update(self.0.as_ref());
        match challenge {
            Some(challenge) => {
                context.update(&[1]);
                context.update(challenge.as_bytes());
            }
            None => context.update(&[0]),
        }
        EntryName(URL_SAFE_NO_PAD.encode(context.finish()))
    }
}

impl fmt::Debug for OneTimeKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OneTimeKey(…)")
    }
}

/// The name of a key's entry in the key store. One-way: the key cannot be computed from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntryName(String);

impl EntryName {
    /// The name as text, 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a one-time key is exchanged for. The token's row exists already; the token itself is computed only
/// by the redemption, from the handle and the server key.
#[derive(Debug, Serialize, Deserialize)]
pub struct Grant {
    #[serde(with = "handle_bytes")]
    /// The handle of the token.
    pub handle: TokenHandle,
    /// The server key that issues it: the one its row is bound by.
    pub key_id: KeyId,
    /// The user it acts for.
    pub user_id: UserId,
    /// The session it belongs to.
    pub session_id: SessionId,
    /// The client that may redeem the key.
    pub client_id: ClientId,
    /// What the token may be used for.
    pub scopes: ScopeSet,
    /// When the token dies, at the latest.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub token_expires_at: Timestamp,
    /// When the key dies, whatever the store's own clock says.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub key_expires_at: Timestamp,
}

/// What stays of a grant after the redemption, to act on a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The user whose login it was.
    pub user_id: UserId,
    /// The session that a replay ends.
    pub session_id: SessionId,
    /// The client that redeemed.
    pub client_id: ClientId,
}

/// When and by whom the key was redeemed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// When.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub at: Timestamp,
    /// Which browser, as far as one can tell.
    pub browser: BrowserPrint,
}

/// A one-way digest over address and user agent: tells a double submit from a foreign replay, names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserPrint([u8; 16]);

impl BrowserPrint {
    /// The digest of one address and user agent.
    pub fn of(address: &str, user_agent: &str) -> Self {
        let full = digest(&SHA256, format!("{address}\n{user_agent}").as_bytes());
        let mut cut = [0; 16];
        cut.copy_from_slice(&full.as_ref()[..16]);
        Self(cut)
    }
}

/// A part of a key's entry, each sealed for itself so that none passes for another.
pub trait EntryPart: Serialize + DeserializeOwned {
    /// Which part it is.
    const LABEL: &'static str;

    /// Seals the part for the entry called `name`.
    #[expect(clippy::expect_used, reason = "these plain structs always serialise")]
    fn seal(&self, name: &EntryName, ring: &KeyRing, entropy: &dyn Entropy) -> Vec<u8> {
        let plain = Zeroizing::new(postcard::to_allocvec(self).expect("the part serialises"));
        ring.seal(Purpose::OneTimeKey, &part_context(Self::LABEL, name), &plain, entropy)
    }

    /// Opens the part of the entry called `name`; nothing where anybody else made or moved it.
    fn open(sealed: &[u8], name: &EntryName, ring: &KeyRing) -> Option<Self> {
        let plain = ring.open(Purpose::OneTimeKey, &part_context(Self::LABEL, name), sealed)?;
        postcard::from_bytes(&plain).ok()
    }
}

fn part_context(label: &str, name: &EntryName) -> Vec<u8> {
    format!("{label}\n{}", name.as_str()).into_bytes()
}

impl EntryPart for Grant {
    const LABEL: &'static str = "grant";
}

impl EntryPart for Receipt {
    const LABEL: &'static str = "receipt";
}

impl EntryPart for Redemption {
    const LABEL: &'static str = "redemption";
}

mod handle_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::TokenHandle;

    pub fn serialize<S: Serializer>(handle: &TokenHandle, out: S) -> Result<S::Ok, S::Error> {
        handle.expose().serialize(out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<TokenHandle, D::Error> {
        Deserialize::deserialize(input).map(TokenHandle::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entropy::SeededEntropy;
    use super::super::key_ring::ServerKey;
    use super::super::pkce::CodeVerifier;
    use super::*;

    #[test]
    fn ok_01_the_key_has_the_documented_form() {
        let key = OneTimeKey::random(&SeededEntropy::new(1));
        let text = key.expose();
        assert_eq!(text.len(), 54);
        assert_eq!(*OneTimeKey::parse(&text).unwrap().0, *key.0);
        assert!(OneTimeKey::parse(&text[..53]).is_err());
        assert!(OneTimeKey::parse(&text.replace("tbo_", "tbk_")).is_err());
    }

    #[test]
    fn ok_02_the_name_depends_on_key_and_challenge() {
        let entropy = SeededEntropy::new(2);
        let key = OneTimeKey::random(&entropy);
        let challenge = CodeVerifier::random(&entropy).challenge();
        let other = CodeVerifier::random(&entropy).challenge();
        let names = [
            key.entry_name(Some(&challenge)),
            key.entry_name(Some(&other)),
            key.entry_name(None),
            OneTimeKey::random(&entropy).entry_name(Some(&challenge)),
        ];
        for (i, name) in names.iter().enumerate() {
            assert_eq!(name.as_str().len(), 43);
            assert!(names[..i].iter().all(|earlier| earlier != name));
        }
    }

    #[test]
    fn ok_02_a_part_opens_only_under_its_own_name_and_label() {
        let entropy = SeededEntropy::new(3);
        let key = ServerKey::new(KeyId(1), vec![9; 32]).unwrap();
        let ring = KeyRing::new(KeyId(1), vec![key]).unwrap();
        let name = OneTimeKey::random(&entropy).entry_name(None);
        let other = OneTimeKey::random(&entropy).entry_name(None);
        let receipt = Receipt {
            user_id: UserId::random(&entropy),
            session_id: SessionId::random(&entropy),
            client_id: "web".parse().unwrap(),
        };
        let sealed = receipt.seal(&name, &ring, &entropy);
        assert_eq!(Receipt::open(&sealed, &name, &ring).unwrap(), receipt);
        assert!(Receipt::open(&sealed, &other, &ring).is_none());
        assert!(Redemption::open(&sealed, &name, &ring).is_none());
        assert!(Grant::open(&sealed, &name, &ring).is_none());
    }
}
