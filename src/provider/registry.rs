//! All configured providers. Their settings are checked once at startup, without using the network.

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

/// The settings of a provider are invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider {provider}: {problem}")]
pub struct ProviderSettingsError {
    /// The id of the provider.
    pub provider: ProviderId,
    /// What is wrong, and how to fix it.
    pub problem: &'static str,
}

/// All configured providers, in the order of the configuration.
#[derive(Debug)]
pub struct Providers(Vec<Provider>);

impl Providers {
    /// Checks the settings and creates the providers. Requires that a default crypto provider of rustls is installed.
    ///
    /// # Errors
    ///
    /// The first provider with invalid settings, and how to fix them.
    pub fn new(
        settings: Vec<ProviderSettings>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ProviderSettingsError> {
        let mut providers: Vec<Provider> = Vec::with_capacity(settings.len());
        for settings in settings {
            let id = settings.id.clone();
            let failed = |problem| ProviderSettingsError { provider: id.clone(), problem };
            if providers.iter().any(|other| *other.id() == settings.id) {
                return Err(failed("id is not unique: each provider needs its own id"));
            }
            // With a shared path, one provider could answer in the name of another (RFC 9700 section 4.4.2.2).
            if providers.iter().any(|other| other.registration.redirect_uri == settings.redirect_uri) {
                return Err(failed(
                    "redirect_uri is also used by another provider: each provider needs its own redirect_uri",
                ));
            }
            providers.push(provider(settings, &clock).map_err(failed)?);
        }
        Ok(Self(providers))
    }

    /// The provider with this id.
    pub fn get(&self, id: &ProviderId) -> Option<&Provider> {
        self.iter().find(|provider| provider.id() == id)
    }

    /// The provider, if exactly one is configured.
    pub fn only(&self) -> Option<&Provider> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn into_only(self) -> Option<Provider> {
        self.0.into_iter().next()
    }

    /// All providers, in the order of the configuration.
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
        return Err(
            "all URLs must be https (or http on a loopback name), without user name, password or fragment",
        );
    }
    let borrowed: Vec<&Url> = addresses.iter().collect();
    let http = HttpClient::new(&settings.id, settings.timeouts, &settings.ca_certificates, &borrowed)?;
    http.register(match &settings.kind {
        KindSettings::Oidc(_) => &["metadata", "JWKS", "token endpoint", "UserInfo"],
        KindSettings::OAuth2(_) => &["token endpoint", "profile document"],
    });
    let kind = match settings.kind {
        KindSettings::Oidc(oidc) => Kind::Oidc(Box::new(Oidc::new(oidc, Arc::clone(clock)))),
        KindSettings::OAuth2(oauth2) => {
            let subject = oauth2.claims.subject.clone();
            let subject = subject.ok_or("claims.subject must be the JSONPath of a stable user id")?;
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
        authorize_parameters: settings.authorize_parameters,
        token_parameters: settings.token_parameters,
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
        return Err("profile must name at least one document about the user");
    }
    if has_own_parameter(&settings.authorize_url) {
        return Err("authorize_url must not contain query parameters that the broker sets itself");
    }
    let profile = settings.profile.iter().map(|document| document.url.clone());
    let endpoints = [settings.authorize_url.clone(), settings.token_url.clone()];
    Ok(endpoints.into_iter().chain(settings.end_session_url.clone()).chain(profile).collect())
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;

    use super::super::fake::{clock, oauth2, oidc, settings, url};
    use super::*;

    const ISSUER: &str = "https://login.example.com";

    fn corp(change: impl FnOnce(&mut OidcSettings)) -> ProviderSettings {
        let mut oidc = oidc(ISSUER);
        change(&mut oidc);
        settings(KindSettings::Oidc(oidc))
    }

    fn ops(change: impl FnOnce(&mut OAuth2Settings)) -> ProviderSettings {
        let mut oauth2 = oauth2("https://ops.example.com", &[("/me", None)]);
        change(&mut oauth2);
        let mut settings = settings(KindSettings::OAuth2(oauth2));
        settings.id = "ops".parse().unwrap();
        settings.redirect_uri = url("https://auth.example.com/oauth2_callback/ops");
        settings
    }

    fn problem(settings: Vec<ProviderSettings>) -> &'static str {
        Providers::new(settings, clock()).err().map_or("ok", |error| error.problem)
    }

    #[test]
    fn providers_are_found_by_id_and_keep_their_order() {
        let providers = Providers::new(vec![ops(|_| {}), corp(|_| {})], clock()).unwrap();
        assert_eq!(providers.iter().map(|p| p.id().as_str()).collect::<Vec<_>>(), ["ops", "corp"]);
        assert_eq!(providers.get(&"corp".parse().unwrap()).unwrap().identity(), ISSUER);
        assert!(providers.get(&"other".parse().unwrap()).is_none());
        assert!(providers.only().is_none());
        let one = Providers::new(vec![corp(|_| {})], clock()).unwrap();
        assert_eq!(one.only().unwrap().display_name(), "Corporation");
        assert!(Providers::new(Vec::new(), clock()).unwrap().only().is_none());
    }

    #[test]
    fn no_two_providers_share_an_id_or_a_callback() {
        assert_eq!(problem(vec![corp(|_| {}), ops(|_| {})]), "ok");
        let mut same_id = ops(|_| {});
        same_id.id = "corp".parse().unwrap();
        assert!(problem(vec![corp(|_| {}), same_id]).contains("id"));
        let mut same_path = ops(|_| {});
        same_path.redirect_uri = corp(|_| {}).redirect_uri;
        assert!(problem(vec![corp(|_| {}), same_path]).contains("redirect_uri"));
    }

    #[test]
    fn addresses_are_https_or_loopback() {
        for bad in ["http://ops.example.com/x", "https://a:b@ops.example.com/x", "https://ops.example.com/#x"]
        {
            assert_ne!(problem(vec![ops(|settings| settings.authorize_url = url(bad))]), "ok", "{bad}");
            assert_ne!(problem(vec![ops(|settings| settings.token_url = url(bad))]), "ok", "{bad}");
            assert_ne!(problem(vec![ops(|settings| settings.profile[0].url = url(bad))]), "ok", "{bad}");
            assert_ne!(problem(vec![corp(|settings| settings.issuer = bad.to_owned())]), "ok", "{bad}");
        }
        let loopback = ops(|settings| settings.token_url = url("http://127.0.0.1:9000/token"));
        assert_eq!(problem(vec![loopback]), "ok");
    }

    #[test]
    fn the_algorithm_list_is_asymmetric_and_not_empty() {
        for bad in [vec![], vec![Algorithm::HS256], vec![Algorithm::RS256, Algorithm::HS512]] {
            assert!(problem(vec![corp(|settings| settings.algorithms = bad)]).contains("algorithms"));
        }
    }

    #[test]
    fn a_plain_provider_needs_a_subject_and_a_document() {
        assert!(problem(vec![ops(|settings| settings.claims.subject = None)]).contains("subject"));
        assert!(problem(vec![ops(|settings| settings.profile.clear())]).contains("profile"));
    }

    #[test]
    fn the_openid_scope_is_required_and_the_endpoint_must_not_set_our_parameters() {
        let mut settings = corp(|_| {});
        settings.scope = "email profile".to_owned();
        assert!(problem(vec![settings]).contains("openid"));
        let fixed = url("https://ops.example.com/authorize?state=1");
        assert!(problem(vec![ops(|settings| settings.authorize_url = fixed)]).contains("authorize_url"));
    }

    #[test]
    fn an_error_names_the_provider_and_the_problem() {
        let error = Providers::new(vec![corp(|settings| settings.issuer = "x".to_owned())], clock());
        assert_eq!(error.unwrap_err().to_string(), "provider corp: issuer must be a URL");
    }
}
