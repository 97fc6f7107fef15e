//! Texts of a client that the broker returns unchanged and never interprets: its `state` and its `nonce`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest text.
const LONGEST: usize = 512;

/// A text of 1 to 512 visible ASCII characters and spaces, `%x20-7E` (RFC 6749 appendix A.5).
#[derive(Clone, PartialEq, Eq)]
struct ClientText(String);

/// The text is empty, too long, or contains other characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 512 visible ASCII characters or spaces")]
pub struct InvalidClientText;

impl FromStr for ClientText {
    type Err = InvalidClientText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| (0x20..=0x7e).contains(&b));
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidClientText) }
    }
}

/// Stores seven bits per character instead of eight, because the text travels in a cookie.
impl Serialize for ClientText {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        (self.0.len() as u16, pack(self.0.as_bytes())).serialize(out)
    }
}

impl<'de> Deserialize<'de> for ClientText {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let (length, packed) = <(u16, Vec<u8>)>::deserialize(input)?;
        let text: String = unpack(&packed, length.into()).map(char::from).collect();
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Writes the low seven bits of each byte one after the other.
fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; (text.len() * 7).div_ceil(8)];
    for (at, bit) in text.iter().flat_map(|byte| (0..7).map(move |bit| byte >> bit & 1)).enumerate() {
        packed[at / 8] |= bit << (at % 8);
    }
    packed
}

/// Reads `length` characters of seven bits. Missing bits are zeros, which no valid text contains.
fn unpack(packed: &[u8], length: usize) -> impl Iterator<Item = u8> {
    let bit = |at: usize| packed.get(at / 8).map_or(0, |byte| byte >> (at % 8) & 1);
    (0..length).map(move |character| (0..7).fold(0, |byte, at| byte | bit(character * 7 + at) << at))
}

macro_rules! client_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(ClientText);

        impl $name {
            /// The text as the client sent it.
            pub fn as_str(&self) -> &str {
                &self.0.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidClientText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

client_text! {
    /// The `state` of a client, which comes back in the answer (RFC 6749 section 4.1.1).
    ClientState
}

client_text! {
    /// The `nonce` of a client, which comes back in the broker's ID token (OpenID Connect Core section 3.1.2.1).
    ClientNonce
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_visible_ascii_and_nothing_else_is_accepted() {
        let all: String = (' '..='~').collect();
        for good in ["x", " ", &all, "a b&c=d#%2B+\"\\<>", &"x".repeat(512)] {
            assert!(good.parse::<ClientState>().is_ok(), "{good}");
        }
        for bad in ["", &"x".repeat(513), "ü", "a\n", "a\u{7f}", "\0"] {
            assert_eq!(bad.parse::<ClientState>(), Err(InvalidClientText), "{bad:?}");
        }
    }

    #[test]
    fn a_text_that_was_cut_is_refused() {
        let packed = postcard::to_allocvec(&(8u16, vec![0xffu8; 3])).unwrap();
        assert!(postcard::from_bytes::<ClientState>(&packed).is_err());
    }

    proptest! {
        #[test]
        fn every_text_survives_packing(text in "[ -~]{1,512}") {
            let packed = postcard::to_allocvec(&text.parse::<ClientState>().unwrap()).unwrap();
            prop_assert!(packed.len() <= (text.len() * 7).div_ceil(8) + 4);
            let unpacked: ClientState = postcard::from_bytes(&packed).unwrap();
            prop_assert_eq!(unpacked.as_str(), text);
        }
    }
}
