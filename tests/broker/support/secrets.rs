//! Every secret that passed through a broker, and the search for them in whatever it leaves behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::RegexBuilder;
use token_broker::domain::entropy::{Entropy, SystemEntropy};

/// The system's generator, which remembers what it gave: every state, nonce, verifier, key, handle, code and
/// provider token begins here.
#[derive(Clone, Default)]
pub struct RememberingEntropy(Arc<Mutex<Vec<Vec<u8>>>>);

impl Entropy for RememberingEntropy {
    fn fill(&self, target: &mut [u8]) {
        SystemEntropy.fill(target);
        self.0.lock().unwrap().push(target.to_vec());
    }
}

impl RememberingEntropy {
    /// What is secret of it: 32 bytes always are; 16 bytes are a token's handle, unless they look like one of
    /// the UUIDs that stand in rows; what is shorter is the public nonce of a seal.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        let drawn = self.0.lock().unwrap();
        drawn.iter().filter(|bytes| bytes.len() >= 16 && !is_uuid(bytes)).cloned().collect()
    }
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.len() == 16 && bytes[6] >> 4 == 4 && bytes[8] >> 6 == 2
}

/// Secrets by what they are.
#[derive(Default)]
pub struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    /// One more, as text or as bytes.
    pub fn add(&mut self, what: &'static str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(secret.len() >= 8, "{what} is too short to be looked for");
        self.0.push((what, secret.to_vec()));
    }

    /// Which of them stand in `haystack`: as they are, in hexadecimal, or in one of the two base64 alphabets.
    pub fn found_in(&self, haystack: &[u8]) -> Vec<&'static str> {
        let mut forms: BTreeMap<Vec<u8>, &'static str> = BTreeMap::new();
        for (what, secret) in &self.0 {
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            let texts =
                [hex.to_uppercase(), hex, STANDARD_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(secret)];
            forms.insert(secret.clone(), what);
            forms.extend(texts.into_iter().map(|text| (text.into_bytes(), *what)));
        }
        let escape = |form: &Vec<u8>| form.iter().map(|byte| format!(r"\x{byte:02x}")).collect::<String>();
        let pattern = forms.keys().map(escape).collect::<Vec<_>>().join("|");
        let search = RegexBuilder::new(&pattern).unicode(false).size_limit(1 << 30).build().unwrap();
        let mut found: Vec<_> = search.find_iter(haystack).map(|form| forms[form.as_bytes()]).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}
