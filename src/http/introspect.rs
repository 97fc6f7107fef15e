//! `POST /oauth2/introspect`: a resource server asks about a token (RFC 7662). The answer is JSON, or, if the resource
//! server asks for it, the same as a signed JWT (RFC 9701), which it can keep as proof of what it was told.

use actix_web::http::header::{ACCEPT, VARY};
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::errors::errors;
use super::extract::accept::prefers;
use super::extract::token_form::{self, TokenForm};
use super::redeem::token_type;
use crate::domain::caller::Caller;
use crate::domain::profile::{NameList, ProfileText};
use crate::domain::signing_key::JwtType;
use crate::domain::user::{Permissions, User};
use crate::error::Result;
use crate::flow::introspect::{self as flow, ActiveToken, Answer, Introspection};
use crate::flow::resource_server::ENDPOINTS;
use crate::state::Broker;

/// The path, for the metadata (RFC 8414 section 2).
pub const PATH: &str = ENDPOINTS[0];

/// `introspection_endpoint_auth_methods_supported` of the metadata (RFC 8414 section 2).
pub const AUTH_METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

/// The media type of the answer as a JWT (RFC 9701 section 10.3.1).
const JWT: &str = "application/token-introspection+jwt";

/// The answer about a token (RFC 7662 section 2.2). If it is not active, there is nothing but `active`. Times are seconds
/// since 1970 (UTC).
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct IntrospectionAnswer {
    /// Whether the token may be used at the resource server that asks.
    #[schema(example = true)]
    active: bool,
    /// The broker.
    #[schema(example = "https://auth.example.com")]
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// The stable local id of the user.
    #[schema(example = "0b3c4f6e-5a3d-4c2b-9d8e-7f6a5b4c3d2e")]
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Uuid>,
    /// The APIs that the token is for; the one that asks is among them.
    #[schema(example = json!(["https://orders.example.com"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Vec<String>>,
    /// The client that the token was issued to.
    #[schema(example = "web")]
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// `Bearer`, or `DPoP` for a token that is bound to a key.
    #[schema(example = "Bearer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// The key that a token with the type `DPoP` is bound to. The API must check the proof in the header `DPoP` against it
    /// (RFC 9449 sections 6.2 and 7), or refuse the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    /// Its scopes, space-separated.
    #[schema(example = "permissions profile")]
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// When it was issued.
    #[schema(example = 1_764_000_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// When it expires. It may be revoked before: ask again for each request.
    #[schema(example = 1_764_604_800)]
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// The id of the token; authenticates nothing. `token-broker tokens revoke-id` takes it.
    #[schema(example = "2791c83b-9aca-4609-b0b5-65c7846790dd")]
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
    /// `session` for a client's token inside a session, `personal` for one that a person made for scripts.
    #[schema(example = "session")]
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// When the person last authenticated at the provider, if it says so (RFC 9470 section 6.2).
    #[schema(example = 1_763_999_992)]
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    /// The login name. Who the person is, only a resource server with `--personal-data` is told, and only of a token with
    /// the scope `profile`.
    #[schema(example = "alice")]
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// The full name.
    #[schema(example = "Alice Example")]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The email address.
    #[schema(example = "alice@example.com")]
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Whether the provider has verified the address.
    #[schema(example = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    /// Permissions, as the provider names them. Only a resource server with `--permissions` is told, and only of a token
    /// with the scope `permissions`.
    #[schema(example = json!(["deploy", "read"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Vec<String>>,
    /// The groups the person is in.
    #[schema(example = json!(["staff"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<String>>,
    /// When permissions and groups were read at the provider: at the login.
    #[schema(example = 1_764_000_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions_as_of: Option<i64>,
}

/// The key that a token is bound to (RFC 7800 section 3.1).
#[derive(Debug, Serialize, ToSchema)]
pub struct Confirmation {
    /// The SHA-256 thumbprint (RFC 7638) of the key's JWK.
    #[schema(example = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]
    jkt: String,
}

impl From<Introspection> for IntrospectionAnswer {
    fn from(introspection: Introspection) -> Self {
        match introspection {
            Introspection::Inactive => Self::default(),
            Introspection::Active(token) => Self::active(*token),
        }
    }
}

impl IntrospectionAnswer {
    fn active(token: ActiveToken) -> Self {
        let facts = token.facts;
        let named = Self { active: true, ..Self::default() }.with_user(token.user);
        Self {
            iss: Some(token.issuer),
            sub: Some(facts.owner.user_id.as_uuid()),
            aud: Some(facts.audiences.iter().map(|audience| audience.as_str().to_owned()).collect()),
            client_id: Some(facts.client_id.into()),
            token_type: Some(token_type(facts.dpop_jkt.is_some())),
            cnf: facts.dpop_jkt.map(|thumbprint| Confirmation { jkt: thumbprint.to_string() }),
            scope: Some(facts.scopes.to_string()),
            iat: Some(facts.issued_at.timestamp()),
            exp: Some(facts.expires_at.timestamp()),
            jti: Some(facts.id.as_uuid()),
            kind: Some(facts.kind.as_str()),
            auth_time: token.auth_time.map(|at| at.timestamp()),
            ..named.with_permissions(token.permissions)
        }
    }

    fn with_user(self, user: Option<User>) -> Self {
        let Some(user) = user else { return self };
        let text = |text: Option<ProfileText>| text.map(|text| text.as_str().to_owned());
        Self {
            username: text(user.username),
            name: text(user.display_name),
            email: text(user.email),
            email_verified: Some(user.email_verified),
            ..self
        }
    }

    fn with_permissions(self, permitted: Option<Permissions>) -> Self {
        let Some(permitted) = permitted else { return self };
        let names = |list: &NameList| list.iter().map(str::to_owned).collect();
        Self {
            permissions: Some(names(&permitted.permissions)),
            groups: Some(names(&permitted.groups)),
            permissions_as_of: Some(permitted.as_of.timestamp()),
            ..self
        }
    }
}

/// The answer as a JWT (RFC 9701 section 5). What it says of the token is a claim of its own, and there is neither `sub` nor
/// `exp`, so that no one takes it for an access token.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    token_introspection: IntrospectionAnswer,
}

fn signed(broker: &Broker, answer: Answer) -> Result<String> {
    let claims = Claims {
        iss: broker.issuer(),
        aud: answer.server.as_str(),
        iat: broker.clock.now().timestamp(),
        token_introspection: answer.introspection.into(),
    };
    broker.keys.sign(JwtType::Introspection, &claims)
}

errors!(
    IntrospectErrors,
    [
        InvalidRequest,
        UnauthenticatedClient,
        OriginNotAllowed,
        RequestTimeout,
        ContentTooLarge,
        UnsupportedMediaType,
        RateLimited,
        TemporarilyUnavailable,
    ]
);

/// Ask about a token
///
/// For APIs: OAuth 2.0 Token Introspection (RFC 7662). The API authenticates with the id and secret that
/// `token-broker resource-servers add` gave it, in the `Authorization` header (Basic) or in the form, or with a JWT that it
/// signs with its own key (`private_key_jwt`, RFC 7523). A token that is
/// unknown, expired, revoked or for another API is `{"active":false}`, and nothing else is said about it. 503 means
/// unknown: refuse the call, but do not call the token invalid.
///
/// With `Accept: application/token-introspection+jwt` the answer is a JWT (RFC 9701), signed with ES256 by one of the keys of
/// `/.well-known/jwks.json`: `iss` is the broker, `aud` the id of the API, and the claim `token_introspection` has exactly the
/// members of the JSON answer. Errors are JSON in any case.
#[utoipa::path(
    tag = "For APIs",
    security(("resource_server" = [])),
    request_body(
        description = "The token, as a form.",
        content((TokenForm = "application/x-www-form-urlencoded")),
    ),
    responses(
        (
            status = 200,
            description = "What the API may know of the token.",
            content(
                (IntrospectionAnswer = "application/json"),
                (String = "application/token-introspection+jwt", example = "eyJ…"),
            ),
        ),
        IntrospectErrors,
    ),
)]
#[post("/oauth2/introspect")]
pub async fn introspect(
    broker: web::Data<Broker>,
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse> {
    let asked = token_form::read(&request, payload).await?;
    let answer = flow::introspect(&broker, &caller, &asked.credentials, &asked.token).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((VARY, ACCEPT.as_str()));
    if prefers(request.headers(), JWT, "application/json") {
        return Ok(response.content_type(JWT).body(signed(&broker, answer)?));
    }
    Ok(response.json(IntrospectionAnswer::from(answer.introspection)))
}
