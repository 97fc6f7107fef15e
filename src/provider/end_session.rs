//! Sends the browser to the provider to sign out there as well (OpenID Connect RP-Initiated Logout 1.0).

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Kind, Provider, ProviderError};
use crate::domain::login_attempt::State;

/// The parameters of a logout request.
pub struct EndSessionRequest<'a> {
    /// Ties the redirect back to this logout.
    pub state: &'a State,
    /// Where the provider sends the browser back to.
    pub return_to: &'a Url,
    /// The ID token from the sign-in, if it was stored.
    pub id_token_hint: Option<&'a SecretString>,
}

impl std::fmt::Debug for EndSessionRequest<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("EndSessionRequest(…)")
    }
}

impl Provider {
    /// Whether ID tokens of this provider are stored for the logout.
    pub fn keeps_id_tokens(&self) -> bool {
        matches!(&self.kind, Kind::Oidc(oidc) if oidc.keeps_id_tokens())
    }

    /// Whether this provider is known to have no logout. `false` as long as that is unknown: for OpenID Connect it
    /// depends on the metadata. Waits for nothing.
    pub fn has_no_logout(&self) -> bool {
        match &self.kind {
            Kind::Oidc(oidc) => {
                oidc.known_metadata().is_some_and(|known| known.end_session_endpoint.is_none())
            }
            Kind::OAuth2(oauth2) => oauth2.end_session_url().is_none(),
        }
    }

    /// The address at which the user can sign out at the provider, if the provider has one. Waits at most for
    /// `timeout`.
    ///
    /// # Errors
    /// Errors of fetching the metadata.
    pub async fn end_session_endpoint(&self, timeout: Duration) -> Result<Option<Url>, ProviderError> {
        match &self.kind {
            Kind::Oidc(oidc) => {
                let deadline = self.registration.http.deadline();
                let metadata = oidc.metadata(&self.registration, deadline);
                let metadata = deadline.at_most(timeout).bound("metadata", metadata).await??;
                Ok(metadata.end_session_endpoint.clone())
            }
            Kind::OAuth2(oauth2) => Ok(oauth2.end_session_url().cloned()),
        }
    }

    /// The URL of the logout request (section 2). The ID token is part of the URL, as the standard requires.
    pub fn end_session_url(&self, endpoint: &Url, request: &EndSessionRequest<'_>) -> Url {
        let mut url = endpoint.clone();
        let mut query = url.query_pairs_mut();
        if let Some(hint) = request.id_token_hint {
            query.append_pair("id_token_hint", hint.expose_secret());
        }
        query.append_pair("client_id", &self.registration.client_id);
        query.append_pair("post_logout_redirect_uri", request.return_to.as_str());
        query.append_pair("state", &request.state.expose());
        drop(query);
        url
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::keys::RSA;
    use super::super::fake::oidc::{FakeOidc, METADATA};
    use super::super::fake::server::Reply;
    use super::super::fake::{CLIENT_ID, kind, oauth2, provider, settings, url};
    use super::super::settings::KindSettings;
    use super::*;
    use crate::domain::clock::monotonic;
    use crate::domain::entropy::SeededEntropy;
    use serde_json::json;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn the_logout_request_has_all_parameters_and_uses_the_discovered_endpoint() {
        let fake = FakeOidc::start(&RSA);
        let end_session = format!("{}/end?tenant=1", fake.issuer());
        fake.metadata(json!({"end_session_endpoint": end_session}));
        let provider = provider(fake.settings(|_| {}));
        let endpoint = provider.end_session_endpoint(TIMEOUT).await.unwrap().unwrap();
        assert_eq!(endpoint.as_str(), end_session);
        let state = State::random(&SeededEntropy::new(1));
        let (return_to, hint) = (url("https://auth.example.com/logout/callback"), "a.b.c".into());
        for id_token_hint in [None, Some(&hint)] {
            let request = EndSessionRequest { state: &state, return_to: &return_to, id_token_hint };
            let url = provider.end_session_url(&endpoint, &request);
            assert!(url.as_str().starts_with(&format!("{end_session}&")), "{url}");
            let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().skip(1).collect();
            let hinted =
                pairs.iter().position(|(name, _)| name == "id_token_hint").map(|at| pairs.remove(at).1);
            assert_eq!(hinted.as_deref(), id_token_hint.map(|_| "a.b.c"));
            let expected = [
                ("client_id", CLIENT_ID),
                ("post_logout_redirect_uri", "https://auth.example.com/logout/callback"),
                ("state", &state.expose()),
            ];
            assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }

    #[tokio::test]
    async fn the_endpoint_is_optional_and_waiting_for_it_is_limited() {
        let fake = FakeOidc::start(&RSA);
        assert!(provider(fake.settings(|_| {})).end_session_endpoint(TIMEOUT).await.unwrap().is_none());
        fake.reply(METADATA, Reply::Hang(Vec::new()));
        let start = monotonic();
        let outcome = provider(fake.settings(|_| {})).end_session_endpoint(Duration::from_millis(300)).await;
        assert_eq!(kind(outcome), "timeout");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "less than the time limit of the provider's HTTP client"
        );
    }

    #[tokio::test]
    async fn a_plain_oauth2_provider_uses_the_configured_endpoint() {
        let mut plain = oauth2("https://ops.example.com", &[("/me", None)]);
        let without = provider(settings(KindSettings::OAuth2(plain.clone())));
        assert!(without.end_session_endpoint(TIMEOUT).await.unwrap().is_none());
        plain.end_session_url = Some(url("https://ops.example.com/logout"));
        let with = provider(settings(KindSettings::OAuth2(plain)));
        let endpoint = with.end_session_endpoint(TIMEOUT).await.unwrap().unwrap();
        assert_eq!(endpoint.as_str(), "https://ops.example.com/logout");
        assert!(!with.keeps_id_tokens());
    }
}
