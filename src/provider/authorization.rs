//! The authorization request: the address that the browser is sent to (RFC 6749 section 4.1.1, RFC 7636
//! section 4.3, OpenID Connect Core section 3.1.2.1).

use url::Url;

use super::{AuthorizationRequest, Registration};

/// Parameters that the broker sets itself; an endpoint whose own query holds one would send it twice.
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

/// Whether the endpoint's own query holds a parameter of the request (RFC 6749 section 3.1).
pub(super) fn has_own_parameter(endpoint: &Url) -> bool {
    endpoint.query_pairs().any(|(name, _)| OWN_PARAMETERS.contains(&&*name))
}

/// The address for one login.
pub(super) fn authorization_url(
    registration: &Registration,
    endpoint: &Url,
    request: &AuthorizationRequest<'_>,
    acr_values: &[String],
) -> Url {
    let mut url = endpoint.clone();
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &registration.client_id)
            .append_pair("redirect_uri", registration.redirect_uri.as_str())
            .append_pair("state", &request.state.expose())
            .append_pair("code_challenge", &request.challenge.to_string())
            .append_pair("code_challenge_method", "S256");
        if !registration.scope.is_empty() {
            query.append_pair("scope", &registration.scope);
        }
        if registration.asks_for_openid() {
            query.append_pair("nonce", &request.nonce.expose());
        }
        if let Some(prompt) = request.prompt {
            query.append_pair("prompt", prompt);
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
