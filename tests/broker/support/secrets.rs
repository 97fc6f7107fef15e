//! Records all secrets that pass through a broker, and searches for them in its stores and logs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use token_broker::domain::entropy::{Entropy, SystemEntropy};

/// The shortest secret, in bytes.
const LEAST: usize = 8;

/// The system's generator, which records its output: every state, nonce, verifier, key, handle, code and provider token
/// is made from it.
#[derive(Clone, Default)]
pub struct RememberingEntropy(Arc<Mutex<Vec<Vec<u8>>>>);

impl Entropy for RememberingEntropy {
    fn fill(&self, target: &mut [u8]) {
        SystemEntropy.fill(target);
        self.0.lock().unwrap().push(target.to_vec());
    }
}

impl RememberingEntropy {
    /// The secret values: 32 bytes are always secret; 16 bytes are a token's handle, unless they are the UUID of a row;
    /// shorter values are public nonces of seals.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        let drawn = self.0.lock().unwrap();
        drawn.iter().filter(|bytes| bytes.len() >= 16 && !is_uuid(bytes)).cloned().collect()
    }
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 16 && bytes[6] >> 4 == 4 && bytes[8] >> 6 == 2
}

/// Secrets with their names.
#[derive(Default)]
pub struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    /// Adds a secret, as text or as bytes.
    pub fn add(&mut self, what: &'static str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(secret.len() >= LEAST, "{what} is too short to be looked for");
        self.0.push((what, secret.to_vec()));
    }

    /// The secrets that are contained in `haystack`: as raw bytes, in hexadecimal, or in one of the two base64
    /// alphabets.
    pub fn found_in(&self, haystack: &[u8]) -> Vec<&'static str> {
        let mut forms: HashMap<[u8; LEAST], Vec<(Vec<u8>, &'static str)>> = HashMap::new();
        for (what, secret) in self.0.iter().collect::<BTreeSet<_>>() {
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            let base64 = [STANDARD_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(secret)];
            let texts = base64.into_iter().chain([hex.to_uppercase(), hex]).map(String::into_bytes);
            for form in texts.chain([secret.clone()]) {
                forms.entry(*form.first_chunk().unwrap()).or_default().push((form, what));
            }
        }
        let mut found = BTreeSet::new();
        for at in 0..haystack.len() {
            let rest = &haystack[at..];
            let begun = rest.first_chunk::<LEAST>().and_then(|beginning| forms.get(beginning));
            let whole = begun.into_iter().flatten().filter(|(form, _)| rest.starts_with(form));
            found.extend(whole.map(|(_, what)| *what));
        }
        found.into_iter().collect()
    }
}
