//! An OpenID provider: the endpoints come from discovery, the identity from a verified ID token (OpenID Connect Core).

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::authorization::authorization_url;
use super::cached::Cached;
use super::claims::{ClaimLocations, Documents};
use super::dialect::{Dialect, ParameterNames};
use super::discovery::Metadata;
use super::http_client::{Deadline, RESPONSE_LIMIT};
use super::id_token::{Expected, IdToken};
use super::jwks::KeySet;
use super::jwt::{Refused, UnverifiedJwt, VerifiedJwt, VerifyError};
use super::settings::OidcSettings;
use super::{AuthorizationRequest, CodeExchange, ProviderError, Registration, token_endpoint};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::profile::Profile;

/// How long a callback without `iss` waits for metadata that this instance has not fetched yet, in addition to the time
/// for exchange and profile.
const ISSUER_CHECK_TIMEOUT: Duration = Duration::from_millis(1500);

/// An OpenID provider.
pub(super) struct Oidc {
    settings: OidcSettings,
    clock: Arc<dyn Clock>,
    metadata: Cached<Metadata>,
    keys: Cached<KeySet>,
}

impl Oidc {
    pub(super) fn new(settings: OidcSettings, clock: Arc<dyn Clock>) -> Self {
        let metadata = Cached::new("metadata", Arc::clone(&clock));
        let keys = Cached::new("JWKS", Arc::clone(&clock));
        Self { settings, clock, metadata, keys }
    }

    /// The issuer, exactly as configured.
    pub(super) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// The accepted signature algorithms.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.settings.algorithms
    }

    /// Audiences that are accepted in a token in addition to the broker's client id.
    pub(super) fn trusted_audiences(&self) -> &[String] {
        &self.settings.trusted_audiences
    }

    /// Whether ID tokens are stored for the logout.
    pub(super) fn keeps_id_tokens(&self) -> bool {
        self.settings.id_token_hint
    }

    /// The current time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The metadata of the provider, from the cache if possible.
    pub(super) async fn metadata(
        &self,
        registration: &Registration,
        deadline: Deadline,
    ) -> Result<Arc<Metadata>, ProviderError> {
        let fetch = Metadata::fetch(&registration.http, &self.settings.issuer, deadline);
        Ok(self.metadata.get(deadline, fetch).await?.document)
    }

    /// The metadata that this instance has, however old it is.
    pub(super) fn known_metadata(&self) -> Option<Arc<Metadata>> {
        self.metadata.cached()
    }

    /// Checks whether a login can start.
    pub(super) async fn ready(&self, registration: &Registration) -> Result<(), ProviderError> {
        if self.metadata.is_cached() {
            return Ok(());
        }
        self.metadata(registration, registration.http.deadline()).await.map(drop)
    }

    pub(super) async fn authorization_url(
        &self,
        registration: &Registration,
        request: &AuthorizationRequest<'_>,
    ) -> Result<Url, ProviderError> {
        let metadata = self.metadata(registration, registration.http.deadline()).await?;
        let (endpoint, names) = (&metadata.authorization_endpoint, ParameterNames::default());
        Ok(authorization_url(registration, endpoint, request, &self.settings.acr_values, &names))
    }

    /// Checks the `iss` of a callback (RFC 9207 section 2.4): it must be the issuer, and must be present if the
    /// metadata announces it.
    pub(super) async fn check_issuer(
        &self,
        registration: &Registration,
        iss: Option<&str>,
    ) -> Result<(), ProviderError> {
        match iss {
            Some(iss) if iss == self.settings.issuer => Ok(()),
            Some(_) => Err(ProviderError::IssuerMismatch),
            None => {
                // Cached metadata is returned sooner, however old it is. A first fetch that times out here does not
                // fail for other callers, which wait longer.
                let deadline = registration.http.deadline();
                let metadata = self.metadata(registration, deadline);
                let metadata = deadline.at_most(ISSUER_CHECK_TIMEOUT).bound("metadata", metadata).await??;
                if metadata.announces_iss { Err(ProviderError::IssuerMismatch) } else { Ok(()) }
            }
        }
    }

    /// Exchanges the code and verifies the ID token. Nothing is returned before the token is verified.
    pub(super) async fn exchange(
        &self,
        registration: &Registration,
        exchange: &CodeExchange<'_>,
        deadline: Deadline,
    ) -> Result<(SecretString, IdToken), ProviderError> {
        let metadata = self.metadata(registration, deadline).await?;
        let (endpoint, http) = (&metadata.token_endpoint, &registration.http);
        let standard = Dialect::default();
        let tokens =
            token_endpoint::exchange(http, registration, endpoint, exchange, &standard, deadline).await?;
        let id_token = tokens.id_token.ok_or(Refused("the response contains no ID token"))?;
        let jwt = UnverifiedJwt::parse(id_token.expose_secret(), &self.settings.algorithms)?;
        let jwt = self.verify(registration, jwt, deadline).await?;
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &registration.client_id,
            trusted_audiences: &self.settings.trusted_audiences,
            nonce: exchange.nonce,
            max_age: exchange.max_age,
            acr_values: &self.settings.acr_values,
            access_token: &tokens.access_token,
            now: self.clock.now(),
        };
        let mut checked = expected.check(jwt)?;
        checked.kept = self.settings.id_token_hint.then_some(id_token);
        Ok((tokens.access_token, checked))
    }

    /// Verifies the signature of a token. If no known key can have signed it, the keys are fetched again, unless they
    /// were fetched during this call, or less than a minute ago for another token.
    ///
    /// # Errors
    /// InvalidIdToken; KeyUnknownYet if the keys were fetched before the token was received and may not be fetched
    /// again yet; errors of fetching.
    pub(super) async fn verify(
        &self,
        registration: &Registration,
        token: UnverifiedJwt<'_>,
        deadline: Deadline,
    ) -> Result<VerifiedJwt, ProviderError> {
        let metadata = self.metadata(registration, deadline).await?;
        let started = self.keys.fetches_started();
        let fetch = || KeySet::fetch(&registration.http, &metadata.jwks_uri, deadline);
        let keys = self.keys.get(deadline, fetch()).await?;
        let (verdict, fetched) = match token.verify(&keys.document) {
            Err(VerifyError::KeyUnknown) if keys.fetch <= started => {
                let keys = self.keys.renew(deadline, fetch()).await?;
                (token.verify(&keys.document), keys.fetch)
            }
            verdict => (verdict, keys.fetch),
        };
        verdict.map_err(|error| match error {
            VerifyError::KeyUnknown if fetched <= started => ProviderError::KeyUnknownYet,
            VerifyError::KeyUnknown => Refused("no key of the provider verifies it").into(),
            VerifyError::Refused(refused) => refused.into(),
        })
    }

    /// The profile from the claims of the ID token and, if configured, of the UserInfo endpoint.
    pub(super) async fn profile(
        &self,
        registration: &Registration,
        access_token: &SecretString,
        id_token: IdToken,
        deadline: Deadline,
    ) -> Result<Profile, ProviderError> {
        let mut documents = Documents::default();
        documents.add(id_token.claims);
        if self.settings.userinfo
            && let Some(endpoint) = &self.metadata(registration, deadline).await?.userinfo_endpoint
        {
            let http = &registration.http;
            let request = http.get(endpoint).bearer_auth(access_token.expose_secret());
            let userinfo = http.send("UserInfo", request, RESPONSE_LIMIT, deadline).await?.object()?;
            // OpenID Connect Core section 5.3.2: the claims of another user must not be used.
            if userinfo.get("sub").and_then(Value::as_str) != Some(id_token.subject.as_str()) {
                return Err(ProviderError::Unusable("UserInfo: sub is not that of the ID token".to_owned()));
            }
            documents.add(userinfo);
        }
        let locations = ClaimLocations::oidc(&self.settings.claims);
        locations.profile(registration, id_token.subject, &documents.merged(), id_token.session.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use futures_util::future::join_all;
    use serde_json::json;

    use super::super::fake::keys::{RSA, SigningKey, changed};
    use super::super::fake::oidc::{ACCESS_TOKEN, FakeOidc, JWKS, METADATA, TOKEN, USERINFO};
    use super::super::fake::server::Reply;
    use super::super::fake::{Attempt, CLIENT_ID, NOW, clock, kind, provider, provider_at};
    use super::super::settings::Timeouts;
    use super::super::{Provider, SignedInProfile};
    use super::*;
    use crate::domain::clock::monotonic;

    /// A whole callback: exchange and profile.
    async fn sign_in(provider: &Provider) -> Result<SignedInProfile, ProviderError> {
        provider.profile(provider.exchange(Attempt::new().exchange()).await?).await
    }

    #[tokio::test]
    async fn a_login_returns_a_profile() {
        let fake = FakeOidc::start(&RSA);
        let claims = changed(&fake.claims(), json!({"preferred_username": "alice", "sid": "s1"}));
        fake.id_token(&RSA.sign(&claims));
        let provider = provider(fake.settings(|_| {}));
        let url = provider.authorization_url(&Attempt::new().request()).await.unwrap();
        assert!(url.as_str().starts_with(&format!("{}/authorize?tenant=1&", fake.issuer())), "{url}");
        let SignedInProfile { profile, auth_time, .. } = sign_in(&provider).await.unwrap();
        assert_eq!((profile.provider.as_str(), profile.subject.as_str()), ("corp", "alice-1"));
        assert_eq!(profile.username.unwrap().as_str(), "alice");
        assert_eq!(profile.provider_session.unwrap().as_str(), "s1");
        assert_eq!(auth_time, None);
        assert_eq!(provider.identity(), fake.issuer());
        assert_eq!(provider.callback_path(), "/oauth2_callback/corp");
        assert!(provider.supports_max_age());
        assert_eq!(fake.server.count(USERINFO), 0);
    }

    #[tokio::test]
    async fn without_a_valid_id_token_userinfo_is_not_called() {
        let fake = FakeOidc::start(&RSA);
        let provider = provider(fake.settings(|settings| settings.userinfo = true));
        let unsigned = RSA.sign_with(json!({"alg": "none"}), &fake.claims().to_string());
        let expired = RSA.sign(&changed(&fake.claims(), json!({"exp": 1})));
        let other_nonce = RSA.sign(&changed(&fake.claims(), json!({"nonce": "other"})));
        for id_token in
            [json!(null), json!(""), json!({}), json!(unsigned), json!(expired), json!(other_nonce)]
        {
            let answer = json!({"access_token": "at", "token_type": "Bearer", "id_token": id_token});
            fake.reply(TOKEN, Reply::json(&answer));
            let outcome = provider.exchange(Attempt::new().exchange()).await;
            assert_eq!(kind(outcome), "invalid_id_token", "{id_token}");
        }
        assert_eq!(fake.server.count(USERINFO), 0);
    }

    #[tokio::test]
    async fn requested_acr_and_max_age_are_checked() {
        let fake = FakeOidc::start(&RSA);
        let acr_values = vec!["gold".to_owned()];
        let provider = provider(fake.settings(|settings| settings.acr_values = acr_values));
        assert_eq!(kind(sign_in(&provider).await), "insufficient");
        fake.id_token(&RSA.sign(&changed(&fake.claims(), json!({"acr": "gold"}))));
        assert_eq!(kind(sign_in(&provider).await), "ok");
        let attempt = Attempt::new();
        let outcome = provider.exchange(CodeExchange { max_age: Some(60), ..attempt.exchange() }).await;
        assert_eq!(kind(outcome), "invalid_id_token");
    }

    #[tokio::test]
    async fn userinfo_must_be_about_the_same_user() {
        let fake = FakeOidc::start(&RSA);
        let provider = provider(fake.settings(|settings| settings.userinfo = true));
        fake.reply(USERINFO, Reply::json(&json!({"sub": "alice-1", "name": "Alice"})));
        assert_eq!(sign_in(&provider).await.unwrap().profile.display_name.unwrap().as_str(), "Alice");
        let received = fake.server.received();
        let request = received.iter().find(|request| request.target == USERINFO).unwrap();
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer {ACCESS_TOKEN}")));
        for sub in [json!(null), json!("Alice-1"), json!("bob-1"), json!(1), json!(["alice-1"])] {
            fake.reply(USERINFO, Reply::json(&json!({"sub": sub, "name": "Mallory"})));
            assert_eq!(kind(sign_in(&provider).await), "unusable", "{sub}");
        }
        fake.reply(USERINFO, Reply::new(200, "content-type: application/jwt\r\n", "a.b.c"));
        assert_eq!(kind(sign_in(&provider).await), "unusable");
    }

    #[tokio::test]
    async fn a_provider_without_userinfo_endpoint_needs_none() {
        let fake = FakeOidc::start(&RSA);
        fake.metadata(json!({"userinfo_endpoint": null}));
        assert_eq!(kind(sign_in(&provider(fake.settings(|settings| settings.userinfo = true))).await), "ok");
    }

    #[tokio::test]
    async fn protocol_claims_come_from_the_id_token_alone() {
        let fake = FakeOidc::start(&RSA);
        let provider = provider(fake.settings(|settings| settings.userinfo = true));
        fake.reply(USERINFO, Reply::json(&json!({"sub": "alice-1", "sid": "s2", "auth_time": 1})));
        let SignedInProfile { profile, auth_time, .. } = sign_in(&provider).await.unwrap();
        assert_eq!((profile.provider_session, auth_time), (None, None));
    }

    #[tokio::test]
    async fn concurrent_logins_share_one_key_fetch() {
        let fake = FakeOidc::start(&RSA);
        let provider = provider(fake.settings(|_| {}));
        let outcomes = join_all((0..20).map(|_| sign_in(&provider))).await;
        assert!(outcomes.into_iter().all(|outcome| kind(outcome) == "ok"));
        assert_eq!((fake.server.count(METADATA), fake.server.count(JWKS)), (1, 1));
        assert_eq!(fake.server.count(TOKEN), 20);
    }

    #[tokio::test]
    async fn a_new_key_is_found_and_a_flood_of_unknown_ones_costs_one_fetch_a_minute() {
        let fake = FakeOidc::start(&RSA);
        let clock = clock();
        let provider = provider_at(fake.settings(|_| {}), Arc::clone(&clock));
        assert_eq!(kind(sign_in(&provider).await), "ok");
        clock.advance(TimeDelta::seconds(1));

        let new = SigningKey::p256("new");
        fake.keys(&[&RSA.jwk, &new.jwk]);
        fake.id_token(&new.sign(&fake.claims()));
        assert_eq!(kind(sign_in(&provider).await), "ok", "a rotation needs no restart");
        assert_eq!(fake.server.count(JWKS), 2);

        let stranger = SigningKey::p256("stranger");
        fake.id_token(&stranger.sign(&fake.claims()));
        for _ in 0..10 {
            clock.advance(TimeDelta::seconds(5));
            assert_eq!(kind(sign_in(&provider).await), "key_unknown_yet");
        }
        assert_eq!(fake.server.count(JWKS), 2);
        clock.advance(TimeDelta::seconds(10));
        assert_eq!(
            kind(sign_in(&provider).await),
            "invalid_id_token",
            "after the fetch it is known to be invalid"
        );
        let outcomes = join_all((0..10).map(|_| sign_in(&provider))).await;
        assert!(outcomes.into_iter().all(|outcome| kind(outcome) == "key_unknown_yet"));
        assert_eq!(fake.server.count(JWKS), 3);
    }

    #[tokio::test]
    async fn keys_fetched_for_this_token_are_not_fetched_again() {
        let fake = FakeOidc::start(&RSA);
        fake.id_token(&SigningKey::p256("stranger").sign(&fake.claims()));
        assert_eq!(kind(sign_in(&provider(fake.settings(|_| {}))).await), "invalid_id_token");
        assert_eq!(fake.server.count(JWKS), 1);
    }

    #[tokio::test]
    async fn unreachable_keys_are_an_outage_not_a_bad_token() {
        let fake = FakeOidc::start(&RSA);
        let clock = clock();
        let provider = provider_at(fake.settings(|_| {}), Arc::clone(&clock));
        assert_eq!(kind(sign_in(&provider).await), "ok");
        clock.advance(TimeDelta::seconds(1));
        fake.reply(JWKS, Reply::status(503));
        assert_eq!(kind(sign_in(&provider).await), "ok", "known keys are still used");
        fake.id_token(&SigningKey::p256("new").sign(&fake.claims()));
        for _ in 0..2 {
            assert_eq!(kind(sign_in(&provider).await), "unavailable");
        }
        assert_eq!(fake.server.count(JWKS), 1 + 3, "one fetch and its two retries");
    }

    #[tokio::test]
    async fn a_new_key_is_found_even_if_the_clock_is_changed() {
        for step in [TimeDelta::zero(), TimeDelta::seconds(-5), TimeDelta::hours(-3)] {
            let fake = FakeOidc::start(&RSA);
            let clock = clock();
            let provider = provider_at(fake.settings(|_| {}), Arc::clone(&clock));
            assert_eq!(kind(sign_in(&provider).await), "ok");
            let new = SigningKey::p256("new");
            fake.keys(&[&new.jwk]);
            clock.advance(step);
            let now = clock.now().timestamp();
            let claims = changed(&fake.claims(), json!({"iat": now, "exp": now + 300}));
            fake.id_token(&new.sign(&claims));
            assert_eq!(kind(sign_in(&provider).await), "ok", "{step}");
            assert_eq!(fake.server.count(JWKS), 2, "{step}");
        }
    }

    #[tokio::test]
    async fn cached_documents_are_used_while_their_endpoints_hang() {
        let fake = FakeOidc::start(&RSA);
        let clock = clock();
        let provider = provider_at(fake.settings(|_| {}), Arc::clone(&clock));
        assert_eq!(kind(sign_in(&provider).await), "ok");
        clock.advance(TimeDelta::hours(2));
        let claims = changed(&fake.claims(), json!({"iat": NOW + 7200, "exp": NOW + 7500}));
        fake.id_token(&RSA.sign(&claims));
        for hanging in [METADATA, JWKS] {
            fake.reply(hanging, Reply::Hang(Vec::new()));
        }
        let start = monotonic();
        assert_eq!(
            kind(provider.check_issuer(None).await),
            "ok",
            "cached metadata is used however old it is"
        );
        for _ in 0..5 {
            assert_eq!(kind(sign_in(&provider).await), "ok");
        }
        assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
        assert_eq!((fake.server.count(METADATA), fake.server.count(JWKS)), (2, 2), "one retry per minute");
    }

    #[tokio::test]
    async fn a_callback_waits_only_briefly_for_metadata_before_the_exchange() {
        let fake = FakeOidc::start(&RSA);
        fake.reply(METADATA, Reply::Hang(Vec::new()));
        let provider = provider(fake.settings(|_| {}));
        let start = monotonic();
        let outcomes = join_all((0..3).map(|_| provider.check_issuer(None))).await;
        assert!(outcomes.into_iter().all(|outcome| kind(outcome) == "timeout"));
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        assert_eq!(kind(provider.check_issuer(Some(fake.issuer())).await), "ok", "needs no metadata");
        fake.metadata(json!({}));
        assert_eq!(kind(sign_in(&provider).await), "ok", "the timeout is not cached");
        let timeouts = Timeouts::default();
        assert!(ISSUER_CHECK_TIMEOUT + timeouts.total <= Duration::from_millis(11_500));
    }

    #[tokio::test]
    async fn metadata_of_another_issuer_fails_the_login() {
        let fake = FakeOidc::start(&RSA);
        fake.metadata(json!({"issuer": "https://evil.example"}));
        let provider = provider(fake.settings(|_| {}));
        assert_eq!(kind(provider.authorization_url(&Attempt::new().request()).await), "unusable");
        assert_eq!(kind(sign_in(&provider).await), "unusable");
        assert_eq!(fake.server.count(TOKEN), 0, "the code is not sent");
    }

    #[tokio::test]
    async fn metadata_is_retried_and_readiness_follows() {
        let fake = FakeOidc::start(&RSA);
        fake.reply(METADATA, Reply::status(500));
        let provider = provider(fake.settings(|_| {}));
        assert_eq!(kind(provider.ready().await), "unavailable");
        assert_eq!(fake.server.count(METADATA), 3);
        fake.metadata(json!({"end_session_endpoint": format!("{}/logout", fake.issuer())}));
        assert_eq!(kind(provider.ready().await), "ok");
        fake.reply(METADATA, Reply::status(500));
        assert_eq!(kind(provider.ready().await), "ok");
        assert_eq!(fake.server.count(METADATA), 4);
        let endpoint = provider.end_session_endpoint(Duration::from_secs(3)).await.unwrap();
        assert_eq!(endpoint, Some(fake.server.url("/logout")));
    }

    #[tokio::test]
    async fn iss_must_match_if_present_and_be_present_if_announced() {
        let fake = FakeOidc::start(&RSA);
        let issuer = fake.issuer().to_owned();
        for announced in [false, true] {
            fake.metadata(json!({"authorization_response_iss_parameter_supported": announced}));
            let provider = provider(fake.settings(|_| {}));
            let check = async |iss: Option<&str>| kind(provider.check_issuer(iss).await);
            assert_eq!(check(Some(&issuer)).await, "ok");
            for bad in [&format!("{issuer}/"), &issuer.to_uppercase(), "", "https://evil.example"] {
                assert_eq!(check(Some(bad)).await, "issuer_mismatch", "{bad}");
            }
            assert_eq!(check(None).await, if announced { "issuer_mismatch" } else { "ok" });
        }
    }

    #[tokio::test]
    async fn codes_and_tokens_are_not_printed() {
        let fake = FakeOidc::start(&RSA);
        let provider = provider(fake.settings(|_| {}));
        let grant = provider.exchange(Attempt::new().exchange()).await.unwrap();
        assert_eq!(format!("{grant:?} {provider:?}"), "ExchangedGrant(…) Provider(corp)");
        assert_eq!(format!("{:?}", Attempt::new().exchange()), "CodeExchange(…)");
    }

    #[tokio::test]
    async fn urls_in_tokens_are_never_fetched() {
        let fake = FakeOidc::start(&RSA);
        let trap = fake.server.url("/trap").to_string();
        let claims = json!({"picture": trap, "profile": trap, "jku": trap, "_claim_sources": {"x": {"endpoint": trap}}});
        let claims = changed(&fake.claims(), claims);
        fake.id_token(&RSA.sign_with(json!({"jku": trap, "x5u": trap}), &claims.to_string()));
        let provider = provider(fake.settings(|settings| settings.userinfo = true));
        fake.reply(USERINFO, Reply::json(&changed(&claims, json!({"aud": CLIENT_ID}))));
        assert_eq!(kind(sign_in(&provider).await), "ok");
        assert_eq!(fake.server.count("/trap"), 0);
    }
}
