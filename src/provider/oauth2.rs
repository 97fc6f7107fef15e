//! A plain OAuth 2 provider: the endpoints are configured, and the identity comes from JSON documents about the user
//! that are fetched with the access token (RFC 6749, RFC 6750).

use futures_util::future::try_join_all;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use serde_json_path::JsonPath;
use url::Url;

use super::authorization::authorization_url;
use super::claims::{ClaimLocations, Documents};
use super::dialect::{AccessTokenIn, parameter};
use super::http_client::{Deadline, RESPONSE_LIMIT};
use super::json::Object;
use super::settings::{OAuth2Settings, ProfileDocument};
use super::{AuthorizationRequest, CodeExchange, ProviderError, Registration, token_endpoint};
use crate::domain::ids::ProviderId;
use crate::domain::profile::Profile;

/// A plain OAuth 2 provider.
pub(super) struct OAuth2 {
    settings: OAuth2Settings,
    subject: JsonPath,
}

impl OAuth2 {
    /// A provider whose subject is found at the path `subject`, which is required: without a subject there is no
    /// identity.
    pub(super) fn new(settings: OAuth2Settings, subject: JsonPath) -> Self {
        Self { settings, subject }
    }

    /// The authorization endpoint.
    pub(super) fn authorize_url(&self) -> &Url {
        &self.settings.authorize_url
    }

    /// The address to which the browser is sent to sign out.
    pub(super) fn end_session_url(&self) -> Option<&Url> {
        self.settings.end_session_url.as_ref()
    }

    /// The parameter of the callback that contains the code.
    pub(super) fn code_parameter(&self) -> &str {
        &self.settings.dialect.code_parameter
    }

    /// Whether a callback without a code and without `error` is a refusal.
    pub(super) fn refuses_without_error(&self) -> bool {
        self.settings.dialect.refusal_without_error
    }

    /// The URL of the authorization request.
    ///
    /// # Errors
    ///
    /// InsufficientAuthentication if `max_age` is requested, because plain OAuth 2 cannot prove it. Callers already check
    /// `Provider::supports_max_age`; this is a second line of defence.
    pub(super) fn authorization_url(
        &self,
        registration: &Registration,
        request: &AuthorizationRequest<'_>,
    ) -> Result<Url, ProviderError> {
        refuse_max_age(request.max_age)?;
        let dialect = &self.settings.dialect;
        let names = &dialect.authorize_names;
        let mut url = authorization_url(registration, &self.settings.authorize_url, request, &[], names);
        url.set_fragment(dialect.authorize_fragment.as_deref());
        Ok(url)
    }

    /// Checks the `iss` of a callback (RFC 9207). If an issuer is configured, `iss` must be present and equal to it. If
    /// none is configured, `iss` must be absent, because there is nothing to compare it with.
    pub(super) fn check_issuer(&self, provider: &ProviderId, iss: Option<&str>) -> Result<(), ProviderError> {
        if iss == self.settings.issuer.as_deref() {
            return Ok(());
        }
        if self.settings.issuer.is_none() {
            tracing::warn!(
                %provider,
                "the provider sends iss in its callbacks: set providers.issuer of this provider"
            );
        }
        Err(ProviderError::IssuerMismatch)
    }

    pub(super) async fn exchange(
        &self,
        registration: &Registration,
        exchange: &CodeExchange<'_>,
        deadline: Deadline,
    ) -> Result<(SecretString, Object), ProviderError> {
        refuse_max_age(exchange.max_age)?;
        let endpoint = &self.settings.token_url;
        let http = &registration.http;
        let dialect = &self.settings.dialect;
        let tokens =
            token_endpoint::exchange(http, registration, endpoint, exchange, dialect, deadline).await?;
        Ok((tokens.access_token, tokens.claims))
    }

    /// Fetches the profile documents concurrently and maps them to a profile. `claims` is what the answer of the token
    /// endpoint says about the user.
    pub(super) async fn profile(
        &self,
        registration: &Registration,
        access_token: &SecretString,
        claims: Object,
        deadline: Deadline,
    ) -> Result<Profile, ProviderError> {
        let fetch = |source| self.profile_document(registration, source, access_token, &claims, deadline);
        let mut documents = Documents::default();
        if let Some(member) = &self.settings.dialect.token_answer_into {
            documents.add(Object::from_iter([(member.clone(), Value::Object(claims.clone()))]));
        }
        for document in try_join_all(self.settings.profile.iter().map(fetch)).await? {
            documents.add(document);
        }
        let documents = documents.merged();
        let subject = documents.subject(&self.subject)?;
        ClaimLocations::oauth2(&self.settings.claims).profile(registration, subject, &documents, None)
    }

    async fn profile_document(
        &self,
        registration: &Registration,
        source: &ProfileDocument,
        access_token: &SecretString,
        claims: &Object,
        deadline: Deadline,
    ) -> Result<Object, ProviderError> {
        let dialect = &self.settings.dialect;
        let mut parameters = Vec::new();
        for (name, path) in &source.parameters {
            let value = parameter(path, claims).ok_or_else(|| {
                ProviderError::Unusable(format!("token endpoint: the value of {name} is missing"))
            })?;
            parameters.push((name.as_str(), value));
        }
        let request = registration.http.get(&source.url).query(&parameters);
        let token = access_token.expose_secret();
        let request = match &dialect.access_token_in {
            AccessTokenIn::Bearer => request.bearer_auth(token),
            AccessTokenIn::Header(name) => {
                let mut value = HeaderValue::from_str(token).map_err(|_| {
                    ProviderError::Unusable(
                        "token endpoint: the access token does not fit a header".to_owned(),
                    )
                })?;
                value.set_sensitive(true);
                request.header(name, value)
            }
            AccessTokenIn::Query(name) => request.query(&[(name, token)]),
        };
        let answer = registration.http.send("profile document", request, RESPONSE_LIMIT, deadline).await?;
        let answer = if dialect.token_answer.accepts_undeclared_json() { answer.into_json() } else { answer };
        match &source.into {
            Some(member) => Ok(Object::from_iter([(member.clone(), answer.value()?)])),
            None => answer.object(),
        }
    }
}

fn refuse_max_age(max_age: Option<u32>) -> Result<(), ProviderError> {
    match max_age {
        None => Ok(()),
        Some(_) => {
            let text = "max_age was requested, but a plain OAuth 2 provider cannot prove it";
            Err(ProviderError::InsufficientAuthentication(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::server::{Received, Reply, Server};
    use super::super::fake::{Attempt, kind, oauth2, path, provider, settings};
    use super::super::settings::{ClaimMapping, KindSettings};
    use super::super::{Provider, SignedInProfile};
    use super::*;

    const BASE_INFO: &str = "/public-api/current_user/base_info";
    const PERMISSIONS: &str = "/public-api/current_user/all_permissions";

    /// A provider whose profile endpoints return these documents. Everything else is correct.
    fn ops(base_info: Value, permissions: Value) -> Server {
        Server::start(move |request: &Received| match request.target.as_str() {
            "/token/" => Reply::json(&json!({"access_token": "at", "token_type": "bearer"})),
            BASE_INFO => Reply::json(&base_info),
            PERMISSIONS => Reply::json(&permissions),
            _ => Reply::status(404),
        })
    }

    /// The broker's side of this provider, configured like the provider `ops` of token-broker.example.toml.
    fn registered_at(server: &Server, change: impl FnOnce(&mut OAuth2Settings)) -> Provider {
        let documents = [(BASE_INFO, None), (PERMISSIONS, Some("permissions"))];
        let mut oauth2 = oauth2(server.base(), &documents);
        oauth2.claims = ClaimMapping {
            subject: Some(path("$.name")),
            username: Some(path("$.name")),
            display_name: Some(path("$.name_cn")),
            email: Some(path("$.email")),
            permissions: Some(path("$.permissions[*]")),
            ..ClaimMapping::default()
        };
        change(&mut oauth2);
        provider(settings(KindSettings::OAuth2(oauth2)))
    }

    async fn sign_in(provider: &Provider) -> Result<SignedInProfile, ProviderError> {
        provider.profile(provider.exchange(Attempt::new().exchange()).await?).await
    }

    #[tokio::test]
    async fn a_login_merges_and_maps_the_profile_documents() {
        let server = ops(
            json!({"name": "alice", "name_cn": "爱丽丝", "email": "a@example.com", "permissions": ["overlaid"]}),
            json!(["read", "write"]),
        );
        let provider = registered_at(&server, |_| {});
        assert_eq!(provider.identity(), server.url("/authorize/").as_str());
        let profile = sign_in(&provider).await.unwrap().profile;
        assert_eq!((profile.subject.as_str(), profile.username.unwrap().as_str()), ("alice", "alice"));
        assert_eq!(profile.display_name.unwrap().as_str(), "爱丽丝");
        assert_eq!(profile.permissions.iter().collect::<Vec<_>>(), ["read", "write"]);
        let received = server.received();
        let profile_requests = received.iter().filter(|request| request.target != "/token/");
        assert!(profile_requests.clone().all(|request| request.header("authorization") == Some("Bearer at")));
        assert_eq!(profile_requests.count(), 2);
    }

    #[tokio::test]
    async fn a_document_without_a_member_name_must_be_an_object() {
        let server = ops(json!({"name": "alice"}), json!(["read"]));
        let provider = registered_at(&server, |settings| settings.profile[1].into = None);
        assert_eq!(kind(sign_in(&provider).await), "unusable");
    }

    #[tokio::test]
    async fn a_login_without_a_usable_subject_fails() {
        for name in [json!(null), json!(""), json!(["alice"]), json!({"x": 1}), json!(true), json!(1.5)] {
            let provider = registered_at(&ops(json!({"name": name, "id": "other"}), json!([])), |_| {});
            assert_eq!(kind(sign_in(&provider).await), "unusable", "{name}");
        }
    }

    #[tokio::test]
    async fn a_missing_profile_document_fails_the_login() {
        let server = ops(json!({"name": "alice"}), json!([]));
        for (target, expected) in [("/missing", "unusable"), ("/token/x", "unusable")] {
            let provider = registered_at(&server, |settings| settings.profile[1].url = server.url(target));
            assert_eq!(kind(sign_in(&provider).await), expected, "{target}");
        }
    }

    #[tokio::test]
    async fn urls_in_a_profile_are_never_fetched() {
        let server = Server::start(|request| match request.target.as_str() {
            "/token/" => Reply::json(&json!({"access_token": "at", "token_type": "bearer"})),
            BASE_INFO => {
                let trap = format!("http://{}/trap", request.header("host").unwrap());
                Reply::json(
                    &json!({"name": trap, "url": trap, "next": trap, "avatar_url": trap, "$ref": trap}),
                )
            }
            _ => Reply::json(&json!([])),
        });
        assert!(sign_in(&registered_at(&server, |_| {})).await.is_ok());
        assert_eq!(server.count("/trap"), 0);
    }

    #[tokio::test]
    async fn iss_is_the_configured_issuer_or_absent() {
        let server = ops(json!({}), json!([]));
        let without = registered_at(&server, |_| {});
        assert_eq!(kind(without.check_issuer(None).await), "ok");
        assert_eq!(kind(without.check_issuer(Some("https://ops.example.com")).await), "issuer_mismatch");
        let issuer = "https://ops.example.com";
        let with = registered_at(&server, |settings| settings.issuer = Some(issuer.to_owned()));
        assert_eq!(kind(with.check_issuer(Some(issuer)).await), "ok");
        assert_eq!(kind(with.check_issuer(Some("https://ops.example.com/")).await), "issuer_mismatch");
        assert_eq!(kind(with.check_issuer(None).await), "issuer_mismatch");
    }

    #[tokio::test]
    async fn max_age_is_refused_because_it_cannot_be_proven() {
        let server = ops(json!({"name": "alice"}), json!([]));
        let provider = registered_at(&server, |_| {});
        assert!(!provider.supports_max_age());
        let attempt = Attempt::new();
        let mut request = attempt.request();
        assert_eq!(kind(provider.authorization_url(&request).await), "ok");
        request.max_age = Some(300);
        assert_eq!(kind(provider.authorization_url(&request).await), "insufficient");
        let outcome = provider.exchange(CodeExchange { max_age: Some(300), ..attempt.exchange() }).await;
        assert_eq!(kind(outcome), "insufficient");
        assert_eq!(server.received().len(), 0);
    }
}
