//! Bearer tokens: opaque texts (RFC 6750) whose row decides, never the text alone.
//!
//! A kind's prefix + 66 base62 characters + 6 of checksum, as in `tbk_[0-9A-Za-z]{72}`. The body is a random handle of
//! 128 bits, the id of a server key and an HMAC-SHA-256 (cut to 224 bits) over both, under a label with the kind. A
//! forged or mistyped token is thus refused without a query; the database holds the digest of the handle, from which
//! nothing that works can be computed.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::audience::AudienceSet;
use super::clock::Timestamp;
use super::credential::{self, Malformed};
use super::dpop::thumbprint::Thumbprint;
use super::entropy::{self, Entropy};
use super::ids::{ClientId, IdentityId, SessionId, TokenId, UserId};
use super::key_ring::{KeyId, KeyRing, Purpose, ServerKey};
use super::profile::ProfileText;
use super::scope::ScopeSet;
use super::token_kind::TokenKind;

const HANDLE: usize = 16;
const KEY_ID: usize = 4;
const MAC: usize = 28;

/// The random part of a token. The token can be computed from it and the server key.
#[derive(Clone)]
pub struct TokenHandle(Zeroizing<[u8; HANDLE]>);

impl TokenHandle {
    /// Draws a handle.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new(entropy::bytes(entropy)))
    }

    /// The handle from bytes that were sealed earlier.
    pub fn from_bytes(bytes: [u8; HANDLE]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, to be sealed.
    pub fn expose(&self) -> &[u8; HANDLE] {
        &self.0
    }

    /// What the database knows of the handle.
    pub fn digest(&self) -> HandleDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, self.0.as_ref()).as_ref());
        HandleDigest(bytes)
    }
}

impl fmt::Debug for TokenHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TokenHandle(…)")
    }
}

/// SHA-256 of a handle: the unique key of a token's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandleDigest([u8; 32]);

impl HandleDigest {
    /// The digest from its bytes in the database.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest as stored in the database.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The one-way id under which a token appears in logs: eight hexadecimal characters.
    pub fn short_id(&self) -> String {
        self.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A token as its owner holds it. Shown once, in the answer that issues it.
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// The text of the token with this kind and handle, issued by `key`.
    pub fn issue(kind: TokenKind, key: &ServerKey, handle: &TokenHandle) -> Self {
        Self(encode(kind.prefix(), Purpose::Token(kind), key, handle))
    }

    /// The token's text, for the one answer that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AccessToken(…)")
    }
}

/// A presented token whose MAC is valid: this broker issued it. Its row decides whether it is live.
#[derive(Debug, Clone)]
pub struct GenuineToken {
    /// Its kind.
    pub kind: TokenKind,
    /// The server key that issued it.
    pub key_id: KeyId,
    /// Its handle.
    pub handle: TokenHandle,
}

impl GenuineToken {
    /// Checks a presented text: form, checksum, key and MAC (in constant time). Asks no store.
    pub fn parse(text: &str, ring: &KeyRing) -> Result<Self, Malformed> {
        let kind = TokenKind::ALL.iter().copied().find(|kind| text.starts_with(kind.prefix()));
        let kind = kind.ok_or(Malformed)?;
        let (key_id, handle) = decode(kind.prefix(), Purpose::Token(kind), text, ring)?;
        Ok(Self { kind, key_id, handle })
    }

    /// Whether a row is this token's. Another token can have the same handle only if a server key has leaked.
    pub fn matches(&self, facts: &TokenFacts) -> bool {
        self.kind == facts.kind && self.key_id == facts.key_id && self.handle.digest() == facts.handle
    }
}

/// The text of a credential that proves to know `handle`, made by `key` for `purpose`.
pub(super) fn encode(
    prefix: &str,
    purpose: Purpose,
    key: &ServerKey,
    handle: &TokenHandle,
) -> Zeroizing<String> {
    let mut body = Zeroizing::new([0u8; HANDLE + KEY_ID + MAC]);
    body[..HANDLE].copy_from_slice(handle.expose());
    body[HANDLE..HANDLE + KEY_ID].copy_from_slice(&key.id().0.to_be_bytes());
    body[HANDLE + KEY_ID..].copy_from_slice(&mac(purpose, key, handle));
    credential::encode(prefix, body.as_ref())
}

/// The key and the handle of what [`encode`] made for the same purpose. The MAC is compared in constant time.
pub(super) fn decode(
    prefix: &str,
    purpose: Purpose,
    text: &str,
    ring: &KeyRing,
) -> Result<(KeyId, TokenHandle), Malformed> {
    let body = credential::decode::<{ HANDLE + KEY_ID + MAC }>(prefix, text)?;
    let (handle, rest) = body.split_first_chunk::<HANDLE>().ok_or(Malformed)?;
    let (key_id, presented) = rest.split_first_chunk::<KEY_ID>().ok_or(Malformed)?;
    let key = ring.get(KeyId(u32::from_be_bytes(*key_id))).ok_or(Malformed)?;
    let handle = TokenHandle::from_bytes(*handle);
    verify_slices_are_equal(&mac(purpose, key, &handle), presented).map_err(|_| Malformed)?;
    Ok((key.id(), handle))
}

fn mac(purpose: Purpose, key: &ServerKey, handle: &TokenHandle) -> [u8; MAC] {
    let full = key.mac(purpose, &[&key.id().0.to_be_bytes(), handle.expose()]);
    let mut cut = [0; MAC];
    cut.copy_from_slice(&full[..MAC]);
    cut
}

/// Who a token acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenOwner {
    /// The user.
    pub user_id: UserId,
    /// The identity whose profile is shown: the one that signed in.
    pub identity_id: IdentityId,
    /// The session; `None` for a kind that lives outside of sessions.
    pub session_id: Option<SessionId>,
}

/// What a token is for, fixed when it is issued: the columns that its row's MAC ties together.
///
/// Anyone who can write to the database but has no server key cannot give a token to another user, another API or
/// another time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFacts {
    /// The row's id.
    pub id: TokenId,
    /// Its kind.
    pub kind: TokenKind,
    /// Digest of the handle.
    pub handle: HandleDigest,
    /// The server key that issued it.
    pub key_id: KeyId,
    /// Who it acts for.
    pub owner: TokenOwner,
    /// What its owner calls it; only tokens that a person makes have a name.
    pub name: Option<ProfileText>,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// The APIs it is for.
    pub audiences: AudienceSet,
    /// What it may be used for.
    pub scopes: ScopeSet,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires, at the latest.
    pub expires_at: Timestamp,
    /// The key that its holder has to prove to have (RFC 9449); `None` for a bearer token.
    pub dpop_jkt: Option<Thumbprint>,
}

impl TokenFacts {
    /// The MAC that is stored beside these facts.
    pub fn binding(&self, key: &ServerKey) -> [u8; 32] {
        let session = self.owner.session_id.map(SessionId::as_uuid);
        let (id, user) = (self.id.as_uuid(), self.owner.user_id.as_uuid());
        let (identity, key_id) = (self.owner.identity_id.as_uuid(), self.key_id.0.to_be_bytes());
        let (audiences, scopes) = (self.audiences.to_string(), self.scopes.to_string());
        let [issued_at, expires_at] =
            [self.issued_at, self.expires_at].map(|time| time.timestamp_micros().to_be_bytes());
        let mut parts = vec![
            self.kind.as_str().as_bytes(),
            id.as_bytes(),
            self.handle.as_bytes(),
            &key_id,
            user.as_bytes(),
            identity.as_bytes(),
            session.as_ref().map_or(&[][..], |id| id.as_bytes()),
            self.name.as_ref().map_or("", |name| name.as_str()).as_bytes(),
            self.client_id.as_str().as_bytes(),
            audiences.as_bytes(),
            scopes.as_bytes(),
            &issued_at,
            &expires_at,
        ];
        // Only a bound token has this part: the rows of the others are as they were before there were bound ones.
        parts.extend(self.dpop_jkt.as_ref().map(|thumbprint| thumbprint.as_bytes().as_slice()));
        key.mac(Purpose::TokenRow, &parts)
    }

    /// Whether the stored MAC is the one of these facts, under the key that issued the token.
    pub fn is_bound_by(&self, binding: &[u8], key: &ServerKey) -> bool {
        verify_slices_are_equal(&self.binding(key), binding).is_ok()
    }
}

/// A token's row as it is written; what happens to the token later has columns of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The columns that its MAC ties together.
    pub facts: TokenFacts,
    /// That MAC.
    pub binding: Vec<u8>,
    /// The sealed handle; only for tokens of `legacy` clients, which are handed out again.
    pub sealed_handle: Option<Vec<u8>>,
}

/// A token that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedToken {
    /// The token.
    pub handle: HandleDigest,
    /// Its user.
    pub user: UserId,
    /// Its client.
    pub client: ClientId,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entropy::SeededEntropy;
    use super::*;

    const KIND: TokenKind = TokenKind::Session;

    fn ring(ids: &[u32]) -> KeyRing {
        let keys = ids.iter().map(|id| ServerKey::new(KeyId(*id), vec![*id as u8; 32]).unwrap()).collect();
        KeyRing::new(KeyId(ids[0]), keys).unwrap()
    }

    #[test]
    fn a_token_has_the_documented_form() {
        let token =
            AccessToken::issue(KIND, ring(&[1]).issuing(), &TokenHandle::random(&SeededEntropy::new(1)));
        let body = token.expose().strip_prefix("tbk_").unwrap();
        assert_eq!(body.len(), 72);
        assert!(body.bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn older_keys_verify_and_a_deleted_key_refuses() {
        let handle = TokenHandle::random(&SeededEntropy::new(2));
        let token = AccessToken::issue(KIND, ring(&[1]).issuing(), &handle);
        let seen = GenuineToken::parse(token.expose(), &ring(&[2, 1])).unwrap();
        assert_eq!((seen.key_id, seen.handle.digest()), (KeyId(1), handle.digest()));
        assert_eq!(GenuineToken::parse(token.expose(), &ring(&[2])).unwrap_err(), Malformed);
    }

    proptest! {
        #[test]
        fn a_forged_body_with_a_right_checksum_is_refused(body: [u8; 48]) {
            let text = credential::encode(KIND.prefix(), &body);
            prop_assert!(GenuineToken::parse(&text, &ring(&[1])).is_err());
        }

        #[test]
        fn a_changed_bit_is_refused(seed: u64, bit in 0usize..48 * 8) {
            let token = AccessToken::issue(KIND, ring(&[1, 2]).issuing(), &TokenHandle::random(&SeededEntropy::new(seed)));
            let mut body = *credential::decode::<48>(KIND.prefix(), token.expose()).unwrap();
            body[bit / 8] ^= 1 << (bit % 8);
            let changed = credential::encode(KIND.prefix(), &body);
            prop_assert!(GenuineToken::parse(&changed, &ring(&[1, 2])).is_err());
        }
    }

    #[test]
    fn a_token_of_one_kind_never_passes_for_another() {
        let (ring, handle) = (ring(&[1]), TokenHandle::from_bytes([7; 16]));
        for kind in TokenKind::ALL {
            let token = AccessToken::issue(*kind, ring.issuing(), &handle);
            assert_eq!(GenuineToken::parse(token.expose(), &ring).unwrap().kind, *kind);
            for other in TokenKind::ALL.iter().filter(|other| *other != kind) {
                let body = credential::decode::<48>(kind.prefix(), token.expose()).unwrap();
                let dressed = credential::encode(other.prefix(), body.as_ref());
                assert_eq!(GenuineToken::parse(&dressed, &ring).unwrap_err(), Malformed);
            }
        }
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let handle = TokenHandle::from_bytes([7; 16]);
        let token = AccessToken::issue(KIND, ring(&[1]).issuing(), &handle);
        assert_eq!(format!("{handle:?}{token:?}"), "TokenHandle(…)AccessToken(…)");
    }
}
