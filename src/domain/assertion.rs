//! The identity assertion: a short JWT that tells an API behind a gateway who the visitor is, so that the API need not trust
//! the network between them.
//!
//! It is for one API (`aud`) and one minute, and opens nothing at the broker.

use serde::Serialize;
use uuid::Uuid;

use super::audience::Audience;
use super::clock::Timestamp;
use super::ids::{ClientId, UserId};
use super::lifetimes;
use super::scope::ScopeSet;

/// What an assertion says.
#[derive(Debug)]
pub struct AssertionFacts<'a> {
    /// The broker.
    pub issuer: &'a str,
    /// The API that the policy of the gateway protects.
    pub audience: &'a Audience,
    /// The stable local id of the user.
    pub user: UserId,
    /// The client of the visitor's token.
    pub client: &'a ClientId,
    /// The scopes of the visitor's token.
    pub scopes: &'a ScopeSet,
    /// Now.
    pub issued_at: Timestamp,
    /// A random id.
    pub id: Uuid,
    /// What the API is told of the user beside the id.
    pub profile: &'a AssertedProfile,
}

/// What an API is told of a user beside the id. What it is not told is left out.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct AssertedProfile {
    /// The login name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// The full name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The email address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the provider has verified the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// The provider of the sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The groups: all of them or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// The permissions: all of them or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: Uuid,
    iat: i64,
    exp: i64,
    jti: Uuid,
    client_id: &'a str,
    scope: String,
    #[serde(flatten)]
    profile: &'a AssertedProfile,
}

impl AssertionFacts<'_> {
    /// The claims, to be signed.
    pub fn claims(&self) -> impl Serialize {
        Claims {
            iss: self.issuer,
            aud: self.audience.as_str(),
            sub: self.user.as_uuid(),
            iat: self.issued_at.timestamp(),
            exp: (self.issued_at + lifetimes::ASSERTION).timestamp(),
            jti: self.id,
            client_id: self.client.as_str(),
            scope: self.scopes.to_string(),
            profile: self.profile,
        }
    }
}
