//! Signed tokens of a provider (JWS compact serialization, RFC 7515): the checks of format, algorithm and signature that
//! are common to all kinds of tokens. The claims are checked in [`super::id_token`] and [`super::logout_token`].
//!
//! Only the signature check comes from `jsonwebtoken`, because its claim checks accept missing claims and repeated names
//! and read the system clock.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, crypto};
use serde_json::Value;

use super::json::{self, Object};
use super::jwks::KeySet;

/// The maximum length of a token in bytes. Longer tokens are refused.
const TOKEN_LIMIT: usize = 16 * 1024;

/// Why a token was refused: a fixed text that contains no part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) &'static str);

/// A token that is not verified yet. Its claims can only be read after [`UnverifiedJwt::verify`].
pub(super) struct UnverifiedJwt<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl fmt::Debug for UnverifiedJwt<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("UnverifiedJwt(…)")
    }
}

/// The claims of a token whose signature was verified.
pub(super) struct VerifiedJwt {
    /// The algorithm of the signature.
    pub(super) algorithm: Algorithm,
    /// The claims.
    pub(super) claims: Object,
}

/// Why a token could not be verified with a key set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VerifyError {
    /// No key of the set could have signed the token, so the set may be outdated: no candidate has the token's `kid`, or
    /// the token has no `kid` and no candidate verifies it.
    KeyUnknown,
    /// The token is invalid with any key.
    Refused(Refused),
}

impl<'a> UnverifiedJwt<'a> {
    /// Parses an ID token and checks its header: see [`Self::parse_typed`].
    pub(super) fn parse(token: &'a str, allowed: &[Algorithm]) -> Result<Self, Refused> {
        Self::parse_typed(token, allowed, is_id_token)
    }

    /// Parses a logout token and checks its header: see [`Self::parse_typed`].
    pub(super) fn parse_logout_token(token: &'a str, allowed: &[Algorithm]) -> Result<Self, Refused> {
        Self::parse_typed(token, allowed, is_logout_token)
    }

    /// Parses a token and checks its header.
    ///
    /// `allowed` lists the algorithms of the provider. HMAC algorithms are refused even if they are listed, because their
    /// key would be public. `crit` is refused, because no extension is supported. Keys and URLs of keys in the header
    /// (`jwk`, `jku`, `x5u`, `x5c`) are ignored (RFC 8725 sections 3.1 and 3.10).
    fn parse_typed(
        token: &'a str,
        allowed: &[Algorithm],
        is_expected_type: impl FnOnce(&str) -> bool,
    ) -> Result<Self, Refused> {
        if token.len() > TOKEN_LIMIT {
            return Err(Refused("it is longer than 16 KiB"));
        }
        let wrong_format = || Refused("it is not a signed token with three parts");
        let (message, signature) = token.rsplit_once('.').ok_or_else(wrong_format)?;
        let (header, payload) = message.split_once('.').ok_or_else(wrong_format)?;
        if payload.contains('.') {
            return Err(wrong_format());
        }
        let header = decoded_object(header).ok_or(Refused("the header is not a JSON object in base64url"))?;
        if header.contains_key("crit") {
            return Err(Refused("the header has critical extensions"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
        let algorithm = algorithm
            .filter(|algorithm: &Algorithm| algorithm.family() != AlgorithmFamily::Hmac)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or(Refused("the signature algorithm is not allowed"))?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(key_id)) => Some(key_id.clone()),
            Some(_) => return Err(Refused("kid is not a string")),
        };
        match header.get("typ") {
            None => {}
            Some(Value::String(typ)) if is_expected_type(&typ.to_ascii_lowercase()) => {}
            Some(_) => return Err(Refused("typ names another kind of token")),
        }
        Ok(Self { algorithm, key_id, message, payload, signature })
    }

    /// Verifies the signature with the keys of the provider and returns the claims.
    ///
    /// For a token without `kid`, all keys that fit its algorithm are tried.
    pub(super) fn verify(&self, keys: &KeySet) -> Result<VerifiedJwt, VerifyError> {
        let mut candidates = keys.candidates(self.key_id.as_deref(), self.algorithm).peekable();
        if self.key_id.is_some() && candidates.peek().is_none() {
            return Err(VerifyError::KeyUnknown);
        }
        let message = self.message.as_bytes();
        let verified = candidates
            .any(|key| crypto::verify(self.signature, message, key, self.algorithm).unwrap_or(false));
        match verified {
            true => {
                let claims = decoded_object(self.payload)
                    .ok_or(VerifyError::Refused(Refused("the claims are not a JSON object in base64url")))?;
                Ok(VerifiedJwt { algorithm: self.algorithm, claims })
            }
            false if self.key_id.is_none() => Err(VerifyError::KeyUnknown),
            false => Err(VerifyError::Refused(Refused("the signature is wrong"))),
        }
    }
}

fn decoded_object(part: &str) -> Option<Object> {
    json::object(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Whether this `typ`, in lower case, is acceptable for ID tokens: it must not name another kind of token, such as
/// `at+jwt` (RFC 8725 section 3.11).
fn is_id_token(typ: &str) -> bool {
    !typ.ends_with("+jwt")
}

/// Whether this `typ`, in lower case, names logout tokens (Back-Channel Logout 1.0 section 2.4), with or without the
/// prefix `application/`, which is optional (RFC 7515 section 4.1.9).
fn is_logout_token(typ: &str) -> bool {
    matches!(typ, "logout+jwt" | "application/logout+jwt")
}

/// The unverified claims of a token. Only for finding the provider whose keys must verify it.
pub(super) fn unverified_claims(token: &str) -> Option<Object> {
    if token.len() > TOKEN_LIMIT {
        return None;
    }
    decoded_object(token.split('.').nth(1)?)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA, HS256, PS256, RS256};
    use serde_json::json;

    use super::super::fake::keys::{RSA, SigningKey};
    use super::*;

    const ALLOWED: [Algorithm; 5] = [RS256, PS256, ES256, ES384, EdDSA];

    fn keys(keys: &[&Value]) -> KeySet {
        KeySet::read(json!({"keys": keys}).as_object().unwrap()).unwrap()
    }

    /// The result for a token: `ok`, or why it was refused.
    fn verdict(token: &str, allowed: &[Algorithm], keys: &KeySet) -> String {
        match UnverifiedJwt::parse(token, allowed).map(|token| token.verify(keys)) {
            Ok(Ok(_)) => "ok".to_owned(),
            Ok(Err(VerifyError::KeyUnknown)) => "key unknown".to_owned(),
            Err(refused) | Ok(Err(VerifyError::Refused(refused))) => refused.0.to_owned(),
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        let token = RSA.sign(&json!({"sub": "alice"}));
        let token = UnverifiedJwt::parse(&token, &ALLOWED).unwrap();
        assert_eq!(format!("{token:?}"), "UnverifiedJwt(…)");
    }

    #[test]
    fn every_asymmetric_key_type_verifies() {
        let (p256, p384, ed) = (SigningKey::p256("a"), SigningKey::p384("b"), SigningKey::ed25519("c"));
        let set = keys(&[&RSA.jwk, &p256.jwk, &p384.jwk, &ed.jwk]);
        for key in [&*RSA, &p256, &p384, &ed] {
            let token = key.sign(&json!({"sub": "alice"}));
            let verified = UnverifiedJwt::parse(&token, &ALLOWED).unwrap().verify(&set).unwrap();
            assert_eq!(verified.claims["sub"], "alice");
            assert_eq!(verified.algorithm, key.algorithm);
            assert_eq!(verdict(&token, &[key.algorithm], &set), "ok");
        }
    }

    #[test]
    fn a_wrong_signature_is_refused() {
        let other = SigningKey::rsa("rsa");
        let set = keys(&[&RSA.jwk]);
        assert_eq!(verdict(&other.sign(&json!({"sub": "a"})), &ALLOWED, &set), "the signature is wrong");
        let (good, evil) = (RSA.sign(&json!({"sub": "alice"})), RSA.sign(&json!({"sub": "admin"})));
        let (head, tail) = (evil.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
        assert_eq!(verdict(&format!("{head}.{tail}"), &ALLOWED, &set), "the signature is wrong");
        assert_eq!(verdict(&format!("{head}."), &ALLOWED, &set), "the signature is wrong");
    }

    #[test]
    fn none_and_unlisted_algorithms_are_refused() {
        let set = keys(&[&RSA.jwk]);
        let refused = "the signature algorithm is not allowed";
        for alg in [json!("none"), json!("None"), json!(""), json!(null), json!(1), json!("rs256")] {
            let token = RSA.sign_with(json!({"alg": alg}), "{}");
            assert_eq!(verdict(&token, &ALLOWED, &set), refused, "{alg}");
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert_eq!(verdict(&unsigned, &ALLOWED, &set), refused, "{alg}");
        }
        assert_eq!(verdict(&RSA.sign(&json!({})), &[ES256, PS256], &set), refused);
        assert_eq!(verdict(&RSA.sign(&json!({})), &[], &set), refused);
    }

    #[test]
    fn hmac_algorithms_are_refused_even_when_listed() {
        // The classic attack: the public key is used as the HMAC secret.
        let secret = RSA.jwk["n"].as_str().unwrap();
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": "rsa"}).to_string());
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode("{}"));
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        let token = format!("{message}.{}", crypto::sign(message.as_bytes(), &key, HS256).unwrap());
        let symmetric = json!({"kty": "oct", "kid": "rsa", "k": URL_SAFE_NO_PAD.encode(secret)});
        let refused = "the signature algorithm is not allowed";
        assert_eq!(verdict(&token, &[HS256, RS256], &keys(&[&RSA.jwk, &symmetric])), refused);
    }

    #[test]
    fn critical_extensions_are_refused() {
        for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("x")] {
            let token = RSA.sign_with(json!({"crit": crit, "b64": true}), "{}");
            let refused = "the header has critical extensions";
            assert_eq!(verdict(&token, &ALLOWED, &keys(&[&RSA.jwk])), refused, "{crit}");
        }
    }

    #[test]
    fn keys_in_the_header_are_ignored() {
        let evil = SigningKey::rsa("rsa");
        let header = json!({
            "jwk": evil.jwk, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5u",
            "x5c": ["MIIB"],
        });
        let set = keys(&[&RSA.jwk]);
        assert_eq!(verdict(&evil.sign_with(header.clone(), "{}"), &ALLOWED, &set), "the signature is wrong");
        assert_eq!(verdict(&RSA.sign_with(header, "{}"), &ALLOWED, &set), "ok");
    }

    #[test]
    fn a_key_restricted_to_an_algorithm_is_used_with_no_other() {
        let claims = URL_SAFE_NO_PAD.encode("{}");
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": "PS256", "kid": "rsa"}).to_string());
        let token = RSA.sign_message(&format!("{head}.{claims}"), PS256);
        let unrestricted = RSA.jwk_with(json!({"alg": null}));
        assert_eq!(verdict(&token, &ALLOWED, &keys(&[&RSA.jwk])), "key unknown");
        assert_eq!(verdict(&token, &ALLOWED, &keys(&[&unrestricted])), "ok");
    }

    #[test]
    fn a_token_without_kid_is_tried_with_every_key() {
        let (one, two) = (SigningKey::p256("one"), SigningKey::p256("two"));
        let token = two.sign_with(json!({"kid": null}), "{}");
        assert_eq!(verdict(&token, &ALLOWED, &keys(&[&RSA.jwk, &one.jwk, &two.jwk])), "ok");
        assert_eq!(verdict(&token, &ALLOWED, &keys(&[&one.jwk])), "key unknown");
    }

    #[test]
    fn a_kid_names_exactly_one_key() {
        let (one, two) = (SigningKey::p256("one"), SigningKey::p256("two"));
        let set = keys(&[&one.jwk, &two.jwk]);
        assert_eq!(
            verdict(&one.sign_with(json!({"kid": "two"}), "{}"), &ALLOWED, &set),
            "the signature is wrong"
        );
        assert_eq!(verdict(&one.sign_with(json!({"kid": "ONE"}), "{}"), &ALLOWED, &set), "key unknown");
        assert_eq!(verdict(&one.sign_with(json!({"kid": 1}), "{}"), &ALLOWED, &set), "kid is not a string");
    }

    #[test]
    fn repeated_names_are_refused_in_header_and_claims() {
        let set = keys(&[&RSA.jwk]);
        let header = r#"{"alg":"RS256","kid":"rsa","alg":"RS256"}"#;
        let refused = "the header is not a JSON object in base64url";
        assert_eq!(verdict(&RSA.sign_text(header, "{}"), &ALLOWED, &set), refused);
        let claims = r#"{"sub":"alice","sub":"admin"}"#;
        let refused = "the claims are not a JSON object in base64url";
        assert_eq!(verdict(&RSA.sign_with(json!({}), claims), &ALLOWED, &set), refused);
        assert_eq!(verdict(&RSA.sign_with(json!({}), "[]"), &ALLOWED, &set), refused);
    }

    #[test]
    fn other_formats_and_types_are_refused() {
        let set = keys(&[&RSA.jwk]);
        let good = RSA.sign(&json!({}));
        assert_eq!(verdict(&good, &ALLOWED, &set), "ok");
        for bad in ["", ".", "..", "a.b", &format!("{good}.x"), &format!("x.{good}"), &format!(" {good}")] {
            assert_ne!(verdict(bad, &ALLOWED, &set), "ok", "{bad}");
        }
        let long = RSA.sign(&json!({"x": "y".repeat(16 * 1024)}));
        assert_eq!(verdict(&long, &ALLOWED, &set), "it is longer than 16 KiB");
        for typ in [json!("at+jwt"), json!("application/logout+JWT"), json!(1)] {
            let token = RSA.sign_with(json!({"typ": typ}), "{}");
            assert_eq!(verdict(&token, &ALLOWED, &set), "typ names another kind of token", "{typ}");
        }
        assert_eq!(verdict(&RSA.sign_with(json!({"typ": null}), "{}"), &ALLOWED, &set), "ok");
    }
}
