//! What client libraries read first: the authorization server metadata of RFC 8414, the same as OpenID Provider metadata,
//! and the public keys.

use std::collections::BTreeSet;

use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::errors::errors;
use super::{introspect, revoke};
use crate::domain::client_assertion::ALGORITHMS as ASSERTION_ALGORITHMS;
use crate::domain::dpop::jwk::ALGORITHMS;
use crate::domain::lifetimes::REVOCATION_BOUND;
use crate::domain::oauth_request::{EMAIL, OPENID, PROFILE};
use crate::domain::scope::Scope;
use crate::domain::signing_key::{ALGORITHM, PublicJwk};
use crate::flow::device_token::DEVICE_CODE_GRANT;
use crate::state::Broker;

/// Authorization server metadata (RFC 8414 section 2).
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerMetadata {
    /// The broker: `iss` of every authorization response and ID token.
    #[schema(example = "https://auth.example.com")]
    issuer: String,
    /// Where the browser is sent.
    #[schema(example = "https://auth.example.com/oauth2/authorize")]
    authorization_endpoint: String,
    /// Where codes and refresh tokens are exchanged.
    #[schema(example = "https://auth.example.com/oauth2/token")]
    token_endpoint: String,
    /// Where devices ask to be connected (RFC 8628), if a client may.
    #[schema(example = "https://auth.example.com/oauth2/device_authorization")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_authorization_endpoint: Option<String>,
    /// Where the claims of the person are.
    #[schema(example = "https://auth.example.com/oauth2/userinfo")]
    userinfo_endpoint: String,
    /// Where APIs ask about tokens (RFC 7662).
    #[schema(example = "https://auth.example.com/oauth2/introspect")]
    introspection_endpoint: String,
    /// How APIs authenticate there.
    #[schema(example = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]))]
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    /// With which algorithms they sign client assertions.
    #[schema(example = json!(["ES256", "EdDSA", "PS256", "RS256"]))]
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    /// Always `ES256`: how an answer about a token is signed that is asked for as a JWT (RFC 9701 section 7).
    #[schema(example = json!(["ES256"]))]
    introspection_signing_alg_values_supported: [&'static str; 1],
    /// Where tokens are given up (RFC 7009).
    #[schema(example = "https://auth.example.com/oauth2/revoke")]
    revocation_endpoint: String,
    /// How clients and APIs authenticate there.
    #[schema(example = json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]))]
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    /// With which algorithms APIs sign client assertions.
    #[schema(example = json!(["ES256", "EdDSA", "PS256", "RS256"]))]
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    /// The page that signs the browser out (OpenID Connect RP-Initiated Logout 1.0).
    #[schema(example = "https://auth.example.com/logout")]
    end_session_endpoint: String,
    /// The keys that sign ID tokens, identity assertions and introspection answers.
    #[schema(example = "https://auth.example.com/.well-known/jwks.json")]
    jwks_uri: String,
    /// The scopes that clients can have; each has its own.
    #[schema(example = json!(["email", "openid", "permissions", "profile"]))]
    scopes_supported: Vec<String>,
    /// Always `code`.
    #[schema(example = json!(["code"]))]
    response_types_supported: [&'static str; 1],
    /// Always `query`.
    #[schema(example = json!(["query"]))]
    response_modes_supported: [&'static str; 1],
    /// `refresh_token` and the grant of devices only if a client uses them.
    #[schema(example = json!(["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]))]
    grant_types_supported: Vec<&'static str>,
    /// Always `none`: clients are public, their proof is PKCE.
    #[schema(example = json!(["none"]))]
    token_endpoint_auth_methods_supported: [&'static str; 1],
    /// Always `S256`.
    #[schema(example = json!(["S256"]))]
    code_challenge_methods_supported: [&'static str; 1],
    /// Always true (RFC 9207).
    #[schema(example = true)]
    authorization_response_iss_parameter_supported: bool,
    /// Always false.
    #[schema(example = false)]
    request_parameter_supported: bool,
    /// Always false.
    #[schema(example = false)]
    request_uri_parameter_supported: bool,
    /// Always false.
    #[schema(example = false)]
    claims_parameter_supported: bool,
    /// Always `public`: every client sees the same `sub`.
    #[schema(example = json!(["public"]))]
    subject_types_supported: [&'static str; 1],
    /// Always `ES256`.
    #[schema(example = json!(["ES256"]))]
    id_token_signing_alg_values_supported: [&'static str; 1],
    /// The algorithms of DPoP proofs (RFC 9449 section 5.1).
    #[schema(example = json!(["ES256"]))]
    dpop_signing_alg_values_supported: [&'static str; 6],
    /// The claims of ID token and userinfo.
    #[schema(example = json!(["sub", "name"]))]
    claims_supported: [&'static str; 12],
    /// The values of `prompt` (Initiating User Registration 1.0 section 3).
    #[schema(example = json!(["none", "login", "consent", "select_account"]))]
    prompt_values_supported: [&'static str; 4],
    /// After a logout or a revocation, every instance refuses a token within this many seconds. An extension of this broker.
    #[schema(example = 1)]
    revocation_bound_seconds: i64,
}

impl ServerMetadata {
    fn new(broker: &Broker) -> Self {
        let at = |path: &str| format!("{}{path}", broker.issuer());
        let mut grant_types = vec!["authorization_code"];
        if broker.clients.iter().any(|client| client.refresh_tokens) {
            grant_types.push("refresh_token");
        }
        let devices = broker.clients.iter().any(|client| client.device);
        if devices {
            grant_types.push(DEVICE_CODE_GRANT);
        }
        Self {
            issuer: broker.issuer().to_owned(),
            authorization_endpoint: at("/oauth2/authorize"),
            token_endpoint: at("/oauth2/token"),
            device_authorization_endpoint: devices.then(|| at("/oauth2/device_authorization")),
            userinfo_endpoint: at("/oauth2/userinfo"),
            introspection_endpoint: at(introspect::PATH),
            introspection_endpoint_auth_methods_supported: introspect::AUTH_METHODS,
            introspection_signing_alg_values_supported: [ALGORITHM],
            introspection_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
            revocation_endpoint: at(revoke::PATH),
            revocation_endpoint_auth_methods_supported: revoke::AUTH_METHODS,
            revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
            end_session_endpoint: at("/logout"),
            jwks_uri: at("/.well-known/jwks.json"),
            scopes_supported: scopes(broker),
            response_types_supported: ["code"],
            response_modes_supported: ["query"],
            grant_types_supported: grant_types,
            token_endpoint_auth_methods_supported: ["none"],
            code_challenge_methods_supported: ["S256"],
            authorization_response_iss_parameter_supported: true,
            request_parameter_supported: false,
            request_uri_parameter_supported: false,
            claims_parameter_supported: false,
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: [ALGORITHM],
            dpop_signing_alg_values_supported: ALGORITHMS,
            claims_supported: [
                "iss",
                "sub",
                "aud",
                "exp",
                "iat",
                "auth_time",
                "nonce",
                "at_hash",
                "name",
                "preferred_username",
                "email",
                "email_verified",
            ],
            prompt_values_supported: ["none", "login", "consent", "select_account"],
            revocation_bound_seconds: REVOCATION_BOUND.num_seconds(),
        }
    }
}

fn scopes(broker: &Broker) -> Vec<String> {
    let of_clients = broker.clients.iter().flat_map(|client| client.scopes.iter().map(Scope::as_str));
    let all: BTreeSet<&str> = of_clients.chain([OPENID, PROFILE, EMAIL]).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// A JWK Set (RFC 7517 section 5).
#[derive(Debug, Serialize, ToSchema)]
pub struct JwkSet {
    /// The public keys: the one that signs now, and those that signed before or will sign next.
    #[schema(value_type = Vec<Object>, example = json!([{"kty": "EC", "crv": "P-256", "x": "…", "y": "…", "alg": "ES256", "use": "sig", "kid": "…"}]))]
    keys: Vec<PublicJwk>,
}

errors!(MetadataErrors, []);

/// Authorization server metadata
///
/// RFC 8414. Client libraries configure themselves with it.
#[utoipa::path(
    tag = "Standard OAuth 2 and OpenID Connect",
    responses((status = 200, description = "The metadata.", body = ServerMetadata), MetadataErrors),
)]
#[get("/oauth-authorization-server")]
pub async fn oauth_authorization_server(broker: web::Data<Broker>) -> web::Json<ServerMetadata> {
    web::Json(ServerMetadata::new(&broker))
}

/// OpenID Provider metadata
///
/// OpenID Connect Discovery 1.0: the same as the authorization server metadata.
#[utoipa::path(
    tag = "Standard OAuth 2 and OpenID Connect",
    responses((status = 200, description = "The metadata.", body = ServerMetadata), MetadataErrors),
)]
#[get("/openid-configuration")]
pub async fn openid_configuration(broker: web::Data<Broker>) -> web::Json<ServerMetadata> {
    web::Json(ServerMetadata::new(&broker))
}

/// Public keys
///
/// The keys that verify the broker's JWTs, as a JWK Set. A key that signs next is published before it does.
#[utoipa::path(
    tag = "Standard OAuth 2 and OpenID Connect",
    responses((status = 200, description = "The keys.", body = JwkSet), MetadataErrors),
)]
#[get("/jwks.json")]
pub async fn jwks(broker: web::Data<Broker>) -> web::Json<JwkSet> {
    web::Json(JwkSet { keys: broker.keys.signing().public().to_vec() })
}
