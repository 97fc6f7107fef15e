//! The text format of all credentials that this broker issues: type prefix, base62 body of fixed length, checksum.
//!
//! The prefixes are `tbk_` for API tokens, `tbp_` for personal tokens, `tbo_` for one-time keys and `tbs_` for resource
//! server secrets. The prefix tells secret scanners and people what kind of credential was leaked. The checksum (CRC-32
//! of prefix and body, six base62 characters) detects typing errors without using a store. Neither adds security, which
//! comes from the random bytes of the body.

use zeroize::Zeroizing;

/// A chunk of 16 bytes is written as 22 base62 characters, enough for any 128-bit number.
const CHUNK_BYTES: usize = 16;
const CHUNK_CHARS: usize = 22;
const CHECKSUM_CHARS: usize = 6;

/// The text is not a credential of the expected kind. The error deliberately does not say why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed credential")]
pub struct Malformed;

/// Encodes `body` as prefix, base62 text and checksum. The length of `body` must be a multiple of 16 bytes.
pub fn encode(prefix: &str, body: &[u8]) -> Zeroizing<String> {
    debug_assert!(body.len().is_multiple_of(CHUNK_BYTES));
    let chunks = body.len() / CHUNK_BYTES;
    let mut text =
        Zeroizing::new(String::with_capacity(prefix.len() + chunks * CHUNK_CHARS + CHECKSUM_CHARS));
    text.push_str(prefix);
    for chunk in body.chunks_exact(CHUNK_BYTES) {
        let number = chunk.iter().fold(0u128, |number, byte| (number << 8) | u128::from(*byte));
        text.push_str(&Zeroizing::new(format!("{:0>CHUNK_CHARS$}", base62::encode(number))));
    }
    let checksum = checksum(&text);
    text.push_str(&checksum);
    text
}

/// Decodes the `N` bytes of a text that [`encode`] wrote.
///
/// # Errors
/// [`Malformed`] for any other text.
pub fn decode<const N: usize>(prefix: &str, text: &str) -> Result<Zeroizing<[u8; N]>, Malformed> {
    let chars = N / CHUNK_BYTES * CHUNK_CHARS;
    let body = text.strip_prefix(prefix).ok_or(Malformed)?;
    if body.len() != chars + CHECKSUM_CHARS || !body.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Malformed);
    }
    let (checked, check) = text.split_at(prefix.len() + chars);
    if checksum(checked) != check {
        return Err(Malformed);
    }
    let mut bytes = Zeroizing::new([0u8; N]);
    let texts = body.as_bytes().chunks_exact(CHUNK_CHARS);
    for (target, text) in bytes.chunks_exact_mut(CHUNK_BYTES).zip(texts) {
        // A chunk of 2^128 or more is refused, so that every credential has exactly one text.
        let number = base62::decode(text).map_err(|_| Malformed)?;
        target.copy_from_slice(&number.to_be_bytes());
    }
    Ok(bytes)
}

/// CRC-32 of prefix and body as six base62 characters.
fn checksum(text: &str) -> String {
    format!("{:0>CHECKSUM_CHARS$}", base62::encode(crc32fast::hash(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_body_can_be_encoded_and_decoded(body: [u8; 32]) {
            let text = encode("tbx_", &body);
            prop_assert_eq!(text.len(), 4 + 44 + 6);
            prop_assert_eq!(*decode::<32>("tbx_", &text).unwrap(), body);
            prop_assert_eq!(decode::<32>("tby_", &text), Err(Malformed));
            prop_assert_eq!(decode::<48>("tbx_", &text), Err(Malformed));
        }

        #[test]
        fn one_changed_character_is_refused(body: [u8; 32], at in 0usize..54, to in "[0-9A-Za-z]") {
            let text = encode("tbx_", &body);
            let mut changed = text.to_string();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != *text);
            prop_assert_eq!(decode::<32>("tbx_", &changed), Err(Malformed));
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = decode::<32>("tbx_", &text);
        }
    }

    #[test]
    fn a_chunk_above_128_bits_is_refused() {
        let body = "z".repeat(CHUNK_CHARS);
        let text = format!("tbx_{body}");
        let text = format!("{text}{}", checksum(&text));
        assert_eq!(decode::<16>("tbx_", &text), Err(Malformed));
    }
}
