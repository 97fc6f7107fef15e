//! Logout tokens, with which a provider reports that a user has signed out there (OpenID Connect Back-Channel Logout 1.0,
//! sections 2.4 and 2.6). Header, signature, issuer and audience are checked as for ID tokens.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::id_token::{CLOCK_SKEW, Claims, check_parties, seconds};
use super::json::Object;
use super::jwt::{Refused, UnverifiedJwt, unverified_claims};
use super::oidc::Oidc;
use super::{Kind, Provider, ProviderError, Providers, Registration};
use crate::domain::clock::Timestamp;
use crate::domain::profile::ProfileText;
use crate::domain::provider_logout::{LogoutScope, ProviderLogout};

/// The member of `events` that makes a token a logout token.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The maximum age of a logout token when it is received, in seconds.
const MAX_TOKEN_AGE: f64 = 120.0;

/// The maximum length of `jti` in bytes.
const JTI_LIMIT: usize = 512;

/// The content of a verified logout token.
#[derive(Debug, PartialEq, Eq)]
struct LogoutToken {
    scope: LogoutScope,
    used_name: String,
}

impl Providers {
    /// Verifies a logout token of any configured provider. `iss` and `aud` select the providers whose keys must verify
    /// the signature. The caller must check that the token has not been used before.
    ///
    /// # Errors
    /// InvalidLogoutToken for an invalid token; KeyUnknownYet and the errors of fetching metadata and keys, which mean
    /// that the token could not be checked.
    pub async fn verify_logout_token(&self, token: &str) -> Result<ProviderLogout, ProviderError> {
        let claimed = unverified_claims(token).ok_or(Refused("it is not a signed token with claims"));
        let claimed = claimed.map_err(invalid)?;
        let mut providers = Vec::new();
        let mut verified = None;
        let mut refusal = invalid(Refused("iss and aud do not match any configured provider"));
        for provider in self.iter() {
            let Kind::Oidc(oidc) = &provider.kind else { continue };
            if !is_addressed(&claimed, oidc.issuer(), &provider.registration.client_id) {
                continue;
            }
            match provider.verify_logout_token(oidc, token).await {
                Ok(logout) => {
                    providers.push(provider.id().clone());
                    verified = Some(logout);
                }
                Err(error @ ProviderError::InvalidLogoutToken(_)) => refusal = error,
                Err(outage) => return Err(outage),
            }
        }
        let LogoutToken { scope, used_name } = verified.ok_or(refusal)?;
        Ok(ProviderLogout { providers, scope, used_name })
    }
}

/// Whether the unverified claims name this provider. This is checked first because it needs no fetch.
fn is_addressed(claims: &Object, issuer: &str, client_id: &str) -> bool {
    let claims = Claims(claims);
    let is_for_us = claims.audiences().is_ok_and(|audiences| audiences.contains(&client_id));
    is_for_us && claims.text("iss").is_ok_and(|iss| iss == Some(issuer))
}

impl Provider {
    async fn verify_logout_token(&self, oidc: &Oidc, token: &str) -> Result<LogoutToken, ProviderError> {
        let registration = &self.registration;
        let jwt = UnverifiedJwt::parse_logout_token(token, oidc.algorithms()).map_err(invalid)?;
        let verified = oidc.verify(registration, jwt, registration.http.deadline()).await;
        let verified = verified.map_err(|error| match error {
            ProviderError::InvalidIdToken(text) => ProviderError::InvalidLogoutToken(text),
            outage => outage,
        })?;
        let trusted_audiences = oidc.trusted_audiences();
        check(&verified.claims, oidc.issuer(), registration, trusted_audiences, oidc.now()).map_err(invalid)
    }
}

fn invalid(refused: Refused) -> ProviderError {
    ProviderError::InvalidLogoutToken(refused.0.to_owned())
}

/// Checks the claims of a token whose signature was verified.
fn check(
    claims: &Object,
    issuer: &str,
    registration: &Registration,
    trusted_audiences: &[String],
    now: Timestamp,
) -> Result<LogoutToken, Refused> {
    // ID tokens have a nonce. They must never be accepted as logout tokens, whatever else they contain.
    if claims.contains_key("nonce") {
        return Err(Refused("it contains a nonce, which is not allowed in logout tokens"));
    }
    let claims = Claims(claims);
    check_parties(claims, issuer, &registration.client_id, trusted_audiences)?;
    check_times(claims, seconds(now))?;
    check_event(claims)?;
    let jti = claims.text("jti")?.filter(|jti| (1..=JTI_LIMIT).contains(&jti.len()));
    let jti = jti.ok_or(Refused("jti is missing, empty or too long"))?;
    Ok(LogoutToken { scope: scope(claims)?, used_name: used_name(issuer, jti) })
}

/// Checks that the token is recent and, if it has an `exp`, not expired.
fn check_times(claims: Claims<'_>, now: f64) -> Result<(), Refused> {
    let issued = claims.time("iat")?.ok_or(Refused("iat is missing"))?;
    if now - issued > MAX_TOKEN_AGE {
        return Err(Refused("it was issued more than two minutes ago"));
    }
    if issued - now > CLOCK_SKEW {
        return Err(Refused("it was issued in the future"));
    }
    if claims.time("exp")?.is_some_and(|expires| now >= expires + CLOCK_SKEW) {
        return Err(Refused("it has expired"));
    }
    if claims.time("nbf")?.is_some_and(|not_before| not_before - now > CLOCK_SKEW) {
        return Err(Refused("it is not valid yet"));
    }
    Ok(())
}

fn check_event(claims: Claims<'_>) -> Result<(), Refused> {
    let event = claims.0.get("events").and_then(|events| events.get(LOGOUT_EVENT));
    match event {
        Some(Value::Object(_)) => Ok(()),
        _ => Err(Refused("events does not contain the logout event")),
    }
}

fn scope(claims: Claims<'_>) -> Result<LogoutScope, Refused> {
    let subject = claims.text("sub")?.map(str::parse).transpose();
    let subject = subject.map_err(|_| Refused("sub is not a usable subject"))?;
    match (claims.text("sid")?, subject) {
        // Cleaned in the same way as when it was stored at the sign-in.
        (Some(sid), subject) => {
            let id = ProfileText::clean(sid).ok_or(Refused("sid is empty"))?;
            Ok(LogoutScope::Session { id, subject })
        }
        (None, Some(subject)) => Ok(LogoutScope::Person(subject)),
        (None, None) => Err(Refused("it contains neither sid nor sub")),
    }
}

/// The name under which the token is marked as used. It includes the issuer, because `jti` is only unique per issuer. It
/// is a digest, so that no text of the token becomes a name in the key store.
fn used_name(issuer: &str, jti: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{}:{issuer}{jti}", issuer.len()).as_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::keys::{RSA, SigningKey, changed};
    use super::super::fake::oidc::{FakeOidc, JWKS, METADATA};
    use super::super::fake::server::Reply;
    use super::super::fake::{CLIENT_ID, NOW, clock, kind};
    use super::super::settings::ProviderSettings;
    use super::*;

    fn providers(settings: Vec<ProviderSettings>) -> Providers {
        Providers::new(settings, clock()).unwrap()
    }

    /// The claims of a valid logout token with these changes.
    fn claims(fake: &FakeOidc, changes: Value) -> Value {
        let good = json!({
            "iss": fake.issuer(), "aud": CLIENT_ID, "iat": NOW, "exp": NOW + 120, "jti": "once",
            "sub": "alice-1", "sid": "s1", "events": {LOGOUT_EVENT: {}},
        });
        changed(&good, changes)
    }

    fn signed(fake: &FakeOidc, changes: Value) -> String {
        RSA.sign_with(json!({"typ": "logout+jwt"}), &claims(fake, changes).to_string())
    }

    async fn scope_of(changes: Value) -> Result<LogoutScope, ProviderError> {
        let fake = FakeOidc::start(&RSA);
        let providers = providers(vec![fake.settings(|_| {})]);
        providers.verify_logout_token(&signed(&fake, changes)).await.map(|logout| logout.scope)
    }

    #[tokio::test]
    async fn tokens_that_the_standard_allows_are_accepted() {
        let fake = FakeOidc::start(&RSA);
        let providers = providers(vec![fake.settings(|_| {})]);
        let good = [
            json!({}),
            json!({"exp": null}),
            json!({"exp": NOW - 59}),
            json!({"iat": NOW - 120}),
            json!({"iat": NOW + 60}),
            json!({"aud": [CLIENT_ID]}),
            json!({"azp": CLIENT_ID}),
            json!({"sid": null}),
            json!({"sub": null}),
            json!({"events": {LOGOUT_EVENT: {"more": 1}, "urn:other": 1}}),
            json!({"jti": "x".repeat(JTI_LIMIT)}),
            json!({"unknown": [1]}),
        ];
        for changes in good {
            let outcome = providers.verify_logout_token(&signed(&fake, changes.clone())).await;
            assert_eq!(kind(outcome), "ok", "{changes}");
        }
    }

    #[tokio::test]
    async fn every_wrong_claim_is_refused() {
        let fake = FakeOidc::start(&RSA);
        let providers = providers(vec![fake.settings(|_| {})]);
        let wrong = |name: &str, values: Vec<Value>| -> Vec<Value> {
            values.into_iter().map(|value| json!({name: value})).collect()
        };
        let event = |value: Value| json!({LOGOUT_EVENT: value});
        let bad = [
            wrong(
                "iss",
                vec![json!(null), json!("https://evil.example"), json!(format!("{}/", fake.issuer()))],
            ),
            wrong("aud", vec![json!(null), json!("other"), json!([]), json!([CLIENT_ID, "other"]), json!(1)]),
            wrong("azp", vec![json!("other"), json!(1)]),
            wrong("iat", vec![json!(null), json!(NOW - 121), json!(NOW + 61), json!(NOW.to_string())]),
            wrong("exp", vec![json!(NOW - 60), json!("never"), json!(1e300)]),
            wrong("nbf", vec![json!(NOW + 61), json!("now")]),
            wrong("jti", vec![json!(null), json!(""), json!(1), json!("x".repeat(JTI_LIMIT + 1))]),
            wrong("nonce", vec![json!("n"), json!(""), json!(1)]),
            wrong("events", vec![json!(null), json!({}), json!(LOGOUT_EVENT), json!([LOGOUT_EVENT])]),
            wrong(
                "events",
                vec![event(json!(true)), event(json!("")), event(json!([])), json!({"urn:other": {}})],
            ),
            wrong("sub", vec![json!(""), json!(1), json!("x".repeat(256))]),
            wrong("sid", vec![json!(""), json!(1), json!("\u{0}")]),
            vec![json!({"sub": null, "sid": null})],
        ];
        for changes in bad.concat() {
            let outcome = providers.verify_logout_token(&signed(&fake, changes.clone())).await;
            assert_eq!(kind(outcome), "invalid_logout_token", "{changes}");
        }
    }

    #[tokio::test]
    async fn a_token_with_any_nonce_is_refused() {
        let fake = FakeOidc::start(&RSA);
        let claims = claims(&fake, json!({})).to_string().replacen('{', r#"{"nonce":null,"#, 1);
        let token = RSA.sign_with(json!({"typ": "logout+jwt"}), &claims);
        let outcome = providers(vec![fake.settings(|_| {})]).verify_logout_token(&token).await;
        assert_eq!(kind(outcome), "invalid_logout_token");
    }

    #[tokio::test]
    async fn the_type_is_absent_or_logout_jwt() {
        let fake = FakeOidc::start(&RSA);
        let providers = providers(vec![fake.settings(|_| {})]);
        let claims = claims(&fake, json!({})).to_string();
        for (typ, expected) in [
            (json!(null), "ok"),
            (json!("logout+jwt"), "ok"),
            (json!("Logout+JWT"), "ok"),
            (json!("application/logout+jwt"), "ok"),
            (json!("JWT"), "invalid_logout_token"),
            (json!("at+jwt"), "invalid_logout_token"),
            (json!("logout"), "invalid_logout_token"),
            (json!(""), "invalid_logout_token"),
            (json!(1), "invalid_logout_token"),
        ] {
            let token = RSA.sign_with(json!({"typ": typ}), &claims);
            assert_eq!(kind(providers.verify_logout_token(&token).await), expected, "{typ}");
        }
    }

    #[tokio::test]
    async fn the_signature_is_checked_like_that_of_an_id_token() {
        let fake = FakeOidc::start(&RSA);
        let providers = providers(vec![fake.settings(|_| {})]);
        let (claims, good) = (claims(&fake, json!({})), signed(&fake, json!({})));
        let (message, signature) = good.rsplit_once('.').unwrap();
        let stranger = SigningKey::rsa("rsa").sign_with(json!({"typ": "logout+jwt"}), &claims.to_string());
        let none = RSA.sign_with(json!({"alg": "none", "typ": "logout+jwt"}), &claims.to_string());
        let hmac = RSA.sign_with(json!({"alg": "HS256", "typ": "logout+jwt"}), &claims.to_string());
        let critical = RSA.sign_with(json!({"crit": ["x"], "typ": "logout+jwt"}), &claims.to_string());
        let unknown = RSA.sign_with(json!({"kid": "other", "typ": "logout+jwt"}), &claims.to_string());
        let unsigned = format!("{}.", none.rsplit_once('.').unwrap().0);
        let twice = claims.to_string().replacen('{', r#"{"sub":"bob-1","#, 1);
        let twice = RSA.sign_with(json!({"typ": "logout+jwt"}), &twice);
        let [cut, five] = [format!("{message}."), format!("{message}.{signature}.a.b")];
        let long = format!("{message}{}.{signature}", "A".repeat(16 * 1024));
        for bad in [
            "", "x", "..", &stranger, &none, &hmac, &critical, &unknown, &unsigned, &twice, &cut, &five,
            &long,
        ] {
            assert_eq!(kind(providers.verify_logout_token(bad).await), "invalid_logout_token", "{bad}");
        }
        assert_eq!(kind(providers.verify_logout_token(&good).await), "ok");
    }

    #[tokio::test]
    async fn sid_names_a_session_and_sub_alone_a_user() {
        let session = |subject: Option<&str>| LogoutScope::Session {
            id: ProfileText::clean("s1").unwrap(),
            subject: subject.map(|subject| subject.parse().unwrap()),
        };
        assert_eq!(scope_of(json!({})).await.unwrap(), session(Some("alice-1")));
        assert_eq!(scope_of(json!({"sub": null})).await.unwrap(), session(None));
        let person = LogoutScope::Person("alice-1".parse().unwrap());
        assert_eq!(scope_of(json!({"sid": null})).await.unwrap(), person);
    }

    #[tokio::test]
    async fn issuer_and_jti_identify_a_token() {
        let (one, other) = (FakeOidc::start(&RSA), FakeOidc::start(&RSA));
        let mut names = std::collections::HashSet::new();
        for (fake, jti) in [(&one, "a"), (&one, "b"), (&other, "a"), (&one, "a")] {
            let providers = providers(vec![fake.settings(|_| {})]);
            let logout = providers.verify_logout_token(&signed(fake, json!({"jti": jti}))).await.unwrap();
            names.insert(logout.used_name);
        }
        assert_eq!(names.len(), 3);
    }

    /// The same issuer can be configured twice, for logins of different strength.
    #[tokio::test]
    async fn a_token_applies_to_all_providers_it_names_and_to_no_other() {
        let (fake, stranger) = (FakeOidc::start(&RSA), FakeOidc::start(&RSA));
        let named = |id: &str, mut settings: ProviderSettings| {
            settings.id = id.parse().unwrap();
            settings.redirect_uri.set_path(&format!("/oauth2_callback/{id}"));
            settings
        };
        let mut other_client = named("client", fake.settings(|_| {}));
        other_client.client_id = "another".to_owned();
        let providers = providers(vec![
            named("one", fake.settings(|_| {})),
            named("two", fake.settings(|_| {})),
            other_client,
            named("stranger", stranger.settings(|_| {})),
        ]);
        let logout = providers.verify_logout_token(&signed(&fake, json!({}))).await.unwrap();
        assert_eq!(logout.providers.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(stranger.server.count(METADATA), 0, "no other provider is called");
    }

    #[tokio::test]
    async fn unavailable_keys_do_not_make_a_token_invalid() {
        let fake = FakeOidc::start(&RSA);
        fake.reply(JWKS, Reply::status(503));
        let providers = providers(vec![fake.settings(|_| {})]);
        assert_eq!(kind(providers.verify_logout_token(&signed(&fake, json!({}))).await), "unavailable");
        fake.keys(&[&RSA.jwk]);
        assert_eq!(kind(providers.verify_logout_token(&signed(&fake, json!({}))).await), "ok");
    }

    #[tokio::test]
    async fn a_token_for_another_audience_causes_no_fetch() {
        let fake = FakeOidc::start(&RSA);
        let providers = providers(vec![fake.settings(|_| {})]);
        for changes in [json!({"iss": "https://evil.example"}), json!({"aud": "other"})] {
            let outcome = providers.verify_logout_token(&signed(&fake, changes)).await;
            assert_eq!(kind(outcome), "invalid_logout_token");
        }
        assert_eq!(fake.server.count(METADATA), 0);
    }
}
