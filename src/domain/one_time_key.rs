//! The one-time key: the broker's authorization code (RFC 6749 section 1.3.1).
//!
//! A one-time key has the prefix `tbo_`, 44 base62 characters with 256 random bits, and 6 characters of checksum. The
//! name of its entry in the key store is a digest of the key and of the S256 challenge of its login. So a key without
//! its verifier finds no entry, and a wrong guess does not use up the entry. The value of the entry is sealed and bound
//! to that name: an attacker who can read the store gets no usable credential, and one who can write to it cannot forge
//! a login.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::audience::AudienceSet;
use super::client_text::ClientNonce;
use super::clock::Timestamp;
use super::credential::{self, Malformed};
use super::dpop::thumbprint::Thumbprint;
use super::entropy::{self, Entropy};
use super::ids::{ClientId, SessionId, UserId};
use super::key_ring::{KeyId, KeyRing, Purpose};
use super::pkce::CodeChallenge;
use super::scope::ScopeSet;
use super::token::TokenHandle;

/// The type prefix, for secret scanners.
pub const PREFIX: &str = "tbo_";

/// A one-time key, as the SPA receives it.
#[derive(Clone)]
pub struct OneTimeKey(Zeroizing<[u8; 32]>);

impl OneTimeKey {
    /// Generates a random key.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new(entropy::bytes(entropy)))
    }

    /// Parses a presented key and checks its checksum, without using a store.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        credential::decode::<32>(PREFIX, text).map(Self)
    }

    /// The text of the key, for the redirect that delivers it.
    pub fn expose(&self) -> Zeroizing<String> {
        credential::encode(PREFIX, self.0.as_ref())
    }

    /// The name of the entry of an authorization code, which also depends on the client and on the `redirect_uri` that its
    /// request named. So a code that another client presents, or with another address, finds no entry and spends nothing,
    /// and a code is no one-time key (RFC 6749 section 4.1.3).
    pub fn code_name(
        &self,
        challenge: &CodeChallenge,
        client: &ClientId,
        redirect_uri: Option<&str>,
    ) -> EntryName {
        let mut context = Context::new(&SHA256);
        context.update(b"token-broker/v1/code-name");
        context.update(self.0.as_ref());
        context.update(challenge.as_bytes());
        for part in [Some(client.as_str()), redirect_uri] {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            context.update(&length.to_be_bytes());
            context.update(part.unwrap_or_default().as_bytes());
        }
        EntryName::of_digest(context.finish().as_ref())
    }

    /// The name of the entry for a login with this challenge, or without a challenge.
    ///
    /// The name for a login without a challenge cannot be reached with any verifier, which prevents a PKCE downgrade
    /// (RFC 9700 section 4.8.2).
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
        EntryName::of_digest(context.finish().as_ref())
    }
}

impl fmt::Debug for OneTimeKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OneTimeKey(…)")
    }
}

/// The name of the entry of a one-time key in the key store. The key cannot be computed from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EntryName(String);

impl EntryName {
    /// The name that is made of a digest.
    pub(super) fn of_digest(digest: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(digest))
    }

    /// The name as text, 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the same entry for a login that named the key of its token (RFC 9449 section 10). The one-time key without
    /// a proof of that key finds no entry and spends nothing.
    pub fn bound_to(&self, thumbprint: &Thumbprint) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"token-broker/v1/bound-name");
        context.update(self.0.as_bytes());
        context.update(thumbprint.as_bytes());
        Self(URL_SAFE_NO_PAD.encode(context.finish()))
    }
}

/// What a one-time key is exchanged for. The row of the token already exists; the token itself is computed only at
/// redemption, from the handle and the server key.
#[derive(Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The handle of the token.
    #[serde(with = "handle_bytes")]
    pub handle: TokenHandle,
    /// The server key that issues the token and to which its row is bound.
    pub key_id: KeyId,
    /// The user the token is for.
    pub user_id: UserId,
    /// The session the token belongs to.
    pub session_id: SessionId,
    /// The client that may redeem the key.
    pub client_id: ClientId,
    /// What the token may be used for.
    pub scopes: ScopeSet,
    /// The APIs that it is for.
    pub audiences: AudienceSet,
    /// The nonce of the ID token, if the client sent one.
    pub nonce: Option<ClientNonce>,
    /// When the person authenticated at the provider, if it said so.
    #[serde(with = "chrono::serde::ts_microseconds_option")]
    pub auth_time: Option<Timestamp>,
    /// When the token expires, at the latest.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub token_expires_at: Timestamp,
    /// When the one-time key expires. Checked in addition to the expiry of the store.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub key_expires_at: Timestamp,
    /// When the sign-in began, if the browser had a session then. What the browser had before ends with the redemption,
    /// which only the SPA's own verifier can cause, and not with the callback, to which any site can send the browser.
    #[serde(with = "chrono::serde::ts_microseconds_option")]
    pub ends_sessions_before: Option<Timestamp>,
}

/// What remains of a grant after the redemption, so that the broker can react to a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The user who logged in.
    pub user_id: UserId,
    /// The session that is ended after a replay.
    pub session_id: SessionId,
    /// The client that redeemed the key.
    pub client_id: ClientId,
}

/// When and by whom the key was redeemed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redemption {
    /// The time of the redemption.
    #[serde(with = "chrono::serde::ts_microseconds")]
    pub at: Timestamp,
    /// A digest that recognises the browser that redeemed the key.
    pub browser: BrowserPrint,
}

/// A one-way digest of the address and the user agent of a browser. It distinguishes a double submit from a replay by
/// another browser. It is sealed, like every part of the entry, and is deleted with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserPrint([u8; 16]);

impl BrowserPrint {
    /// The digest of this address and user agent.
    pub fn of(address: &str, user_agent: &str) -> Self {
        let full = digest(&SHA256, format!("{address}\n{user_agent}").as_bytes());
        let mut cut = [0; 16];
        cut.copy_from_slice(&full.as_ref()[..16]);
        Self(cut)
    }
}

/// A part of an entry. Each part is sealed separately, under its own label, so that one cannot be mistaken for another.
pub trait EntryPart: Serialize + DeserializeOwned {
    /// The label under which the part is sealed.
    const LABEL: &'static str;

    /// Seals the part for the entry with this name.
    #[expect(clippy::expect_used, reason = "these plain structs always serialise")]
    fn seal(&self, name: &EntryName, ring: &KeyRing, entropy: &dyn Entropy) -> Vec<u8> {
        let plain = Zeroizing::new(postcard::to_allocvec(self).expect("the part serialises"));
        ring.seal(Purpose::OneTimeKey, &part_context(Self::LABEL, name), &plain, entropy)
    }

    /// Opens the part of the entry with this name. Returns `None` if the part was not sealed by this broker for this
    /// entry.
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

pub(super) mod handle_bytes {
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
    fn the_key_has_the_documented_format() {
        let key = OneTimeKey::random(&SeededEntropy::new(1));
        let text = key.expose();
        assert_eq!(text.len(), 54);
        assert_eq!(*OneTimeKey::parse(&text).unwrap().0, *key.0);
        assert!(OneTimeKey::parse(&text[..53]).is_err());
        assert!(OneTimeKey::parse(&text.replace("tbo_", "tbk_")).is_err());
    }

    #[test]
    fn the_name_depends_on_key_and_challenge() {
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
    fn the_name_of_a_code_depends_on_everything_it_is_bound_to() {
        let entropy = SeededEntropy::new(4);
        let (key, other) = (OneTimeKey::random(&entropy), OneTimeKey::random(&entropy));
        let [challenge, another] = [(); 2].map(|()| CodeVerifier::random(&entropy).challenge());
        let (web, app) = ("web".parse().unwrap(), "app".parse().unwrap());
        let names = [
            key.code_name(&challenge, &web, Some("https://a.example/")),
            key.code_name(&challenge, &web, Some("https://a.example/x")),
            key.code_name(&challenge, &web, Some("")),
            key.code_name(&challenge, &web, None),
            key.code_name(&challenge, &app, Some("https://a.example/")),
            key.code_name(&another, &web, Some("https://a.example/")),
            other.code_name(&challenge, &web, Some("https://a.example/")),
            key.entry_name(Some(&challenge)),
        ];
        for (i, name) in names.iter().enumerate() {
            assert!(names[..i].iter().all(|earlier| earlier != name), "{i}");
        }
    }

    #[test]
    fn the_name_of_a_bound_login_depends_on_its_key() {
        let key = OneTimeKey::random(&SeededEntropy::new(5)).entry_name(None);
        let bound = [1, 2].map(|byte| key.bound_to(&Thumbprint::from_bytes([byte; 32])));
        assert!(bound[0] != bound[1] && bound.iter().all(|name| *name != key && name.as_str().len() == 43));
    }

    #[test]
    fn a_part_opens_only_under_its_own_name_and_label() {
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
