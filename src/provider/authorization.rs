//! The authorization request: the URL to which the browser is redirected (RFC 6749 section 4.1.1, RFC 7636
//! section 4.3, OpenID Connect Core section 3.1.2.1).

use url::Url;

use super::dialect::ParameterNames;
use super::{AuthorizationRequest, Registration};

/// Parameters that the broker sets. If the URL of the endpoint already contained one, it would be sent twice.
const OWN_PARAMETERS: [&str; 13] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "login_hint",
    "max_age",
    "acr_values",
];

/// Whether the query of the endpoint contains a parameter that the broker sets (RFC 6749 section 3.1).
pub(crate) fn has_own_parameter(endpoint: &Url) -> bool {
    endpoint.query_pairs().any(|(name, _)| is_own_parameter(&name))
}

/// Whether the broker itself sets the parameter `name`.
pub(crate) fn is_own_parameter(name: &str) -> bool {
    OWN_PARAMETERS.contains(&name)
}

/// The URL for one login.
pub(super) fn authorization_url(
    registration: &Registration,
    endpoint: &Url,
    request: &AuthorizationRequest<'_>,
    acr_values: &[String],
    names: &ParameterNames,
) -> Url {
    let mut url = endpoint.clone();
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair(names.of("response_type"), "code")
            .append_pair(names.of("client_id"), &registration.client_id)
            .append_pair(names.of("redirect_uri"), registration.redirect_uri.as_str())
            .append_pair(names.of("state"), &request.state.expose())
            .append_pair("code_challenge", &request.challenge.to_string())
            .append_pair("code_challenge_method", "S256");
        if !registration.scope.is_empty() {
            query.append_pair(names.of("scope"), &registration.scope);
        }
        if registration.requests_openid() {
            query.append_pair("nonce", &request.nonce.expose());
        }
        if let Some(prompt) = request.prompt {
            query.append_pair("prompt", prompt);
        }
        for (name, value) in &registration.authorize_parameters {
            if name != "prompt" || request.prompt.is_none() {
                query.append_pair(name, value);
            }
        }
        if let Some(login_hint) = request.login_hint {
            query.append_pair("login_hint", login_hint);
        }
        if let Some(max_age) = request.max_age {
            query.append_pair("max_age", &max_age.to_string());
        }
        if !acr_values.is_empty() {
            query.append_pair("acr_values", &acr_values.join(" "));
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::fake::{Attempt, CLIENT_ID, registration, url};
    use super::*;

    /// The parameters of a request. Panics if one of them appears twice.
    fn parameters(url: &Url) -> HashMap<String, String> {
        let mut parameters = HashMap::new();
        for (name, value) in url.query_pairs() {
            assert!(parameters.insert(name.to_string(), value.into_owned()).is_none(), "{name} is repeated");
        }
        parameters
    }

    #[test]
    fn the_request_has_the_parameters_of_the_standards() {
        let registration = registration(|settings| settings.scope = "openid email".to_owned());
        let attempt = Attempt::new();
        let endpoint = url("https://login.example.com/authorize?tenant=a%26b");
        let sent =
            authorization_url(&registration, &endpoint, &attempt.request(), &[], &ParameterNames::default());
        assert!(sent.as_str().starts_with("https://login.example.com/authorize?tenant=a%26b&"), "{sent}");
        let expected = [
            ("tenant", "a&b".to_owned()),
            ("response_type", "code".to_owned()),
            ("client_id", CLIENT_ID.to_owned()),
            ("redirect_uri", registration.redirect_uri.to_string()),
            ("state", attempt.state.expose()),
            ("nonce", attempt.nonce.expose()),
            ("scope", "openid email".to_owned()),
            ("code_challenge", attempt.verifier.challenge().to_string()),
            ("code_challenge_method", "S256".to_owned()),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(parameters(&sent), HashMap::from(expected));
    }

    #[test]
    fn without_openid_there_is_no_nonce_and_without_scopes_no_scope() {
        let attempt = Attempt::new();
        let endpoint = url("https://ops.example.com/o/authorize/");
        for (scope, has_scope) in [("", false), ("read openid2", true)] {
            let registration = registration(|settings| settings.scope = scope.to_owned());
            let names = ParameterNames::default();
            let sent = authorization_url(&registration, &endpoint, &attempt.request(), &[], &names);
            let sent = parameters(&sent);
            assert!(!sent.contains_key("nonce"), "{scope}");
            assert_eq!(sent.contains_key("scope"), has_scope, "{scope}");
        }
    }

    #[test]
    fn optional_parameters_are_passed_on_and_cannot_inject_others() {
        let attempt = Attempt::new();
        let mut request = attempt.request();
        request.prompt = Some("login");
        request.login_hint = Some("alice@example.com&state=evil#x");
        request.max_age = Some(0);
        let acr_values = ["gold".to_owned(), "silver".to_owned()];
        let endpoint = url("https://login.example.com/authorize");
        let sent = authorization_url(
            &registration(|_| {}),
            &endpoint,
            &request,
            &acr_values,
            &ParameterNames::default(),
        );
        assert_eq!(sent.fragment(), None);
        let sent = parameters(&sent);
        assert_eq!(sent["prompt"], "login");
        assert_eq!(sent["login_hint"], "alice@example.com&state=evil#x");
        assert_eq!(sent["max_age"], "0");
        assert_eq!(sent["acr_values"], "gold silver");
        assert_eq!(sent["state"], attempt.state.expose());
    }
}
