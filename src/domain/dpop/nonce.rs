//! The nonces that the broker gives out for DPoP proofs (RFC 9449 section 8).
//!
//! A nonce is the time at which it was made, with a MAC under a server key. So no one can predict one, every instance
//! recognises those of the others, and nothing is stored.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta};

use crate::domain::clock::Timestamp;
use crate::domain::key_ring::{KeyId, KeyRing, Purpose, ServerKey};
use crate::domain::lifetimes::{CLOCK_DIFFERENCE, DPOP_NONCE};

const MAC: usize = 16;

/// A new nonce.
pub fn issue(ring: &KeyRing, now: Timestamp) -> String {
    let (key, made_at) = (ring.issuing(), now.timestamp());
    let mut bytes = key.id().0.to_be_bytes().to_vec();
    bytes.extend_from_slice(&made_at.to_be_bytes());
    bytes.extend_from_slice(&mac(key, made_at));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// For how much longer a presented nonce is valid; `None` if it is too old, or not of this broker.
pub fn remaining(text: &str, ring: &KeyRing, now: Timestamp) -> Option<TimeDelta> {
    let bytes: [u8; 4 + 8 + MAC] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (key_id, rest) = bytes.split_first_chunk::<4>()?;
    let (made_at, presented) = rest.split_first_chunk::<8>()?;
    let key = ring.get(KeyId(u32::from_be_bytes(*key_id)))?;
    let made_at = i64::from_be_bytes(*made_at);
    verify_slices_are_equal(&mac(key, made_at), presented).ok()?;
    let age = now - DateTime::from_timestamp(made_at, 0)?;
    // The clock of the instance that made it can be a little ahead.
    (-CLOCK_DIFFERENCE < age && age < DPOP_NONCE).then(|| DPOP_NONCE - age)
}

fn mac(key: &ServerKey, made_at: i64) -> [u8; MAC] {
    let full = key.mac(Purpose::DpopNonce, &[&made_at.to_be_bytes()]);
    let mut cut = [0; MAC];
    cut.copy_from_slice(&full[..MAC]);
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(ids: &[u32]) -> KeyRing {
        let keys = ids.iter().map(|id| ServerKey::new(KeyId(*id), vec![*id as u8; 32]).unwrap()).collect();
        KeyRing::new(KeyId(ids[0]), keys).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    #[test]
    fn a_nonce_is_valid_for_five_minutes() {
        let nonce = issue(&ring(&[1]), at(0));
        let valid = |second| remaining(&nonce, &ring(&[1]), at(second)).map(|left| left.num_seconds());
        assert_eq!([-60, -59, 0, 299, 300].map(valid), [None, Some(359), Some(300), Some(1), None]);
    }

    #[test]
    fn every_key_of_the_ring_recognises_its_nonces_and_no_other_key_does() {
        let nonce = issue(&ring(&[1]), at(0));
        assert!(remaining(&nonce, &ring(&[2, 1]), at(1)).is_some());
        assert_eq!(remaining(&nonce, &ring(&[2]), at(1)), None);
        let other = ServerKey::new(KeyId(1), vec![9; 32]).unwrap();
        assert_eq!(remaining(&nonce, &KeyRing::new(KeyId(1), vec![other]).unwrap(), at(1)), None);
    }

    proptest! {
        #[test]
        fn a_changed_bit_is_refused(bit in 0usize..28 * 8) {
            let mut bytes = URL_SAFE_NO_PAD.decode(issue(&ring(&[1]), at(0))).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(remaining(&URL_SAFE_NO_PAD.encode(bytes), &ring(&[1]), at(1)), None);
        }

        #[test]
        fn an_arbitrary_text_is_refused(text in "[ -~]{0,60}") {
            prop_assert_eq!(remaining(&text, &ring(&[1]), at(1)), None);
        }
    }
}
