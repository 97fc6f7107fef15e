//! The two codes of a device that wants to be connected (RFC 8628): a long one that the device keeps, and a short one that
//! a person enters in a browser.
//!
//! The key store knows neither: their entries are named by digests. The user code is short enough to be guessed from a
//! digest, so its name is made with a server key.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::credential::{self, Malformed};
use super::entropy::{self, Entropy};
use super::ids::ClientId;
use super::key_ring::{Purpose, ServerKey};
use super::one_time_key::EntryName;

/// The type prefix, for secret scanners.
pub const PREFIX: &str = "tbd_";

/// A device code: 256 random bits that only the device knows.
pub struct DeviceCode(Zeroizing<[u8; 32]>);

impl DeviceCode {
    /// Generates a random code.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(Zeroizing::new(entropy::bytes(entropy)))
    }

    /// Parses a presented code and checks its checksum, without using a store.
    ///
    /// # Errors
    /// [`Malformed`] for a text that is no device code.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        credential::decode::<32>(PREFIX, text).map(Self)
    }

    /// The text of the code, for the device.
    pub fn expose(&self) -> Zeroizing<String> {
        credential::encode(PREFIX, self.0.as_ref())
    }

    /// The name of the request that waits for an answer. It also depends on the client, so a code that another client
    /// presents finds nothing.
    pub fn request_name(&self, client: &ClientId) -> EntryName {
        self.name(b"token-broker/v1/device-request-name", client)
    }

    /// The name of the entry with the person's answer, which depends on the same.
    pub fn answer_name(&self, client: &ClientId) -> EntryName {
        self.name(b"token-broker/v1/device-answer-name", client)
    }

    fn name(&self, label: &[u8], client: &ClientId) -> EntryName {
        let mut context = Context::new(&SHA256);
        context.update(label);
        context.update(self.0.as_ref());
        context.update(client.as_str().as_bytes());
        EntryName::of_digest(context.finish().as_ref())
    }
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("DeviceCode(…)")
    }
}

/// Twenty consonants: no two look alike, and they make no words (RFC 8628 section 6.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// Eight characters of twenty are 34.5 bits.
const LENGTH: usize = 8;

/// The most characters of an entered code, with everything that people add to it.
const LONGEST_TEXT: usize = 32;

/// A user code, as it is shown on the device and entered in a browser.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserCode([u8; LENGTH]);

/// The text is not a user code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a user code")]
pub struct InvalidUserCode;

impl UserCode {
    /// Generates a random code. Each character is equally likely.
    pub fn random(entropy: &dyn Entropy) -> Self {
        // The largest multiple of the alphabet's length that fits into a byte: bytes from there on are drawn again.
        const LIMIT: u8 = 240;
        let character = |_| loop {
            let [byte] = entropy::bytes(entropy);
            if byte < LIMIT {
                break ALPHABET[usize::from(byte) % ALPHABET.len()];
            }
        };
        Self(std::array::from_fn(character))
    }

    /// The name of its entry, made with `key`.
    pub fn request_name(&self, key: &ServerKey) -> EntryName {
        EntryName::of_digest(&key.mac(Purpose::UserCode, &[&self.0]))
    }
}

/// In two halves, as in `WDJB-MJHT`.
impl fmt::Display for UserCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, character)| {
            let dash = if at == LENGTH / 2 { "-" } else { "" };
            write!(out, "{dash}{}", char::from(*character))
        })
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("UserCode(…)")
    }
}

/// Reads a code as people type it: in any case, with spaces and dashes anywhere.
impl FromStr for UserCode {
    type Err = InvalidUserCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().count() > LONGEST_TEXT {
            return Err(InvalidUserCode);
        }
        let is_separator =
            |c: &char| c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
        let known = |c: char| {
            let upper = u8::try_from(c).ok()?.to_ascii_uppercase();
            ALPHABET.contains(&upper).then_some(upper)
        };
        let characters: Option<Vec<u8>> = text.chars().filter(|c| !is_separator(c)).map(known).collect();
        characters.and_then(|found| found.try_into().ok()).map(Self).ok_or(InvalidUserCode)
    }
}

impl TryFrom<String> for UserCode {
    type Error = InvalidUserCode;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<UserCode> for String {
    fn from(code: UserCode) -> Self {
        code.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::entropy::SeededEntropy;
    use super::super::key_ring::KeyId;
    use super::*;

    #[test]
    fn a_device_code_has_the_documented_format() {
        let code = DeviceCode::random(&SeededEntropy::new(1));
        let text = code.expose();
        assert_eq!(text.len(), 54);
        assert_eq!(*DeviceCode::parse(&text).unwrap().0, *code.0);
        for other in [&text[..53], &text.replace("tbd_", "tbo_"), "", "tbd_"] {
            assert!(DeviceCode::parse(other).is_err(), "{other}");
        }
        assert_eq!(format!("{code:?}"), "DeviceCode(…)");
    }

    #[test]
    fn the_names_depend_on_code_and_client() {
        let entropy = SeededEntropy::new(2);
        let (one, other) = (DeviceCode::random(&entropy), DeviceCode::random(&entropy));
        let (tv, cli) = ("tv".parse().unwrap(), "cli".parse().unwrap());
        let names = [
            one.request_name(&tv),
            one.request_name(&cli),
            one.answer_name(&tv),
            one.answer_name(&cli),
            other.request_name(&tv),
            other.answer_name(&tv),
        ];
        let different: BTreeSet<_> = names.iter().map(EntryName::as_str).collect();
        assert_eq!(different.len(), names.len());
    }

    #[test]
    fn the_name_of_a_user_code_needs_the_server_key() {
        let code: UserCode = "WDJB-MJHT".parse().unwrap();
        let name = |secret: u8| code.request_name(&ServerKey::new(KeyId(1), vec![secret; 32]).unwrap());
        assert_eq!(name(1), name(1));
        assert_ne!(name(1), name(2));
        assert!(!format!("{code:?}").contains('W'));
    }

    #[test]
    fn every_character_of_the_alphabet_is_drawn_equally_often() {
        let entropy = SeededEntropy::new(3);
        let mut drawn = [0u32; 256];
        for _ in 0..5_000 {
            UserCode::random(&entropy).0.iter().for_each(|byte| drawn[usize::from(*byte)] += 1);
        }
        for character in ALPHABET {
            let times = drawn[usize::from(*character)];
            assert!((1_800..2_200).contains(&times), "{}: {times}", char::from(*character));
        }
        assert_eq!(drawn.iter().sum::<u32>(), 40_000);
        assert!((ALPHABET.len() as f64).powi(8).log2() > 30.0);
    }

    #[test]
    fn a_code_is_read_as_people_type_it_and_nothing_else_is() {
        let code: UserCode = "WDJB-MJHT".parse().unwrap();
        assert_eq!(code.to_string(), "WDJB-MJHT");
        for typed in
            ["wdjbmjht", " WDJB MJHT ", "w d j b - m j h t", "WDJB–MJHT", "wdjb\u{a0}mjht\n", "-WDJBMJHT-"]
        {
            assert_eq!(typed.parse(), Ok(code.clone()), "{typed:?}");
        }
        for junk in [
            "",
            "WDJB-MJH",
            "WDJB-MJHTT",
            "ADJB-MJHT",
            "WDJB-MJH1",
            "WDJB-MJH0",
            "ＷＤＪＢ-MJHT",
            "WDJB-MJH\u{0}",
            "WDJB_MJHT",
            "<script>",
            "' OR 1=1",
            &"-".repeat(40),
            &"W".repeat(4000),
        ] {
            assert_eq!(junk.parse::<UserCode>(), Err(InvalidUserCode), "{junk:?}");
        }
    }

    proptest! {
        #[test]
        fn every_code_is_read_back(seed: u64) {
            let code = UserCode::random(&SeededEntropy::new(seed));
            prop_assert_eq!(code.to_string().parse(), Ok(code.clone()));
            prop_assert_eq!(code.to_string().to_lowercase().parse(), Ok(code));
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = text.parse::<UserCode>();
        }
    }
}
