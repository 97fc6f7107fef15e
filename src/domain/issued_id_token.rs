//! The ID token that the broker issues to clients that ask for the scope `openid` (OpenID Connect Core section 2).
//!
//! It tells the client who signed in, once. It opens nothing: the broker accepts only its own opaque tokens as credentials.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use uuid::Uuid;

use super::client_text::ClientNonce;
use super::clock::Timestamp;
use super::ids::{ClientId, UserId};
use super::lifetimes;

/// What an ID token says.
#[derive(Debug)]
pub struct IdTokenFacts<'a> {
    /// The broker.
    pub issuer: &'a str,
    /// The stable local id of the user, the same for every client.
    pub user: UserId,
    /// The client that it is for.
    pub client: &'a ClientId,
    /// The nonce of the authorization request; `None` when it is issued again.
    pub nonce: Option<&'a ClientNonce>,
    /// When the person authenticated at the provider, if it said so.
    pub auth_time: Option<Timestamp>,
    /// The access token that it is issued with.
    pub access_token: &'a str,
    /// Now.
    pub issued_at: Timestamp,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: Uuid,
    aud: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    at_hash: String,
}

impl IdTokenFacts<'_> {
    /// The claims, to be signed.
    pub fn claims(&self) -> impl Serialize {
        Claims {
            iss: self.issuer,
            sub: self.user.as_uuid(),
            aud: self.client.as_str(),
            iat: self.issued_at.timestamp(),
            exp: (self.issued_at + lifetimes::ID_TOKEN).timestamp(),
            auth_time: self.auth_time.map(|at| at.timestamp()),
            nonce: self.nonce.map(ClientNonce::as_str),
            at_hash: at_hash(self.access_token),
        }
    }
}

/// The left half of the hash of the signature's algorithm (OpenID Connect Core section 3.1.3.6).
fn at_hash(access_token: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, access_token.as_bytes()).as_ref()[..16])
}
