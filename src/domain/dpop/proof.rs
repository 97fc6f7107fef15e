//! A DPoP proof: a JWT that the holder of a key signs for one request (RFC 9449 section 4).
//!
//! Everything that section 4.3 demands is checked here, except that a proof is used once, which needs a store.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use jsonwebtoken::crypto;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::jwk::{PresentedJwk, algorithm, present};
use super::nonce;
use super::refusal::ProofRefused;
use super::thumbprint::Thumbprint;
use crate::domain::clock::Timestamp;
use crate::domain::key_ring::KeyRing;
use crate::domain::lifetimes::{CLOCK_DIFFERENCE, DPOP_PROOF};

/// The longest proof that is read, in bytes. One with the largest RSA key has about 2000.
const LONGEST: usize = 8 * 1024;

/// The longest `jti`, in bytes.
const LONGEST_JTI: usize = 256;

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: PresentedJwk,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: f64,
    ath: Option<String>,
    nonce: Option<String>,
}

/// A proof whose signature was verified with the key that it contains.
pub struct Proof {
    /// The thumbprint of that key.
    pub thumbprint: Thumbprint,
    claims: Claims,
}

impl Proof {
    /// Parses a proof and verifies its signature.
    ///
    /// # Errors
    /// It is not a JWT of the type `dpop+jwt`, signed with an allowed asymmetric algorithm by the public key in its
    /// header.
    pub fn verify(jwt: &str) -> Result<Self, ProofRefused> {
        let malformed =
            ProofRefused::Invalid("The DPoP proof is not a signed JWT with the required header and claims.");
        if jwt.len() > LONGEST {
            return Err(ProofRefused::Invalid("The DPoP proof is too long."));
        }
        let (message, signature) = jwt.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = message.split_once('.').ok_or(malformed)?;
        let header: Header = part(header).ok_or(malformed)?;
        if header.typ != "dpop+jwt" {
            return Err(ProofRefused::Invalid("The typ of the DPoP proof must be dpop+jwt."));
        }
        if header.crit {
            return Err(ProofRefused::Invalid(
                "The DPoP proof has critical extensions, which are not supported.",
            ));
        }
        let Some(algorithm) = algorithm(&header.alg) else {
            let text =
                "The alg of the DPoP proof is not supported. Use ES256, ES384, Ed25519, RS256 or PS256.";
            return Err(ProofRefused::Invalid(text));
        };
        let key = header.jwk.for_algorithm(algorithm)?;
        if !crypto::verify(signature, message.as_bytes(), &key.key, algorithm).unwrap_or(false) {
            return Err(ProofRefused::Invalid("The signature of the DPoP proof is wrong."));
        }
        let claims: Claims = part(payload).ok_or(malformed)?;
        if claims.jti.is_empty() || claims.jti.len() > LONGEST_JTI {
            return Err(ProofRefused::Invalid("The jti of the DPoP proof must have 1 to 256 bytes."));
        }
        Ok(Self { thumbprint: key.thumbprint, claims })
    }

    /// Checks that it was made for a request of this method and address. Query and fragment do not count.
    ///
    /// # Errors
    /// `htm` or `htu` names another one.
    pub fn is_for_request(&self, method: &str, url: &Url) -> Result<(), ProofRefused> {
        if self.claims.htm != method {
            return Err(ProofRefused::Invalid("The htm of the DPoP proof is not the method of the request."));
        }
        if Url::parse(&self.claims.htu).is_ok_and(|htu| is_same_address(&htu, url)) {
            return Ok(());
        }
        Err(ProofRefused::Invalid("The htu of the DPoP proof is not the public address of the request."))
    }

    /// Checks that it was made for a request with this token.
    ///
    /// # Errors
    /// `ath` is missing, or is the digest of another token.
    pub fn is_for_token(&self, token: &str) -> Result<(), ProofRefused> {
        let expected = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
        let presented = self.claims.ath.as_deref().unwrap_or_default();
        verify_slices_are_equal(expected.as_bytes(), presented.as_bytes())
            .map_err(|_| ProofRefused::Invalid("The ath of the DPoP proof is not the digest of the token."))
    }

    /// Checks that it was made shortly before. Returns for how much longer it could be accepted: until then, it must be
    /// remembered as used.
    ///
    /// With a nonce of the broker, its `iat` does not count: the clock of the holder may be wrong.
    ///
    /// # Errors
    /// [`ProofRefused::Nonce`] if a nonce is demanded and missing, if the nonce is too old or not of this broker, or if
    /// `iat` is more than a minute away.
    pub fn lives_for(
        &self,
        ring: &KeyRing,
        now: Timestamp,
        nonce_demanded: bool,
    ) -> Result<TimeDelta, ProofRefused> {
        let remaining = match &self.claims.nonce {
            Some(nonce) => nonce::remaining(nonce, ring, now).ok_or(ProofRefused::Nonce)?,
            None if nonce_demanded => return Err(ProofRefused::Nonce),
            None => {
                // Milliseconds, because `iat` may have a fraction.
                let age = now.timestamp_millis() as f64 - self.claims.iat * 1000.0;
                let limit = DPOP_PROOF.num_milliseconds() as f64;
                if !(-limit..=limit).contains(&age) {
                    return Err(ProofRefused::Nonce);
                }
                DPOP_PROOF - TimeDelta::milliseconds(age as i64)
            }
        };
        // The clocks of the instances differ a little.
        Ok(remaining + CLOCK_DIFFERENCE)
    }

    /// The name under which it is remembered as used: a digest of the key and `jti`.
    pub fn used_name(&self) -> String {
        let text =
            [b"token-broker/v1/dpop-jti".as_slice(), self.thumbprint.as_bytes(), self.claims.jti.as_bytes()];
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &text.concat()))
    }
}

/// The JSON object in a part of a JWT. Known members that appear twice are an error.
fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// Compares after the normalisation of RFC 3986 sections 6.2.2 and 6.2.3. A slash at the end does not count, as in all
/// addresses of the broker.
fn is_same_address(one: &Url, other: &Url) -> bool {
    let origin =
        |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    let plain = |url: &Url| url.username().is_empty() && url.password().is_none() && url.has_host();
    plain(one) && origin(one) == origin(other) && normal_path(one) == normal_path(other)
}

/// The path without the percent-encoding of unreserved characters, and with the rest of it in upper case.
fn normal_path(url: &Url) -> String {
    let mut path = String::new();
    let mut rest = url.path().trim_end_matches('/');
    while let Some(at) = rest.find('%') {
        path.push_str(&rest[..at]);
        let hex = rest.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let unreserved = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        match byte {
            Some(byte) if unreserved(&byte) => path.push(char::from(byte)),
            Some(byte) => path.push_str(&format!("%{byte:02X}")),
            None => path.push('%'),
        }
        rest = &rest[at + if byte.is_some() { 3 } else { 1 }..];
    }
    path + rest
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::key_ring::{KeyId, ServerKey};

    const NOW: i64 = 1_700_000_000;

    fn now() -> Timestamp {
        DateTime::from_timestamp(NOW, 0).unwrap()
    }

    fn ring() -> KeyRing {
        KeyRing::new(KeyId(1), vec![ServerKey::new(KeyId(1), vec![1; 32]).unwrap()]).unwrap()
    }

    fn url() -> Url {
        "https://auth.example.com/api/me".parse().unwrap()
    }

    fn claims() -> Value {
        json!({"jti": "a", "htm": "GET", "htu": "https://auth.example.com/api/me", "iat": NOW})
    }

    fn changed(mut object: Value, changes: Value) -> Value {
        for (name, value) in changes.as_object().unwrap() {
            object[name] = value.clone();
        }
        object
    }

    /// A proof with these changes of its header, and these claims.
    fn signed(header: Value, claims: &Value) -> String {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
        let header = changed(json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}), header);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn proof(changes: Value) -> Proof {
        Proof::verify(&signed(json!({}), &changed(claims(), changes))).unwrap()
    }

    fn refused<T>(result: Result<T, ProofRefused>) -> &'static str {
        result.err().map_or("accepted", ProofRefused::text)
    }

    /// RFC 9449 section 4.1.
    #[test]
    fn the_example_of_the_standard_is_accepted() {
        let jwt = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
        let proof = Proof::verify(jwt).unwrap();
        assert_eq!(proof.thumbprint.to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        proof.is_for_request("POST", &"https://server.example.com/token".parse().unwrap()).unwrap();
        let at = DateTime::from_timestamp(1_562_262_616, 0).unwrap();
        assert!(proof.lives_for(&ring(), at, false).is_ok());
        let changed = jwt.replacen(".eyJ", ".eyK", 1);
        assert!(refused(Proof::verify(&changed)).contains("signature"));
    }

    #[test]
    fn a_header_that_is_not_that_of_a_proof_is_refused() {
        for (header, text) in [
            (json!({"typ": "JWT"}), "typ"),
            (json!({"typ": "application/dpop+jwt"}), "typ"),
            (json!({"typ": null}), "required header"),
            (json!({"alg": "none"}), "alg"),
            (json!({"alg": "HS256"}), "alg"),
            (json!({"alg": "ES512"}), "alg"),
            (json!({"alg": "RS256"}), "not a public key"),
            (json!({"jwk": {"kty": "oct", "k": "AAAA"}}), "private key"),
            (json!({"jwk": null}), "required header"),
            (json!({"crit": ["b64"], "b64": false}), "critical"),
        ] {
            assert!(refused(Proof::verify(&signed(header.clone(), &claims()))).contains(text), "{header}");
        }
    }

    #[test]
    fn claims_that_are_missing_or_of_another_type_are_refused() {
        for name in ["jti", "htm", "htu", "iat"] {
            for bad in [Value::Null, json!([]), json!({})] {
                let claims = changed(claims(), json!({name: bad}));
                assert!(refused(Proof::verify(&signed(json!({}), &claims))).contains("required"), "{claims}");
            }
        }
        for jti in ["", &"x".repeat(257)] {
            let claims = changed(claims(), json!({"jti": jti}));
            assert!(refused(Proof::verify(&signed(json!({}), &claims))).contains("jti"));
        }
        for text in ["", "a", "a.b", "a.b.c", "a.b.c.d", &"x".repeat(9000)] {
            assert!(Proof::verify(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_repeated_claim_is_refused() {
        let repeated = claims().to_string().replacen('{', r#"{"htm":"POST","#, 1);
        assert!(part::<Claims>(&URL_SAFE_NO_PAD.encode(repeated)).is_none());
        assert!(part::<Claims>(&URL_SAFE_NO_PAD.encode(claims().to_string())).is_some());
    }

    #[test]
    fn method_and_address_must_be_those_of_the_request() {
        let proof_of = |htu: &str| proof(json!({"htu": htu}));
        for good in [
            "https://auth.example.com/api/me",
            "https://auth.example.com/api/me/",
            "HTTPS://AUTH.example.com:443/api/me",
            "https://auth.example.com/api/me?include=permissions",
            "https://auth.example.com/api/x/../me#here",
            "https://auth.example.com/%61pi/me",
        ] {
            proof_of(good).is_for_request("GET", &url()).unwrap();
        }
        for bad in [
            "http://auth.example.com/api/me",
            "https://auth.example.com:8443/api/me",
            "https://auth.example.com/api/sessions",
            "https://auth.example.com/API/me",
            "https://auth.example.com/api%2Fme",
            "https://auth.example.com",
            "https://evil.example.com/api/me",
            "https://auth.example.com@evil.example.com/api/me",
            "https://user@auth.example.com/api/me",
            "/api/me",
            "",
        ] {
            assert!(refused(proof_of(bad).is_for_request("GET", &url())).contains("htu"), "{bad}");
        }
        for method in ["POST", "get", "GET "] {
            assert!(refused(proof(json!({})).is_for_request(method, &url())).contains("htm"), "{method}");
        }
        let path = |text: &str| normal_path(&format!("https://a.example{text}").parse().unwrap());
        assert_eq!(
            (path("/%7e%2f%zz%+1%"), path("/%c3%BC")),
            ("/~%2F%zz%+1%".to_owned(), "/%C3%BC".to_owned())
        );
    }

    #[test]
    fn the_digest_must_be_that_of_the_token() {
        // The example of RFC 9449 section 7.1.
        let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        let ath = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";
        proof(json!({"ath": ath})).is_for_token(token).unwrap();
        for bad in [json!({"ath": ath}), json!({"ath": format!("{ath}=")}), json!({"ath": ""}), json!({})] {
            assert!(refused(proof(bad).is_for_token("another token")).contains("ath"));
        }
        assert!(refused(proof(json!({})).is_for_token(token)).contains("ath"));
    }

    #[test]
    fn without_a_nonce_the_time_must_be_within_a_minute() {
        let lives = |iat: Value| proof(json!({"iat": iat})).lives_for(&ring(), now(), false);
        for (iat, seconds) in [(NOW - 60, 0), (NOW, 60), (NOW + 60, 120)] {
            assert_eq!(lives(json!(iat)).unwrap(), TimeDelta::seconds(seconds) + CLOCK_DIFFERENCE, "{iat}");
        }
        assert_eq!(
            lives(json!(NOW as f64 + 0.5)).unwrap(),
            TimeDelta::milliseconds(60_500) + CLOCK_DIFFERENCE
        );
        for iat in [json!(NOW - 61), json!(NOW + 61), json!(0), json!(1e300), json!(-1e300)] {
            assert_eq!(lives(iat.clone()), Err(ProofRefused::Nonce), "{iat}");
        }
        assert_eq!(proof(json!({})).lives_for(&ring(), now(), true), Err(ProofRefused::Nonce));
    }

    #[test]
    fn with_a_nonce_the_time_does_not_count() {
        let nonce = nonce::issue(&ring(), now());
        let with = |changes: Value| proof(changed(json!({"nonce": nonce, "iat": 0}), changes));
        let at = |seconds| now() + TimeDelta::seconds(seconds);
        for demanded in [false, true] {
            let left = with(json!({})).lives_for(&ring(), at(100), demanded).unwrap();
            assert_eq!(left, TimeDelta::seconds(200) + CLOCK_DIFFERENCE);
            assert_eq!(with(json!({})).lives_for(&ring(), at(300), demanded), Err(ProofRefused::Nonce));
            let foreign = with(json!({"nonce": "n", "iat": NOW}));
            assert_eq!(foreign.lives_for(&ring(), now(), demanded), Err(ProofRefused::Nonce));
        }
    }

    #[test]
    fn the_same_jti_of_another_key_is_another_name() {
        let (one, other) = (proof(json!({})), proof(json!({})));
        assert_ne!(one.used_name(), other.used_name());
        assert_eq!(one.used_name().len(), 43);
    }
}
