//! Values that leave the broker and come back, sealed under a server key: what cookies carry.

use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::entropy::Entropy;
use super::key_ring::{KeyRing, Purpose};

/// The bytes that a seal adds to what it seals: id of the key, nonce, tag.
pub const OVERHEAD: usize = 4 + 12 + 16;

/// A value that can be sealed.
pub trait Sealable: Serialize + DeserializeOwned {
    /// Keeps values of one type from passing for another's.
    const PURPOSE: Purpose;
}

/// The text of a sealed `T`: base64url, so that it fits into a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed<T> {
    text: String,
    of: PhantomData<fn() -> T>,
}

impl<T: Sealable> Sealed<T> {
    /// Seals `value` under the ring's issuing key; only the same `context` opens it.
    #[expect(clippy::expect_used, reason = "sealable values are plain structs, which always serialise")]
    pub fn new(value: &T, context: &[u8], ring: &KeyRing, entropy: &dyn Entropy) -> Self {
        let plain = Zeroizing::new(postcard::to_allocvec(value).expect("a sealable value serialises"));
        let sealed = ring.seal(T::PURPOSE, context, &plain, entropy);
        Self::from_text(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// A text that came back, not yet opened.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self { text: text.into(), of: PhantomData }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Opens the seal. `None` unless this broker sealed the text for the same type and context and still has the key.
    pub fn open(&self, context: &[u8], ring: &KeyRing) -> Option<T> {
        let sealed = URL_SAFE_NO_PAD.decode(&self.text).ok()?;
        let plain = ring.open(T::PURPOSE, context, &sealed)?;
        postcard::from_bytes(&plain).ok()
    }
}

impl<T> From<Sealed<T>> for String {
    fn from(sealed: Sealed<T>) -> Self {
        sealed.text
    }
}
