//! The server's own keys: one issues, older ones still verify, so that a key is replaced without downtime.
//!
//! Each server key is a 256-bit secret from which a key per purpose is derived (HKDF, RFC 5869), so that a
//! value made for one purpose never passes for another. Everything that a key has made carries the key's id.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use secrecy::{ExposeSecret, SecretSlice};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::entropy::{self, Entropy};
use super::token_kind::TokenKind;

/// Names a server key. Written into tokens and sealed values; never reused for another secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What a derived key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Proves that a token of this kind was issued here.
    Token(TokenKind),
    /// Proves that a refresh token was issued here.
    RefreshToken,
    /// Ties the columns of a token's row together.
    TokenRow,
    /// Seals the grant, the receipt and the mark of a one-time key.
    OneTimeKey,
    /// Seals a login attempt into its cookie.
    LoginAttempt,
    /// Seals the handle of a token of a `legacy` client: only those tokens are returned more than once.
    LegacyHandle,
    /// Seals a browser's session into its cookie.
    BrowserSession,
    /// Seals a logout that has gone on to the provider into its cookie.
    LogoutAttempt,
    /// Seals the sign-in for a page behind a gateway into its cookie.
    PageAttempt,
    /// Seals what `/login` gets to see of such a sign-in.
    PageTicket,
    /// Seals the token of a page behind a gateway into its cookie.
    PageSession,
    /// Seals the ID token that is kept with a session for the provider's logout.
    IdToken,
    /// Names the entry of a user code, which is too short for a digest without a key.
    UserCode,
    /// Seals the question whether a device may be connected into the form that asks it.
    DeviceQuestion,
    /// Makes the stored digest of a resource server's secret.
    ResourceServerSecret,
    /// Is the private key that signs the broker's own JWTs.
    Signing,
    /// Proves that the nonce of a DPoP proof was issued here.
    DpopNonce,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Token(TokenKind::Session) => b"token-broker/v1/token/session",
            Self::Token(TokenKind::Personal) => b"token-broker/v1/token/personal",
            Self::RefreshToken => b"token-broker/v1/refresh-token",
            Self::TokenRow => b"token-broker/v1/token-row",
            Self::OneTimeKey => b"token-broker/v1/one-time-key",
            Self::LoginAttempt => b"token-broker/v1/login-attempt",
            Self::LegacyHandle => b"token-broker/v1/legacy-handle",
            Self::LogoutAttempt => b"token-broker/v1/logout-attempt",
            Self::PageAttempt => b"token-broker/v1/page-attempt",
            Self::PageTicket => b"token-broker/v1/page-ticket",
            Self::PageSession => b"token-broker/v1/page-session",
            Self::IdToken => b"token-broker/v1/id-token",
            Self::BrowserSession => b"token-broker/v1/browser-session",
            Self::UserCode => b"token-broker/v1/user-code",
            Self::DeviceQuestion => b"token-broker/v1/device-question",
            Self::ResourceServerSecret => b"token-broker/v1/resource-server-secret",
            Self::Signing => b"token-broker/v1/signing/es256",
            Self::DpopNonce => b"token-broker/v1/dpop-nonce",
        }
    }
}

/// The purposes of the MACs that nearly every request needs: their keys are derived once.
const FREQUENT_MACS: [Purpose; 3] =
    [Purpose::Token(TokenKind::Session), Purpose::Token(TokenKind::Personal), Purpose::TokenRow];

/// One secret of the ring.
pub struct ServerKey {
    id: KeyId,
    secret: SecretSlice<u8>,
    /// In the order of [`FREQUENT_MACS`].
    frequent: [hmac::Key; FREQUENT_MACS.len()],
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ServerKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a ring cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyRing {
    /// There is no key at all.
    #[error("there is no server key")]
    Empty,
    /// Two keys have one id.
    #[error("key id {0} appears twice")]
    RepeatedId(KeyId),
    /// The secret is too short to be a 256-bit key.
    #[error("key {0} has fewer than 32 bytes")]
    ShortSecret(KeyId),
    /// The key that should issue is not in the ring.
    #[error("issuing key {0} is not in the ring")]
    NoIssuingKey(KeyId),
}

impl ServerKey {
    /// A key from its secret of at least 32 random bytes.
    pub fn new(id: KeyId, secret: Vec<u8>) -> Result<Self, InvalidKeyRing> {
        if secret.len() < 32 {
            return Err(InvalidKeyRing::ShortSecret(id));
        }
        let secret = SecretSlice::from(secret);
        let frequent = FREQUENT_MACS.map(|purpose| mac_key(&secret, purpose));
        Ok(Self { id, secret, frequent })
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// HMAC-SHA-256 over `parts`, each preceded by its length, so that no two lists give one input.
    pub fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        let derived = FREQUENT_MACS.iter().position(|frequent| *frequent == purpose);
        let mut context = match derived {
            Some(position) => hmac::Context::with_key(&self.frequent[position]),
            None => hmac::Context::with_key(&mac_key(&self.secret, purpose)),
        };
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }

    fn aead(&self, purpose: Purpose) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM_SIV, derive(&self.secret, purpose, &[]).as_ref())
            .ok()
            .map(LessSafeKey::new)
    }

    /// The key of a purpose, and another one for each `info`.
    pub(super) fn derive_with(&self, purpose: Purpose, info: &[u8]) -> Zeroizing<[u8; 32]> {
        derive(&self.secret, purpose, info)
    }
}

fn mac_key(secret: &SecretSlice<u8>, purpose: Purpose) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, derive(secret, purpose, &[]).as_ref())
}

#[expect(clippy::expect_used, reason = "one block of output is always within HKDF's bound")]
fn derive(secret: &SecretSlice<u8>, purpose: Purpose, info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret.expose_secret())
        .expand(&[purpose.label(), info], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(derived.as_mut()))
        .expect("32 bytes can be derived");
    derived
}

/// The server's keys. Cloning is not offered: there is one ring, shared.
#[derive(Debug)]
pub struct KeyRing {
    issuing: KeyId,
    keys: BTreeMap<KeyId, ServerKey>,
}

impl KeyRing {
    /// A ring of `keys` of which `issuing` makes everything new.
    pub fn new(issuing: KeyId, keys: Vec<ServerKey>) -> Result<Self, InvalidKeyRing> {
        let mut ring = BTreeMap::new();
        for key in keys {
            let id = key.id;
            if ring.insert(id, key).is_some() {
                return Err(InvalidKeyRing::RepeatedId(id));
            }
        }
        if ring.is_empty() {
            return Err(InvalidKeyRing::Empty);
        }
        if !ring.contains_key(&issuing) {
            return Err(InvalidKeyRing::NoIssuingKey(issuing));
        }
        Ok(Self { issuing, keys: ring })
    }

    /// The key that makes everything new.
    pub fn issuing(&self) -> &ServerKey {
        &self.keys[&self.issuing]
    }

    /// All keys, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &ServerKey> {
        self.keys.values()
    }

    /// The ids of all keys, in their order.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.keys().copied()
    }

    /// Whether both have the same keys, of which the same one issues.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&ServerKey, &ServerKey)| {
            one.id == other.id && one.secret.expose_secret() == other.secret.expose_secret()
        };
        self.issuing == other.issuing
            && self.keys.len() == other.keys.len()
            && self.keys.values().zip(other.keys.values()).all(is_same)
    }

    /// The key named `id`, unless it was removed: then nothing it made is valid any more.
    pub fn get(&self, id: KeyId) -> Option<&ServerKey> {
        self.keys.get(&id)
    }

    /// Encrypts and authenticates `plaintext` under the issuing key, bound to `context`.
    ///
    /// The nonce is random and the cipher (AES-256-GCM-SIV, RFC 8452) survives a repeated one.
    #[expect(clippy::expect_used, reason = "sealing fails only beyond 2^36 bytes")]
    pub fn seal(&self, purpose: Purpose, context: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let key = self.issuing();
        let nonce: [u8; NONCE_LEN] = entropy::bytes(entropy);
        let mut sealed = key.id.0.to_be_bytes().to_vec();
        sealed.extend_from_slice(&nonce);
        let mut body = plaintext.to_vec();
        key.aead(purpose)
            .expect("the derived key has the cipher's length")
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut body)
            .expect("the plaintext is short");
        sealed.append(&mut body);
        sealed
    }

    /// Gives back what [`KeyRing::seal`] sealed for the same purpose and context; nothing for anything else.
    pub fn open(&self, purpose: Purpose, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (id, rest) = sealed.split_first_chunk::<4>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.get(KeyId(u32::from_be_bytes(*id)))?.aead(purpose)?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, Aad::from(context), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entropy::SeededEntropy;
    use super::*;

    fn ring(issuing: u32, ids: &[u32]) -> KeyRing {
        let keys = ids.iter().map(|id| ServerKey::new(KeyId(*id), vec![*id as u8; 32]).unwrap()).collect();
        KeyRing::new(KeyId(issuing), keys).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_only_for_the_same_purpose_context_and_key() {
        let entropy = SeededEntropy::new(1);
        let old = ring(1, &[1]);
        let sealed = old.seal(Purpose::OneTimeKey, b"name", b"grant", &entropy);
        let both = ring(2, &[1, 2]);
        assert_eq!(both.open(Purpose::OneTimeKey, b"name", &sealed).unwrap().as_slice(), b"grant");
        assert!(both.open(Purpose::LoginAttempt, b"name", &sealed).is_none());
        assert!(both.open(Purpose::OneTimeKey, b"other", &sealed).is_none());
        assert!(ring(2, &[2]).open(Purpose::OneTimeKey, b"name", &sealed).is_none());
        for cut in 0..sealed.len() {
            assert!(both.open(Purpose::OneTimeKey, b"name", &sealed[..cut]).is_none());
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(both.open(Purpose::OneTimeKey, b"name", &changed).is_none(), "byte {at}");
        }
    }

    #[test]
    fn macs_differ_by_purpose_and_by_the_cut_between_parts() {
        let ring = ring(1, &[1]);
        let key = ring.issuing();
        let [session, personal] = [TokenKind::Session, TokenKind::Personal].map(Purpose::Token);
        assert_ne!(key.mac(session, &[b"a"]), key.mac(Purpose::TokenRow, &[b"a"]));
        assert_ne!(key.mac(session, &[b"a"]), key.mac(personal, &[b"a"]));
        assert_ne!(key.mac(session, &[b"ab", b"c"]), key.mac(session, &[b"a", b"bc"]));
    }

    #[test]
    fn a_mac_does_not_depend_on_whether_its_key_was_derived_before() {
        let ring = ring(1, &[1]);
        let key = ring.issuing();
        for purpose in FREQUENT_MACS.into_iter().chain([Purpose::RefreshToken]) {
            let mut context = hmac::Context::with_key(&mac_key(&key.secret, purpose));
            context.update(&1u64.to_be_bytes());
            context.update(b"a");
            assert_eq!(key.mac(purpose, &[b"a"]), context.sign().as_ref(), "{purpose:?}");
        }
    }

    #[test]
    fn a_broken_ring_is_refused() {
        assert_eq!(KeyRing::new(KeyId(1), vec![]).unwrap_err(), InvalidKeyRing::Empty);
        let short = ServerKey::new(KeyId(1), vec![1; 31]).unwrap_err();
        assert_eq!(short, InvalidKeyRing::ShortSecret(KeyId(1)));
        let key = || ServerKey::new(KeyId(1), vec![1; 32]).unwrap();
        assert_eq!(
            KeyRing::new(KeyId(1), vec![key(), key()]).unwrap_err(),
            InvalidKeyRing::RepeatedId(KeyId(1))
        );
        assert_eq!(KeyRing::new(KeyId(2), vec![key()]).unwrap_err(), InvalidKeyRing::NoIssuingKey(KeyId(2)));
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let text = format!("{:?}", ring(7, &[7]));
        assert!(text.contains('7') && !text.contains("[7, 7"), "{text}");
    }
}
