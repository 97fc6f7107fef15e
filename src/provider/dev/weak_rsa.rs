//! An RSA key of 1024 bits, which the broker must refuse although its signatures are right.
//!
//! aws-lc-rs neither draws nor uses such keys. So this one is fixed, public and good for nothing, and RFC 8017
//! section 8.2.1 is written out.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use num_bigint::BigUint;
use serde_json::{Value, json};

pub(super) const KEY_ID: &str = "dev-weak-rs256";

const MODULUS_BYTES: usize = 128;
const MODULUS: &[u8] = b"\
    ad098de5a83f3f06165ad05ca70ec6cb5c3ac99958615718ef2957712ea4d1c4bd6e109032faa73ce290114502769dce\
    fefd2ea516972c275d762103235977f432b21bd162ed95c090896807ad0c2af0a2b2331603af41ab35901cd7b7c0fd99\
    30108c3654c5acc9482b8ef5c01440673ffa4408e7e226e460f1e0beed0a8d67";
const PRIVATE_EXPONENT: &[u8] = b"\
    da3c929a73f850a47ccd4cbd8e753484876e1d9529c29af6f7ac4c7c93378cd97590bb9322b8bef42b4b487ca0feb949\
    b88fd9a49d394c96d969837951bc256be4cd1e4efaa3e059095b91692eb3bc90e622fd8b9ff8d8f204a53cf74ff53358\
    1a0cee6bbcd417a9b1daa7f36c9c3878dc06dcbd6c3d03345cdb36b3bc35891";

/// The DER of a SHA-256 `DigestInfo`, up to the digest (RFC 8017 section 9.2).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0, 4, 32,
];

fn number(hexadecimal: &[u8]) -> BigUint {
    BigUint::parse_bytes(hexadecimal, 16).unwrap_or_default()
}

/// The public key as a JWK.
pub(super) fn jwk() -> Value {
    let n = URL_SAFE_NO_PAD.encode(number(MODULUS).to_bytes_be());
    json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": n, "e": "AQAB"})
}

/// RS256.
pub(super) fn sign(message: &[u8]) -> Vec<u8> {
    let hash = digest(&SHA256, message);
    let padding = MODULUS_BYTES - 3 - DIGEST_INFO.len() - hash.as_ref().len();
    let padded = [&[0, 1], vec![0xff; padding].as_slice(), &[0], &DIGEST_INFO, hash.as_ref()].concat();
    let signature = BigUint::from_bytes_be(&padded).modpow(&number(PRIVATE_EXPONENT), &number(MODULUS));
    let bytes = signature.to_bytes_be();
    [vec![0; MODULUS_BYTES - bytes.len()], bytes].concat()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RsaPublicKeyComponents};

    use super::*;

    #[test]
    fn only_the_length_of_the_key_speaks_against_its_signatures() {
        let key = RsaPublicKeyComponents { n: number(MODULUS).to_bytes_be(), e: vec![1, 0, 1] };
        let padding = &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
        for message in [b"one".as_slice(), b"two"] {
            key.verify(padding, message, &sign(message)).unwrap();
        }
        key.verify(padding, b"two", &sign(b"one")).unwrap_err();
    }
}
