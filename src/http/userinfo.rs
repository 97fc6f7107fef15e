//! `GET /oauth2/userinfo`: the standard claims of the person behind a token (OpenID Connect Core section 5.3).

use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::errors::errors;
use super::extract::access::{AnyToken, NoScope};
use crate::domain::oauth_request::{EMAIL, PROFILE};
use crate::domain::profile::ProfileText;
use crate::flow::authenticate::Authenticated;

/// Who the person is (OpenID Connect Core section 5.1). What the provider did not say is left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserInfo {
    /// The stable local id, the same as in the ID token, `/api/me` and introspection.
    #[schema(example = "0b3c4f6e-5a3d-4c2b-9d8e-7f6a5b4c3d2e")]
    sub: Uuid,
    /// The full name. Needs the scope `profile`.
    #[schema(example = "Alice Example")]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The login name. Needs the scope `profile`.
    #[schema(example = "alice")]
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<String>,
    /// The email address. Needs the scope `email`.
    #[schema(example = "alice@example.com")]
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Whether the provider has verified the address. Needs the scope `email`.
    #[schema(example = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

impl From<Authenticated> for UserInfo {
    fn from(Authenticated { user, token, .. }: Authenticated) -> Self {
        let text = |scope: &str, text: Option<ProfileText>| {
            text.filter(|_| token.scopes.contains(scope)).map(|text| text.as_str().to_owned())
        };
        let email = text(EMAIL, user.email);
        Self {
            sub: user.id.as_uuid(),
            name: text(PROFILE, user.display_name),
            preferred_username: text(PROFILE, user.username),
            email_verified: email.as_ref().map(|_| user.email_verified),
            email,
        }
    }
}

errors!(
    UserInfoErrors,
    [InvalidRequest, InvalidToken, MissingToken, InsufficientScope, RateLimited, TemporarilyUnavailable,]
);

/// The standard claims of the signed-in person
///
/// For client libraries of OpenID Connect; `/api/me` says more. Every live token gets `sub`, the other claims need the scopes
/// `profile` and `email`.
#[utoipa::path(
    tag = "Standard OAuth 2 and OpenID Connect",
    security(("bearer" = [])),
    responses((status = 200, description = "The claims.", body = UserInfo), UserInfoErrors),
)]
#[get("")]
pub async fn userinfo(AnyToken { authenticated, .. }: AnyToken<NoScope>) -> web::Json<UserInfo> {
    web::Json(authenticated.into())
}
