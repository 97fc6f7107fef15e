//! What only the OpenID provider has: discovery, key set, UserInfo, logout.

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;

use super::authorize::ACR_VALUES;
use super::broken::{self, Broken};
use super::faults::{Fault, FaultSwitch};
use super::keys::SigningAlgorithm;
use super::shared::{Kind, Shared};
use super::web::{self, Params};
use super::{backchannel, pages, person, weak_rsa};

/// `GET /.well-known/openid-configuration` (OpenID Connect Discovery 1.0 section 3).
pub(super) async fn discovery(shared: Data<Shared>) -> HttpResponse {
    let url = &shared.url;
    let mut document = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/jwks"),
        "end_session_endpoint": format!("{url}/end-session"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": SigningAlgorithm::ALL.map(SigningAlgorithm::name),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid",
            "name", "preferred_username", "picture", "email", "email_verified", "groups", "permissions",
        ],
        "acr_values_supported": ACR_VALUES,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "authorization_response_iss_parameter_supported":
            !shared.is_on(FaultSwitch::DiscoveryNoIssParameter),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    if shared.is_on(FaultSwitch::DiscoveryWrongIssuer) {
        document["issuer"] = "https://attacker.example".into();
    }
    if shared.is_on(FaultSwitch::DiscoveryForeignEndpoints) {
        document["token_endpoint"] = "http://attacker.example/token".into();
        document["jwks_uri"] = "http://attacker.example/jwks".into();
    }
    broken::answer(&shared, Broken::discovery(&shared), &document).await
}

/// `GET /jwks` (RFC 7517 section 5).
pub(super) async fn jwks(shared: Data<Shared>) -> HttpResponse {
    let mut keys = shared.keys().jwks();
    if shared.is_on(FaultSwitch::WeakRsa) {
        keys.push(weak_rsa::jwk());
    }
    if shared.is_on(FaultSwitch::JwksOddKeys) {
        let odd = [
            json!({"kty": "FUTURE", "kid": "unknown-type", "use": "sig", "alg": "XX256"}),
            json!({"kty": "RSA", "kid": "broken", "use": "sig", "alg": "RS256", "n": "!", "e": "AQAB"}),
            json!({"kty": "oct", "kid": "symmetric", "use": "sig", "alg": "HS256", "k": "AAAA"}),
        ];
        keys.splice(0..0, odd);
    }
    broken::answer(&shared, Broken::jwks(&shared), &json!({"keys": keys})).await
}

/// `/userinfo` (OpenID Connect Core section 5.3).
pub(super) async fn userinfo(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let grant = web::bearer(&request).and_then(|token| shared.tokens.get(shared.now(), token));
    let Some(grant) = grant.filter(|grant| grant.kind == Kind::Oidc && grant.has_scope("openid")) else {
        return web::unauthorized();
    };
    let mut claims = person::oidc_claims(&shared, &grant);
    match grant.fault {
        Some(Fault::UserinfoOtherSub) => drop(claims.insert("sub".into(), "somebody-else".into())),
        Some(Fault::UserinfoMissingSub) => drop(claims.remove("sub")),
        _ => {}
    }
    let broken = grant.fault.and_then(Broken::profile_answer);
    broken::answer(&shared, broken, &Value::Object(claims)).await
}

/// `/end-session` (OpenID Connect RP-Initiated Logout 1.0): ends the browser's session, tells the
/// clients that want to know, and leads back.
pub(super) async fn end_session(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let Some(params) = web::query_or_form(&request, &body) else {
        return pages::refusal("A parameter is given twice.");
    };
    let target = match logout_target(&params, &shared) {
        Ok(target) => target,
        Err(why) => return pages::refusal(why),
    };
    if let Some(session) = shared.session(&request) {
        shared.sessions.take(shared.now(), &session.cookie);
        backchannel::tell_clients(&shared, &session).await;
    }
    let mut answer = match target {
        None => pages::signed_out(),
        Some(target) => web::uncached(StatusCode::SEE_OTHER)
            .insert_header((header::LOCATION, target.to_string()))
            .finish(),
    };
    let mut cookie = Cookie::build(shared.cookie_name().to_owned(), "").path("/").finish();
    cookie.make_removal();
    // A name and nothing always make a cookie.
    let _ = answer.add_cookie(&cookie);
    answer
}

/// Where the browser goes after the logout: only to a registered origin of the client that asks.
fn logout_target(params: &Params, shared: &Shared) -> Result<Option<Url>, &'static str> {
    let hinted =
        params.get("id_token_hint").map(|hint| audience(hint).ok_or("id_token_hint is not an ID token."));
    let hinted = hinted.transpose()?;
    let named = params.get("client_id").cloned();
    if hinted.is_some() && named.is_some() && hinted != named {
        return Err("id_token_hint was issued to another client than client_id.");
    }
    let Some(target) = params.get("post_logout_redirect_uri") else { return Ok(None) };
    let client = named.or(hinted).ok_or("post_logout_redirect_uri needs client_id or id_token_hint.")?;
    if !shared.may_return_after_logout(&client, target) {
        return Err("post_logout_redirect_uri is not at an origin of the client's redirect URIs.");
    }
    let mut target = Url::parse(target).map_err(|_| "post_logout_redirect_uri is not a URL.")?;
    if let Some(state) = params.get("state") {
        target.query_pairs_mut().append_pair("state", state);
    }
    Ok(Some(target))
}

/// The audience of an ID token of any age. Its signature is not looked at: the hint opens nothing here that
/// `client_id` would not.
fn audience(id_token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(claims["aud"].as_str()?.to_owned())
}
