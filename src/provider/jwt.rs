//! Signed tokens of a provider (JWS compact form, RFC 7515), as far as they are the same for every kind:
//! shape, algorithm, signature. What the claims must say stands in [`super::id_token`] and
//! [`super::logout_token`].
//!
//! Only the signature check comes from `jsonwebtoken`: its own claim checks pass what is absent, read the
//! clock themselves and accept repeated names.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, crypto};
use serde_json::Value;

use super::json::{self, Object};
use super::jwks::KeySet;

/// The longest token that is looked at, in bytes.
const TOKEN_LIMIT: usize = 16 * 1024;

/// Why a token was refused: a fixed text without anything of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) &'static str);

/// A token that nobody vouches for yet: its claims cannot be read before [`UnverifiedJwt::verify`].
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
    /// What the provider says.
    pub(super) claims: Object,
}

/// Why no key of a set verifies a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VerifyError {
    /// The set may be outdated: no suitable key has the token's `kid`, or the token has none.
    KeyUnknown,
    /// The token is bad with any key.
    Refused(Refused),
}

impl<'a> UnverifiedJwt<'a> {
    /// Takes an ID token apart and checks its header: see [`Self::parse_typed`].
    pub(super) fn parse(token: &'a str, allowed: &[Algorithm]) -> Result<Self, Refused> {
        Self::parse_typed(token, allowed, is_id_token)
    }

    /// Takes a logout token apart and checks its header: see [`Self::parse_typed`].
    pub(super) fn parse_logout_token(token: &'a str, allowed: &[Algorithm]) -> Result<Self, Refused> {
        Self::parse_typed(token, allowed, is_logout_token)
    }

    /// Takes a token apart and checks its header.
    ///
    /// `allowed` is the provider's list of algorithms; HMAC is refused even there, because its "key" would be
    /// public. A `crit` is refused, since no extension is understood; keys and addresses of keys in the header
    /// (`jwk`, `jku`, `x5u`, `x5c`) are never read (RFC 8725 sections 3.1 and 3.10).
    fn parse_typed(
        token: &'a str,
        allowed: &[Algorithm],
        is_wanted: impl FnOnce(&str) -> bool,
    ) -> Result<Self, Refused> {
        if token.len() > TOKEN_LIMIT {
            return Err(Refused("longer than 16 KiB"));
        }
        let shape = || Refused("not a signed token of three parts");
        let (message, signature) = token.rsplit_once('.').ok_or_else(shape)?;
        let (header, payload) = message.split_once('.').ok_or_else(shape)?;
        if payload.contains('.') {
            return Err(shape());
        }
        let header = decoded_object(header).ok_or(Refused("the header is not an object in base64url"))?;
        if header.contains_key("crit") {
            return Err(Refused("the header has critical extensions"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
        let algorithm = algorithm
            .filter(|algorithm: &Algorithm| algorithm.family() != AlgorithmFamily::Hmac)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or(Refused("the signature algorithm is not one of those allowed"))?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(key_id)) => Some(key_id.clone()),
            Some(_) => return Err(Refused("kid is not a string")),
        };
        match header.get("typ") {
            None => {}
            Some(Value::String(typ)) if is_wanted(&typ.to_ascii_lowercase()) => {}
            Some(_) => return Err(Refused("typ names another kind of token")),
        }
        Ok(Self { algorithm, key_id, message, payload, signature })
    }

    /// Verifies the signature with the keys of the provider and gives the claims out.
    ///
    /// A token without `kid` is tried with every suitable key.
    pub(super) fn verify(&self, keys: &KeySet) -> Result<VerifiedJwt, VerifyError> {
        let mut suitable = keys.suitable(self.key_id.as_deref(), self.algorithm).peekable();
        if self.key_id.is_some() && suitable.peek().is_none() {
            return Err(VerifyError::KeyUnknown);
        }
        let message = self.message.as_bytes();
        let verified =
            suitable.any(|key| crypto::verify(self.signature, message, key, self.algorithm).unwrap_or(false));
        match verified {
            true => {
                let claims = decoded_object(self.payload)
                    .ok_or(VerifyError::Refused(Refused("the claims are not an object in base64url")))?;
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

/// Whether a `typ` in lower case does not name another kind, such as `at+jwt` (RFC 8725 section 3.11).
fn is_id_token(typ: &str) -> bool {
    !typ.ends_with("+jwt")
}

/// Whether a `typ` in lower case names logout tokens (Back-Channel Logout 1.0 section 2.4), with or without the
/// prefix that RFC 7515 section 4.1.9 lets a sender leave out.
fn is_logout_token(typ: &str) -> bool {
    matches!(typ, "logout+jwt" | "application/logout+jwt")
}

/// What a token says of itself, verified by nobody: good only for finding out whose keys must verify it.
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

    /// What becomes of a token: `ok`, or why not.
    fn verdict(token: &str, allowed: &[Algorithm], keys: &KeySet) -> String {
        match UnverifiedJwt::parse(token, allowed).map(|token| token.verify(keys)) {
            Ok(Ok(_)) => "ok".to_owned(),
            Ok(Err(VerifyError::KeyUnknown)) => "key unknown".to_owned(),
            Err(refused) | Ok(Err(VerifyError::Refused(refused))) => refused.0.to_owned(),
        }
    }

    #[test]
    fn er_03_a_token_is_not_printed() {
        let token = RSA.sign(&json!({"sub": "alice"}));
        let token = UnverifiedJwt::parse(&token, &ALLOWED).unwrap();
        assert_eq!(format!("{token:?}"), "UnverifiedJwt(…)");
    }

    #[test]
    fn pr_08_every_asymmetric_kind_of_key_verifies() {
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
    fn pr_08_a_wrong_signature_is_refused() {
        let other = SigningKey::rsa("rsa");
        let set = keys(&[&RSA.jwk]);
        assert_eq!(verdict(&other.sign(&json!({"sub": "a"})), &ALLOWED, &set), "the signature is wrong");
        let (good, evil) = (RSA.sign(&json!({"sub": "alice"})), RSA.sign(&json!({"sub": "admin"})));
        let (head, tail) = (evil.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
        assert_eq!(verdict(&format!("{head}.{tail}"), &ALLOWED, &set), "the signature is wrong");
        assert_eq!(verdict(&format!("{head}."), &ALLOWED, &set), "the signature is wrong");
    }

    #[test]
    fn pr_08_none_and_unlisted_algorithms_are_refused() {
        let set = keys(&[&RSA.jwk]);
        let refused = "the signature algorithm is not one of those allowed";
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
    fn pr_08_hmac_algorithms_are_refused_even_when_listed() {
        // The classic: the public key, which everybody has, is the HMAC secret.
        let secret = RSA.jwk["n"].as_str().unwrap();
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": "rsa"}).to_string());
        let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode("{}"));
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        let token = format!("{message}.{}", crypto::sign(message.as_bytes(), &key, HS256).unwrap());
        let symmetric = json!({"kty": "oct", "kid": "rsa", "k": URL_SAFE_NO_PAD.encode(secret)});
        let refused = "the signature algorithm is not one of those allowed";
        assert_eq!(verdict(&token, &[HS256, RS256], &keys(&[&RSA.jwk, &symmetric])), refused);
    }

    #[test]
    fn pr_08_critical_extensions_are_refused() {
        for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("x")] {
            let token = RSA.sign_with(json!({"crit": crit, "b64": true}), "{}");
            let refused = "the header has critical extensions";
            assert_eq!(verdict(&token, &ALLOWED, &keys(&[&RSA.jwk])), refused, "{crit}");
        }
    }

    #[test]
    fn pr_08_keys_in_the_header_are_ignored() {
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
    fn pr_08_the_algorithm_that_a_key_is_bound_to_is_compared() {
        let claims = URL_SAFE_NO_PAD.encode("{}");
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": "PS256", "kid": "rsa"}).to_string());
        let token = RSA.sign_message(&format!("{head}.{claims}"), PS256);
        let unbound = RSA.jwk_with(json!({"alg": null}));
        assert_eq!(verdict(&token, &ALLOWED, &keys(&[&RSA.jwk])), "key unknown");
        assert_eq!(verdict(&token, &ALLOWED, &keys(&[&unbound])), "ok");
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
    fn pr_10_repeated_names_are_refused_in_header_and_claims() {
        let set = keys(&[&RSA.jwk]);
        let header = r#"{"alg":"RS256","kid":"rsa","alg":"RS256"}"#;
        let refused = "the header is not an object in base64url";
        assert_eq!(verdict(&RSA.sign_text(header, "{}"), &ALLOWED, &set), refused);
        let claims = r#"{"sub":"alice","sub":"admin"}"#;
        let refused = "the claims are not an object in base64url";
        assert_eq!(verdict(&RSA.sign_with(json!({}), claims), &ALLOWED, &set), refused);
        assert_eq!(verdict(&RSA.sign_with(json!({}), "[]"), &ALLOWED, &set), refused);
    }

    #[test]
    fn other_shapes_and_kinds_are_refused() {
        let set = keys(&[&RSA.jwk]);
        let good = RSA.sign(&json!({}));
        assert_eq!(verdict(&good, &ALLOWED, &set), "ok");
        for bad in ["", ".", "..", "a.b", &format!("{good}.x"), &format!("x.{good}"), &format!(" {good}")] {
            assert_ne!(verdict(bad, &ALLOWED, &set), "ok", "{bad}");
        }
        let long = RSA.sign(&json!({"x": "y".repeat(16 * 1024)}));
        assert_eq!(verdict(&long, &ALLOWED, &set), "longer than 16 KiB");
        for typ in [json!("at+jwt"), json!("application/logout+JWT"), json!(1)] {
            let token = RSA.sign_with(json!({"typ": typ}), "{}");
            assert_eq!(verdict(&token, &ALLOWED, &set), "typ names another kind of token", "{typ}");
        }
        assert_eq!(verdict(&RSA.sign_with(json!({"typ": null}), "{}"), &ALLOWED, &set), "ok");
    }
}
