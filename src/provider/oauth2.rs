//! A plain OAuth 2 provider: endpoints by configuration, identity from any JSON documents about the person
//! that the access token opens (RFC 6749, RFC 6750).

use futures_util::future::try_join_all;
use secrecy::{ExposeSecret, SecretString};
use serde_json_path::JsonPath;
use url::Url;

use super::authorization::authorization_url;
use super::claims::{Documents, Places};
use super::http_client::{ANSWER_LIMIT, Deadline};
use super::json::Object;
use super::settings::{OAuth2Settings, ProfileDocument};
use super::{AuthorizationRequest, CodeExchange, ProviderError, Registration, token_endpoint};
use crate::domain::profile::Profile;

/// One plain OAuth 2 provider.
pub(super) struct OAuth2 {
    settings: OAuth2Settings,
    subject: JsonPath,
}

impl OAuth2 {
    /// A provider whose subject stands at `subject`: without a configured place there is no identity.
    pub(super) fn new(settings: OAuth2Settings, subject: JsonPath) -> Self {
        Self { settings, subject }
    }

    /// Where the browser is sent.
    pub(super) fn authorize_url(&self) -> &Url {
        &self.settings.authorize_url
    }

    /// # Errors
    ///
    /// InsufficientAuthentication where `max_age` is asked for: nothing here could prove it.
    pub(super) fn authorization_url(
        &self,
        registration: &Registration,
        request: &AuthorizationRequest<'_>,
    ) -> Result<Url, ProviderError> {
        refuse_max_age(request.max_age)?;
        Ok(authorization_url(registration, &self.settings.authorize_url, request, &[]))
    }

    /// RFC 9207: where an issuer is configured, `iss` must be there and be it; where none is, an `iss` has
    /// nothing that it could equal.
    pub(super) fn check_issuer(&self, iss: Option<&str>) -> Result<(), ProviderError> {
        if iss == self.settings.issuer.as_deref() {
            return Ok(());
        }
        if self.settings.issuer.is_none() {
            tracing::warn!("the provider sends iss in its callbacks: configure its issuer");
        }
        Err(ProviderError::IssuerMismatch)
    }

    pub(super) async fn exchange(
        &self,
        registration: &Registration,
        exchange: &CodeExchange<'_>,
        deadline: Deadline,
    ) -> Result<SecretString, ProviderError> {
        refuse_max_age(exchange.max_age)?;
        let endpoint = &self.settings.token_url;
        let http = &registration.http;
        let tokens = token_endpoint::exchange(http, registration, endpoint, exchange, deadline).await?;
        Ok(tokens.access_token)
    }

    /// Fetches the profile documents, all at once, and maps them.
    pub(super) async fn profile(
        &self,
        registration: &Registration,
        access_token: &SecretString,
        deadline: Deadline,
    ) -> Result<Profile, ProviderError> {
        let fetch = |source| profile_document(registration, source, access_token, deadline);
        let mut documents = Documents::default();
        for document in try_join_all(self.settings.profile.iter().map(fetch)).await? {
            documents.add(document);
        }
        let documents = documents.merged();
        let subject = documents.subject(&self.subject)?;
        Places::oauth2(&self.settings.claims).profile(registration, subject, &documents, None)
    }
}

async fn profile_document(
    registration: &Registration,
    source: &ProfileDocument,
    access_token: &SecretString,
    deadline: Deadline,
) -> Result<Object, ProviderError> {
    let request = registration.http.get(&source.url).bearer_auth(access_token.expose_secret());
    let answer = registration.http.send("profile document", request, ANSWER_LIMIT, deadline).await?;
    match &source.into {
        Some(member) => Ok(Object::from_iter([(member.clone(), answer.value()?)])),
        None => answer.object(),
    }
}

fn refuse_max_age(max_age: Option<u32>) -> Result<(), ProviderError> {
    match max_age {
        None => Ok(()),
        Some(_) => {
            let text = "max_age was asked for, and a plain OAuth 2 provider cannot prove it";
            Err(ProviderError::InsufficientAuthentication(text.to_owned()))
        }
    }
}
