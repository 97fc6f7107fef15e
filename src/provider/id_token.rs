//! What an ID token must say before anything in it, or anything else of the login, is believed
//! (OpenID Connect Core sections 3.1.3.7 and 3.1.3.8).

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

/// How far the provider's clock may be from ours, in seconds.
pub(super) const SKEW: f64 = 60.0;

/// The end of the year 9999, in seconds since 1970: a later time is a mistake, or somebody trying something.
const LAST_TIME: f64 = 253_402_300_799.0;

/// How old a token may be when it arrives, in seconds.
const OLDEST: f64 = 600.0;

/// What the token is compared with.
pub(super) struct Expected<'a> {
    /// The configured issuer.
    pub(super) issuer: &'a str,
    /// The broker's `client_id`.
    pub(super) client_id: &'a str,
    /// Audiences that may stand beside it.
    pub(super) trusted_audiences: &'a [String],
    /// The attempt's nonce.
    pub(super) nonce: &'a OidcNonce,
    /// The `max_age` that was asked for, in seconds.
    pub(super) max_age: Option<u32>,
    /// The `acr_values` that were asked for.
    pub(super) acr_values: &'a [String],
    /// The access token that came with it.
    pub(super) access_token: &'a SecretString,
    /// The time.
    pub(super) now: Timestamp,
}

/// An ID token that passed every check.
pub(super) struct IdToken {
    /// Who signed in.
    pub(super) subject: Subject,
    /// The provider's session (`sid`).
    pub(super) session: Option<String>,
    /// When the person last proved who they are.
    pub(super) auth_time: Option<Timestamp>,
    /// The token itself, where it is kept for the logout.
    pub(super) kept: Option<SecretString>,
    /// All claims, for the mapping.
    pub(super) claims: Object,
}

impl Expected<'_> {
    /// Checks the claims of a token whose signature was verified.
    ///
    /// # Errors
    ///
    /// InvalidIdToken for a token that must not be believed, InsufficientAuthentication for a good one that
    /// tells of an older or weaker sign-in than was asked for.
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
        if now >= expires + SKEW {
            return Err(Refused("it has expired"));
        }
        let issued = claims.time("iat")?.ok_or(Refused("iat is missing"))?;
        if now - issued > OLDEST {
            return Err(Refused("it was issued more than ten minutes ago"));
        }
        if issued - now > SKEW {
            return Err(Refused("it was issued in the future"));
        }
        if claims.time("nbf")?.is_some_and(|not_before| not_before - now > SKEW) {
            return Err(Refused("it is not valid yet"));
        }
        Ok(())
    }

    fn check_nonce(&self, claims: Claims<'_>) -> Result<(), Refused> {
        let nonce = claims.text("nonce")?.ok_or(Refused("nonce is missing"))?;
        if self.nonce.matches(nonce) { Ok(()) } else { Err(Refused("nonce is not this login's")) }
    }

    /// `at_hash`: the left half of the access token's digest, by the hash of the signature's algorithm.
    fn check_access_token(&self, claims: Claims<'_>, algorithm: Algorithm) -> Result<(), Refused> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        let Some(claimed) = claims.text("at_hash")? else { return Ok(()) };
        let hash = match algorithm {
            RS256 | PS256 | ES256 => &digest::SHA256,
            RS384 | PS384 | ES384 => &digest::SHA384,
            RS512 | PS512 | EdDSA => &digest::SHA512,
            _ => return Err(Refused("at_hash is of an unknown algorithm")),
        };
        let whole = digest(hash, self.access_token.expose_secret().as_bytes());
        let half = URL_SAFE_NO_PAD.encode(&whole.as_ref()[..whole.as_ref().len() / 2]);
        verify_slices_are_equal(half.as_bytes(), claimed.as_bytes())
            .map_err(|_| Refused("at_hash does not match the access token"))
    }

    /// `auth_time` and `acr`, against what was asked for.
    fn check_strength(&self, claims: Claims<'_>) -> Result<Option<Timestamp>, ProviderError> {
        let now = seconds(self.now);
        let auth_time = claims.time("auth_time")?;
        if auth_time.is_some_and(|at| at - now > SKEW) {
            return Err(Refused("auth_time is in the future").into());
        }
        if let Some(max_age) = self.max_age {
            let at = auth_time.ok_or(Refused("auth_time is missing although max_age was asked for"))?;
            if now - at > f64::from(max_age) + SKEW {
                let text = "the person signed in longer ago than max_age";
                return Err(ProviderError::InsufficientAuthentication(text.to_owned()));
            }
        }
        let acr = claims.text("acr")?;
        let acr_is_asked_for = acr.is_some_and(|acr| self.acr_values.iter().any(|asked| asked == acr));
        if !self.acr_values.is_empty() && !acr_is_asked_for {
            let text = "acr is none of the acr_values asked for";
            return Err(ProviderError::InsufficientAuthentication(text.to_owned()));
        }
        Ok(auth_time.and_then(|at| DateTime::from_timestamp(at as i64, 0)))
    }
}

/// Who made the token and for whom: `iss`, `aud` and `azp`, exactly.
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
        return Err(Refused("aud contains an audience that is not trusted by name"));
    }
    match claims.text("azp")? {
        Some(authorized) if authorized != client_id => Err(Refused("azp is another client")),
        None if audiences.len() > 1 => Err(Refused("azp is missing beside several audiences")),
        _ => Ok(()),
    }
}

/// Claims read by type: one of the wrong type is an error, never an absent one.
#[derive(Clone, Copy)]
pub(super) struct Claims<'a>(pub(super) &'a Object);

impl<'a> Claims<'a> {
    /// A claim that is text.
    pub(super) fn text(self, name: &'static str) -> Result<Option<&'a str>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refused("a claim that must be text is not")),
        }
    }

    /// A claim that is a time: seconds since 1970, with or without a fraction (RFC 7519, NumericDate).
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

    /// Whom the token is for: one text or a list of texts.
    pub(super) fn audiences(self) -> Result<Vec<&'a str>, Refused> {
        const WRONG: Refused = Refused("aud is neither text nor a list of texts");
        match self.0.get("aud") {
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(several)) => several.iter().map(|a| a.as_str().ok_or(WRONG)).collect(),
            _ => Err(WRONG),
        }
    }
}

impl From<Refused> for ProviderError {
    fn from(refused: Refused) -> Self {
        Self::InvalidIdToken(refused.0.to_owned())
    }
}

/// Seconds since 1970, as claims count them.
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

    /// Checks good claims with these changes, against what `ask` asks for.
    fn checked(changes: Value, ask: impl FnOnce(&mut Expected<'_>)) -> Result<IdToken, ProviderError> {
        checked_as(Algorithm::RS256, changes, ask)
    }

    fn checked_as(
        algorithm: Algorithm,
        changes: Value,
        ask: impl FnOnce(&mut Expected<'_>),
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
        ask(&mut expected);
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        expected.check(VerifiedJwt { algorithm, claims })
    }

    fn verdict(changes: Value) -> &'static str {
        kind(checked(changes, |_| {}))
    }

    /// Every one of these values of one claim is refused.
    fn refused(claim: &str, values: impl IntoIterator<Item = Value>) {
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
    fn pr_09_another_issuer_is_refused() {
        let slash = format!("{ISSUER}/");
        refused("iss", [json!(null), json!(slash), json!("HTTPS://login.example.com"), json!([ISSUER])]);
    }

    #[test]
    fn pr_09_a_token_for_others_is_refused() {
        refused(
            "aud",
            [json!(null), json!("other"), json!([]), json!({}), json!(1), json!([1]), json!(["x"])],
        );
        assert_eq!(verdict(json!({"aud": [CLIENT_ID]})), "ok");
    }

    #[test]
    fn pr_09_only_audiences_trusted_by_name_may_stand_beside() {
        let several = |others: &str| json!({"aud": [CLIENT_ID, others], "azp": CLIENT_ID});
        assert_eq!(verdict(several("partner")), "ok");
        assert_eq!(verdict(several("stranger")), "invalid_id_token");
        assert_eq!(verdict(json!({"aud": ["partner"]})), "invalid_id_token");
    }

    #[test]
    fn pr_09_foreign_azp_is_refused() {
        refused("azp", [json!("other"), json!(1), json!([CLIENT_ID]), json!("")]);
        assert_eq!(verdict(json!({"azp": CLIENT_ID})), "ok");
        assert_eq!(verdict(json!({"aud": [CLIENT_ID, "partner"]})), "invalid_id_token");
    }

    #[test]
    fn pr_10_an_expired_token_is_refused() {
        refused("exp", [json!(null), json!(NOW - 60), json!(0), json!(-1), json!("1900000000"), json!(true)]);
        refused("exp", [json!(1e300), json!(u64::MAX), json!(253_402_300_800_i64)]);
        assert_eq!(verdict(json!({"exp": NOW - 59})), "ok");
        assert_eq!(verdict(json!({"exp": NOW as f64 + 0.5})), "ok");
    }

    #[test]
    fn pr_10_a_token_issued_too_early_or_too_late_is_refused() {
        refused("iat", [json!(null), json!(NOW - 601), json!(NOW + 61), json!("1800000000"), json!([NOW])]);
        for good in [NOW - 600, NOW + 60] {
            assert_eq!(verdict(json!({"iat": good})), "ok", "{good}");
        }
    }

    #[test]
    fn pr_10_not_before_is_honoured() {
        refused("nbf", [json!(NOW + 61), json!(1e300), json!("1800000000"), json!({})]);
        assert_eq!(verdict(json!({"nbf": NOW + 60})), "ok");
    }

    #[test]
    fn pr_11_the_nonce_must_be_this_logins() {
        let other = Attempt::new().nonce.expose().to_lowercase();
        refused("nonce", [json!(null), json!(""), json!(other), json!([]), json!(true)]);
    }

    #[test]
    fn pr_12_at_hash_must_match_the_access_token() {
        let half =
            |text: &str| URL_SAFE_NO_PAD.encode(&digest(&digest::SHA256, text.as_bytes()).as_ref()[..16]);
        let whole = URL_SAFE_NO_PAD.encode(digest(&digest::SHA256, b"the-access-token"));
        refused("at_hash", [json!(half("other")), json!(""), json!(whole), json!(1)]);
        assert_eq!(verdict(json!({"at_hash": half("the-access-token")})), "ok");
    }

    #[test]
    fn pr_12_the_hash_is_that_of_the_algorithm() {
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
    fn pr_12_auth_time_is_checked_when_max_age_was_asked_for() {
        let asked = |changes| kind(checked(changes, |expected| expected.max_age = Some(300)));
        assert_eq!(asked(json!({"auth_time": NOW - 360})), "ok");
        assert_eq!(asked(json!({"auth_time": NOW - 361})), "insufficient");
        assert_eq!(asked(json!({})), "invalid_id_token");
        assert_eq!(verdict(json!({"auth_time": NOW - 100_000})), "ok");
        refused("auth_time", [json!("1800000000"), json!(NOW + 61)]);
    }

    #[test]
    fn pr_12_acr_is_checked_when_it_was_asked_for() {
        static ACR: LazyLock<[String; 2]> = LazyLock::new(|| ["gold".to_owned(), "silver".to_owned()]);
        let asked = |changes| kind(checked(changes, |expected| expected.acr_values = &*ACR));
        assert_eq!(asked(json!({"acr": "silver"})), "ok");
        assert_eq!(asked(json!({"acr": "bronze"})), "insufficient");
        assert_eq!(asked(json!({})), "insufficient");
        assert_eq!(asked(json!({"acr": ["gold"]})), "invalid_id_token");
        assert_eq!(verdict(json!({"acr": "0"})), "ok");
    }

    #[test]
    fn pr_14_a_bad_subject_is_refused() {
        refused("sub", [json!(null), json!(""), json!(1), json!("a\u{0}b"), json!("x".repeat(256))]);
        assert_eq!(verdict(json!({"sid": 1})), "invalid_id_token");
    }
}
