//! All configured providers, checked once at the start, without touching the network.

use std::sync::Arc;

use jsonwebtoken::AlgorithmFamily;
use url::Url;

use super::authorization::has_own_parameter;
use super::discovery::is_usable;
use super::http_client::HttpClient;
use super::oauth2::OAuth2;
use super::oidc::Oidc;
use super::settings::{KindSettings, OAuth2Settings, OidcSettings, ProviderSettings};
use super::{Kind, Provider, Registration};
use crate::domain::clock::Clock;
use crate::domain::ids::ProviderId;

/// A provider's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider {provider}: {problem}")]
pub struct ProviderSettingsError {
    /// Which one.
    pub provider: ProviderId,
    /// What to mend.
    pub problem: &'static str,
}

/// All configured providers, in configuration order.
#[derive(Debug)]
pub struct Providers(Vec<Provider>);

impl Providers {
    /// Checks the settings and makes the providers. Needs rustls' default crypto provider to be installed.
    ///
    /// # Errors
    ///
    /// The first provider whose settings cannot work, and what to mend.
    pub fn new(
        settings: Vec<ProviderSettings>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ProviderSettingsError> {
        let mut providers: Vec<Provider> = Vec::with_capacity(settings.len());
        for settings in settings {
            let id = settings.id.clone();
            let failed = |problem| ProviderSettingsError { provider: id.clone(), problem };
            if providers.iter().any(|other| *other.id() == settings.id) {
                return Err(failed("there are two of this id"));
            }
            // A shared path would let one provider answer in another's name (RFC 9700 section 4.4.2.2).
            if providers.iter().any(|other| other.registration.redirect_uri == settings.redirect_uri) {
                return Err(failed("redirect_uri must not be shared with another provider"));
            }
            providers.push(provider(settings, &clock).map_err(failed)?);
        }
        Ok(Self(providers))
    }

    /// The provider of this id.
    pub fn get(&self, id: &ProviderId) -> Option<&Provider> {
        self.iter().find(|provider| provider.id() == id)
    }

    /// The only provider, where there is just one.
    pub fn only(&self) -> Option<&Provider> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// All of them, in configuration order.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }
}

fn provider(settings: ProviderSettings, clock: &Arc<dyn Clock>) -> Result<Provider, &'static str> {
    let addresses = match &settings.kind {
        KindSettings::Oidc(oidc) => vec![check_oidc(oidc, &settings.scope)?],
        KindSettings::OAuth2(oauth2) => check_oauth2(oauth2)?,
    };
    if !addresses.iter().all(|address| is_usable(address, true)) {
        return Err("every address must be https (or http on a loopback name), without user or fragment");
    }
    let borrowed: Vec<&Url> = addresses.iter().collect();
    let http = HttpClient::new(settings.timeouts, &settings.ca_certificates, &borrowed)?;
    let kind = match settings.kind {
        KindSettings::Oidc(oidc) => Kind::Oidc(Box::new(Oidc::new(oidc, Arc::clone(clock)))),
        KindSettings::OAuth2(oauth2) => {
            let subject = oauth2.claims.subject.clone();
            let subject = subject.ok_or("claims.subject must say where the unchanging subject stands")?;
            Kind::OAuth2(Box::new(OAuth2::new(oauth2, subject)))
        }
    };
    let registration = Registration {
        id: settings.id,
        display_name: settings.display_name,
        client_id: settings.client_id,
        client_secret: settings.client_secret,
        client_auth: settings.client_auth,
        redirect_uri: settings.redirect_uri,
        scope: settings.scope,
        allowed_email_domains: settings.allowed_email_domains,
        http,
    };
    Ok(Provider { registration, kind })
}

fn check_oidc(settings: &OidcSettings, scope: &str) -> Result<Url, &'static str> {
    if !scope.split(' ').any(|scope| scope == "openid") {
        return Err("scope must contain openid");
    }
    if settings.algorithms.is_empty() {
        return Err("algorithms must name at least one signature algorithm");
    }
    if settings.algorithms.iter().any(|algorithm| algorithm.family() == AlgorithmFamily::Hmac) {
        return Err("algorithms must be asymmetric: HS256, HS384 and HS512 are not allowed");
    }
    let issuer = Url::parse(&settings.issuer).map_err(|_| "issuer must be a URL")?;
    if issuer.query().is_some() { Err("issuer must not have a query") } else { Ok(issuer) }
}

fn check_oauth2(settings: &OAuth2Settings) -> Result<Vec<Url>, &'static str> {
    if settings.profile.is_empty() {
        return Err("profile must name at least one document about the person");
    }
    if has_own_parameter(&settings.authorize_url) {
        return Err("authorize_url must not have a query with parameters that the request sets itself");
    }
    let profile = settings.profile.iter().map(|document| document.url.clone());
    Ok([settings.authorize_url.clone(), settings.token_url.clone()].into_iter().chain(profile).collect())
}
