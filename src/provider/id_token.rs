//! The checks of an ID token's claims (OpenID Connect Core sections 3.1.3.7 and 3.1.3.8). A login is accepted only if all
//! of them pass.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{self, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use jsonwebtoken::Algorithm;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::ProviderError;
use super::json::Object;
use super::jwt::{Refused, VerifiedJwt};
use crate::domain::clock::Timestamp;
use crate::domain::login_attempt::OidcNonce;
use crate::domain::profile::Subject;

/// The tolerated difference between the provider's clock and the broker's, in seconds.
pub(super) const CLOCK_SKEW: f64 = 60.0;

/// The end of the year 9999, in seconds since 1970. A later time is a mistake or an attack.
const LAST_TIME: f64 = 253_402_300_799.0;

/// The maximum age of a token when it is received, in seconds.
const MAX_TOKEN_AGE: f64 = 600.0;

/// The values that the claims are compared with.
pub(super) struct Expected<'a> {
    /// The configured issuer.
    pub(super) issuer: &'a str,
    /// The broker's `client_id`.
    pub(super) client_id: &'a str,
    /// Additional audiences that are accepted.
    pub(super) trusted_audiences: &'a [String],
    /// The nonce of the login attempt.
    pub(super) nonce: &'a OidcNonce,
    /// The requested `max_age` in seconds.
    pub(super) max_age: Option<u32>,
    /// The requested `acr_values`.
    pub(super) acr_values: &'a [String],
    /// The access token that was received with the ID token.
    pub(super) access_token: &'a SecretString,
    /// The current time.
    pub(super) now: Timestamp,
}

/// An ID token that passed every check.
pub(super) struct IdToken {
    /// The user who signed in.
    pub(super) subject: Subject,
    /// The session id of the provider (`sid`).
    pub(super) session: Option<String>,
    /// When the user last authenticated at the provider.
    pub(super) auth_time: Option<Timestamp>,
    /// The token itself, if it is stored for the logout.
    pub(super) kept: Option<SecretString>,
    /// All claims, for the profile.
    pub(super) claims: Object,
}

impl Expected<'_> {
    /// Checks the claims of a token whose signature was verified.
    ///
    /// # Errors
    ///
    /// InvalidIdToken for an invalid token; InsufficientAuthentication for a valid token whose sign-in is older or
    /// weaker than requested.
    pub(super) fn check(&self, token: VerifiedJwt) -> Result<IdToken, ProviderError> {
        let claims = Claims(&token.claims);
        check_parties(claims, self.issuer, self.client_id, self.trusted_audiences)?;
        self.check_times(claims)?;
        self.check_nonce(claims)?;
        self.check_access_token(claims, token.algorithm)?;
        let subject = claims.text("sub")?.unwrap_or_default();
        let subject = subject.parse().map_err(|_| Refused("sub is not a usable subject"))?;
        let session = claims.text("sid")?.map(str::to_owned);
        let auth_time = self.check_strength(claims)?;
        Ok(IdToken { subject, session, auth_time, kept: None, claims: token.claims })
    }

    fn check_times(&self, claims: Claims<'_>) -> Result<(), Refused> {
        let now = seconds(self.now);
        let expires = claims.time("exp")?.ok_or(Refused("exp is missing"))?;
        if now >= expires + CLOCK_SKEW {
            return Err(Refused("it has expired"));
        }
        let issued = claims.time("iat")?.ok_or(Refused("iat is missing"))?;
        if now - issued > MAX_TOKEN_AGE {
            return Err(Refused("it was issued more than ten minutes ago"));
        }
        if issued - now > CLOCK_SKEW {
            return Err(Refused("it was issued in the future"));
        }
        if claims.time("nbf")?.is_some_and(|not_before| not_before - now > CLOCK_SKEW) {
            return Err(Refused("it is not valid yet"));
        }
        Ok(())
    }

    fn check_nonce(&self, claims: Claims<'_>) -> Result<(), Refused> {
        let nonce = claims.text("nonce")?.ok_or(Refused("nonce is missing"))?;
        if self.nonce.matches(nonce) { Ok(()) } else { Err(Refused("nonce is not that of this login")) }
    }

    /// Checks `at_hash`: the left half of the access token's digest, made with the hash function of the signature
    /// algorithm.
    fn check_access_token(&self, claims: Claims<'_>, algorithm: Algorithm) -> Result<(), Refused> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let Some(claimed) = claims.text("at_hash")? else { return Ok(()) };
        let hash = match algorithm {
            RS256 | PS256 | ES256 => &digest::SHA256,
            RS384 | PS384 | ES384 => &digest::SHA384,
            RS512 | PS512 | EdDSA => &digest::SHA512,
            _ => return Err(Refused("at_hash was made with an unknown algorithm")),
        };
        let full = digest(hash, self.access_token.expose_secret().as_bytes());
        let half = URL_SAFE_NO_PAD.encode(&full.as_ref()[..full.as_ref().len() / 2]);
        verify_slices_are_equal(half.as_bytes(), claimed.as_bytes())
            .map_err(|_| Refused("at_hash does not match the access token"))
    }

    /// Checks `auth_time` and `acr` against the requested values.
    fn check_strength(&self, claims: Claims<'_>) -> Result<Option<Timestamp>, ProviderError> {
        let now = seconds(self.now);
        let auth_time = claims.time("auth_time")?;
        if auth_time.is_some_and(|at| at - now > CLOCK_SKEW) {
            return Err(Refused("auth_time is in the future").into());
        }
        if let Some(max_age) = self.max_age {
            let at = auth_time.ok_or(Refused("auth_time is missing although max_age was requested"))?;
            if now - at > f64::from(max_age) + CLOCK_SKEW {
                let text = "the user signed in longer ago than max_age allows";
                return Err(ProviderError::InsufficientAuthentication(text.to_owned()));
            }
        }
        let acr = claims.text("acr")?;
        let acr_is_requested =
            acr.is_some_and(|acr| self.acr_values.iter().any(|requested| requested == acr));
        if !self.acr_values.is_empty() && !acr_is_requested {
            let text = "acr is not one of the requested acr_values";
            return Err(ProviderError::InsufficientAuthentication(text.to_owned()));
        }
        Ok(auth_time.and_then(|at| DateTime::from_timestamp(at as i64, 0)))
    }
}

/// Checks the issuer and the audience of a token: `iss`, `aud` and `azp`.
pub(super) fn check_parties(
    claims: Claims<'_>,
    issuer: &str,
    client_id: &str,
    trusted_audiences: &[String],
) -> Result<(), Refused> {
    if claims.text("iss")? != Some(issuer) {
        return Err(Refused("iss is not the configured issuer"));
    }
    let audiences = claims.audiences()?;
    if !audiences.contains(&client_id) {
        return Err(Refused("aud does not contain this client"));
    }
    let trusted = |audience: &&str| *audience == client_id || trusted_audiences.iter().any(|a| a == audience);
    if !audiences.iter().all(trusted) {
        return Err(Refused("aud contains an audience that is not listed in trusted_audiences"));
    }
    match claims.text("azp")? {
        Some(authorized) if authorized != client_id => Err(Refused("azp is another client")),
        None if audiences.len() > 1 => Err(Refused("azp is missing although there are several audiences")),
        _ => Ok(()),
    }
}

/// Typed access to claims. A claim of the wrong type is an error and is not treated as missing.
#[derive(Clone, Copy)]
pub(super) struct Claims<'a>(pub(super) &'a Object);

impl<'a> Claims<'a> {
    /// A string claim.
    pub(super) fn text(self, name: &'static str) -> Result<Option<&'a str>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refused("a claim that must be a string is not")),
        }
    }

    /// A time claim: seconds since 1970, with or without a fraction (NumericDate, RFC 7519 section 2).
    pub(super) fn time(self, name: &'static str) -> Result<Option<f64>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(seconds) if (0.0..=LAST_TIME).contains(&seconds) => Ok(Some(seconds)),
                _ => Err(Refused("a time is before 1970 or after 9999")),
            },
            Some(_) => Err(Refused("a claim that must be a number is not")),
        }
    }

    /// The audiences of the token (`aud`): a string or a list of strings.
    pub(super) fn audiences(self) -> Result<Vec<&'a str>, Refused> {
        const WRONG_TYPE: Refused = Refused("aud is neither a string nor a list of strings");
        match self.0.get("aud") {
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(several)) => several.iter().map(|a| a.as_str().ok_or(WRONG_TYPE)).collect(),
            _ => Err(WRONG_TYPE),
        }
    }
}

impl From<Refused> for ProviderError {
    fn from(refused: Refused) -> Self {
        Self::InvalidIdToken(refused.0.to_owned())
    }
}

/// Seconds since 1970, as in claims.
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use serde_json::json;

    use super::super::fake::keys::{changed, claims};
    use super::super::fake::{Attempt, CLIENT_ID, NOW, kind, now};
    use super::*;

    const ISSUER: &str = "https://login.example.com";

    /// Checks valid claims with these changes. `request` changes the expected values.
    fn checked(changes: Value, request: impl FnOnce(&mut Expected<'_>)) -> Result<IdToken, ProviderError> {
        checked_as(Algorithm::RS256, changes, request)
    }

    fn checked_as(
        algorithm: Algorithm,
        changes: Value,
        request: impl FnOnce(&mut Expected<'_>),
    ) -> Result<IdToken, ProviderError> {
        let attempt = Attempt::new();
        let claims = changed(&claims(ISSUER, &attempt.nonce.expose()), changes);
        let mut expected = Expected {
            issuer: ISSUER,
            client_id: CLIENT_ID,
            trusted_audiences: &["partner".to_owned()],
            nonce: &attempt.nonce,
            max_age: None,
            acr_values: &[],
            access_token: &"the-access-token".into(),
            now: now(),
        };
        request(&mut expected);
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        expected.check(VerifiedJwt { algorithm, claims })
    }

    fn verdict(changes: Value) -> &'static str {
        kind(checked(changes, |_| {}))
    }

    /// Asserts that all these values of a claim are refused.
    fn assert_refused(claim: &str, values: impl IntoIterator<Item = Value>) {
        for value in values {
            assert_eq!(verdict(json!({ claim: value })), "invalid_id_token", "{claim}: {value}");
        }
    }

    #[test]
    fn a_good_token_passes() {
        let token = checked(json!({"sid": "s1", "auth_time": NOW - 5}), |_| {}).unwrap();
        assert_eq!(token.subject.as_str(), "alice-1");
        assert_eq!(token.session.as_deref(), Some("s1"));
        assert_eq!(token.auth_time.unwrap().timestamp(), NOW - 5);
    }

    #[test]
    fn another_issuer_is_refused() {
        let slash = format!("{ISSUER}/");
        assert_refused(
            "iss",
            [json!(null), json!(slash), json!("HTTPS://login.example.com"), json!([ISSUER])],
        );
    }

    #[test]
    fn a_token_for_other_audiences_is_refused() {
        assert_refused(
            "aud",
            [json!(null), json!("other"), json!([]), json!({}), json!(1), json!([1]), json!(["x"])],
        );
        assert_eq!(verdict(json!({"aud": [CLIENT_ID]})), "ok");
    }

    #[test]
    fn only_trusted_additional_audiences_are_accepted() {
        let several = |others: &str| json!({"aud": [CLIENT_ID, others], "azp": CLIENT_ID});
        assert_eq!(verdict(several("partner")), "ok");
        assert_eq!(verdict(several("stranger")), "invalid_id_token");
        assert_eq!(verdict(json!({"aud": ["partner"]})), "invalid_id_token");
    }

    #[test]
    fn azp_of_another_client_is_refused() {
        assert_refused("azp", [json!("other"), json!(1), json!([CLIENT_ID]), json!("")]);
        assert_eq!(verdict(json!({"azp": CLIENT_ID})), "ok");
        assert_eq!(verdict(json!({"aud": [CLIENT_ID, "partner"]})), "invalid_id_token");
    }

    #[test]
    fn an_expired_token_is_refused() {
        assert_refused(
            "exp",
            [json!(null), json!(NOW - 60), json!(0), json!(-1), json!("1900000000"), json!(true)],
        );
        assert_refused("exp", [json!(1e300), json!(u64::MAX), json!(253_402_300_800_i64)]);
        assert_eq!(verdict(json!({"exp": NOW - 59})), "ok");
        assert_eq!(verdict(json!({"exp": NOW as f64 + 0.5})), "ok");
    }

    #[test]
    fn a_token_issued_too_early_or_too_late_is_refused() {
        assert_refused(
            "iat",
            [json!(null), json!(NOW - 601), json!(NOW + 61), json!("1800000000"), json!([NOW])],
        );
        for good in [NOW - 600, NOW + 60] {
            assert_eq!(verdict(json!({"iat": good})), "ok", "{good}");
        }
    }

    #[test]
    fn not_before_is_honoured() {
        assert_refused("nbf", [json!(NOW + 61), json!(1e300), json!("1800000000"), json!({})]);
        assert_eq!(verdict(json!({"nbf": NOW + 60})), "ok");
    }

    #[test]
    fn the_nonce_must_be_that_of_this_login() {
        let other = Attempt::new().nonce.expose().to_lowercase();
        assert_refused("nonce", [json!(null), json!(""), json!(other), json!([]), json!(true)]);
    }

    #[test]
    fn at_hash_must_match_the_access_token() {
        let half =
            |text: &str| URL_SAFE_NO_PAD.encode(&digest(&digest::SHA256, text.as_bytes()).as_ref()[..16]);
        let whole = URL_SAFE_NO_PAD.encode(digest(&digest::SHA256, b"the-access-token"));
        assert_refused("at_hash", [json!(half("other")), json!(""), json!(whole), json!(1)]);
        assert_eq!(verdict(json!({"at_hash": half("the-access-token")})), "ok");
    }

    #[test]
    fn at_hash_uses_the_hash_of_the_signature_algorithm() {
        // OpenID Connect Core appendix A.3: an access token and its at_hash.
        static ACCESS_TOKEN: LazyLock<SecretString> =
            LazyLock::new(|| "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y".into());
        let hashed_by = |algorithm| {
            let claims = json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"});
            checked_as(algorithm, claims, |expected| expected.access_token = &ACCESS_TOKEN).is_ok()
        };
        assert!(hashed_by(Algorithm::RS256) && hashed_by(Algorithm::PS256) && hashed_by(Algorithm::ES256));
        for other in [Algorithm::ES384, Algorithm::RS512, Algorithm::EdDSA, Algorithm::HS256] {
            assert!(!hashed_by(other), "{other:?}");
        }
    }

    #[test]
    fn auth_time_is_checked_if_max_age_was_requested() {
        let requested = |changes| kind(checked(changes, |expected| expected.max_age = Some(300)));
        assert_eq!(requested(json!({"auth_time": NOW - 360})), "ok");
        assert_eq!(requested(json!({"auth_time": NOW - 361})), "insufficient");
        assert_eq!(requested(json!({})), "invalid_id_token");
        assert_eq!(verdict(json!({"auth_time": NOW - 100_000})), "ok");
        assert_refused("auth_time", [json!("1800000000"), json!(NOW + 61)]);
    }

    #[test]
    fn acr_is_checked_if_it_was_requested() {
        static ACR: LazyLock<[String; 2]> = LazyLock::new(|| ["gold".to_owned(), "silver".to_owned()]);
        let requested = |changes| kind(checked(changes, |expected| expected.acr_values = &*ACR));
        assert_eq!(requested(json!({"acr": "silver"})), "ok");
        assert_eq!(requested(json!({"acr": "bronze"})), "insufficient");
        assert_eq!(requested(json!({})), "insufficient");
        assert_eq!(requested(json!({"acr": ["gold"]})), "invalid_id_token");
        assert_eq!(verdict(json!({"acr": "0"})), "ok");
    }

    #[test]
    fn a_bad_subject_is_refused() {
        assert_refused("sub", [json!(null), json!(""), json!(1), json!("a\u{0}b"), json!("x".repeat(256))]);
        assert_eq!(verdict(json!({"sid": 1})), "invalid_id_token");
    }
}
