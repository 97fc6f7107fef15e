//! An OpenID provider: endpoints by discovery, identity from a verified ID token (OpenID Connect Core).

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::authorization::authorization_url;
use super::cached::{Cached, Entry};
use super::claims::{Documents, Places};
use super::discovery::Metadata;
use super::http_client::{ANSWER_LIMIT, Deadline};
use super::id_token::{Expected, IdToken};
use super::jwks::KeySet;
use super::jwt::{Refused, UnverifiedJwt, VerifiedJwt, VerifyError};
use super::settings::OidcSettings;
use super::{AuthorizationRequest, CodeExchange, ProviderError, Registration, token_endpoint};
use crate::domain::clock::Clock;
use crate::domain::profile::Profile;

/// One OpenID provider.
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

    /// The provider's metadata, from the cache where it is there.
    pub(super) async fn metadata(
        &self,
        registration: &Registration,
        deadline: Deadline,
    ) -> Result<Arc<Metadata>, ProviderError> {
        let fetch = Metadata::fetch(&registration.http, &self.settings.issuer, deadline);
        Ok(self.metadata.get(deadline, fetch).await?.document)
    }

    /// Whether a login can begin.
    pub(super) async fn ready(&self, registration: &Registration) -> Result<(), ProviderError> {
        if self.metadata.is_there() {
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
        let acr_values = &self.settings.acr_values;
        Ok(authorization_url(registration, &metadata.authorization_endpoint, request, acr_values))
    }

    /// RFC 9207 section 2.4: `iss` must be the issuer, and must be there where the metadata says so.
    pub(super) async fn check_issuer(
        &self,
        registration: &Registration,
        iss: Option<&str>,
    ) -> Result<(), ProviderError> {
        match iss {
            Some(iss) if iss == self.settings.issuer => Ok(()),
            Some(_) => Err(ProviderError::IssuerMismatch),
            None => {
                let metadata = self.metadata(registration, registration.http.deadline()).await?;
                if metadata.announces_iss { Err(ProviderError::IssuerMismatch) } else { Ok(()) }
            }
        }
    }

    /// Exchanges the code and verifies the ID token: nothing comes out before that.
    pub(super) async fn exchange(
        &self,
        registration: &Registration,
        exchange: &CodeExchange<'_>,
        deadline: Deadline,
    ) -> Result<(SecretString, IdToken), ProviderError> {
        let metadata = self.metadata(registration, deadline).await?;
        let endpoint = &metadata.token_endpoint;
        let http = &registration.http;
        let tokens = token_endpoint::exchange(http, registration, endpoint, exchange, deadline).await?;
        let id_token = tokens.id_token.ok_or(Refused("there is none"))?;
        let jwt = self.verified(registration, &metadata, id_token.expose_secret(), deadline).await?;
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
        let id_token = expected.check(jwt)?;
        Ok((tokens.access_token, id_token))
    }

    /// Verifies a token's signature. A token that no known key can have signed makes the keys be fetched anew,
    /// unless they were fetched for this very token or less than a minute ago for another one.
    async fn verified(
        &self,
        registration: &Registration,
        metadata: &Metadata,
        token: &str,
        deadline: Deadline,
    ) -> Result<VerifiedJwt, ProviderError> {
        let token = UnverifiedJwt::parse(token, &self.settings.algorithms)?;
        let began_at = self.clock.now();
        let fetch = || KeySet::fetch(&registration.http, &metadata.jwks_uri, deadline);
        let keys: Entry<KeySet> = self.keys.get(deadline, fetch()).await?;
        let verdict = match token.verify(&keys.document) {
            Err(VerifyError::KeyUnknown) if keys.fetched_at < began_at => {
                let keys = self.keys.renew(deadline, fetch()).await?;
                token.verify(&keys.document)
            }
            verdict => verdict,
        };
        verdict.map_err(|error| match error {
            VerifyError::KeyUnknown => Refused("no key of the provider verifies it").into(),
            VerifyError::Refused(refused) => refused.into(),
        })
    }

    /// The profile from the ID token's claims and, where configured, those of the UserInfo endpoint.
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
            let answer = http.send("UserInfo", request, ANSWER_LIMIT, deadline).await?.object()?;
            // OpenID Connect Core section 5.3.2: another person's claims must not be used.
            if answer.get("sub").and_then(Value::as_str) != Some(id_token.subject.as_str()) {
                return Err(ProviderError::Unusable("UserInfo: sub is not the ID token's".to_owned()));
            }
            documents.add(answer);
        }
        let places = Places::oidc(&self.settings.claims);
        places.profile(registration, id_token.subject, &documents.merged(), id_token.session.as_deref())
    }
}
