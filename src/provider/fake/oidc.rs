//! An OpenID provider on the scripted server: right in everything until a test changes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::keys::{SigningKey, changed, claims};
use super::server::{Reply, Server};
use super::{Attempt, oidc, settings};
use crate::provider::settings::{KindSettings, OidcSettings, ProviderSettings};

pub const METADATA: &str = "/.well-known/openid-configuration";
pub const JWKS: &str = "/jwks";
pub const TOKEN: &str = "/token";
pub const USERINFO: &str = "/userinfo";

/// The access token that it gives out.
pub const ACCESS_TOKEN: &str = "the-access-token";

/// The provider.
pub struct FakeOidc {
    pub server: Server,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
}

impl FakeOidc {
    /// A provider whose one key is `key`, whose next login is the one of [`Attempt::new`].
    pub fn start(key: &SigningKey) -> Self {
        let replies = Arc::new(Mutex::new(HashMap::<String, Reply>::new()));
        let script = Arc::clone(&replies);
        let server = Server::start(move |request| {
            script.lock().unwrap().get(&request.target).cloned().unwrap_or_else(|| Reply::status(404))
        });
        let fake = Self { server, replies };
        fake.metadata(json!({}));
        fake.keys(&[&key.jwk]);
        fake.id_token(&key.sign(&fake.claims()));
        fake
    }

    pub fn issuer(&self) -> &str {
        self.server.base()
    }

    /// The claims of a good ID token.
    pub fn claims(&self) -> Value {
        claims(self.issuer(), &Attempt::new().nonce.expose())
    }

    /// From now on `path` is answered so.
    pub fn reply(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// From now on the metadata has these changes; `null` removes a member.
    pub fn metadata(&self, changes: Value) {
        let issuer = self.issuer();
        let metadata = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize?tenant=1"),
            "token_endpoint": format!("{issuer}{TOKEN}"), "jwks_uri": format!("{issuer}{JWKS}"),
            "userinfo_endpoint": format!("{issuer}{USERINFO}"), "scopes_supported": ["openid"],
        });
        self.reply(METADATA, Reply::json(&changed(&metadata, changes)));
    }

    /// From now on these are the keys.
    pub fn keys(&self, keys: &[&Value]) {
        self.reply(JWKS, Reply::json(&json!({"keys": keys})));
    }

    /// From now on the token endpoint gives out this ID token.
    pub fn id_token(&self, token: &str) {
        self.reply(
            TOKEN,
            Reply::json(&json!({
                "access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 300, "id_token": token,
            })),
        );
    }

    /// The settings of a broker that is registered here.
    pub fn settings(&self, change: impl FnOnce(&mut OidcSettings)) -> ProviderSettings {
        let mut oidc = oidc(self.issuer());
        change(&mut oidc);
        settings(KindSettings::Oidc(oidc))
    }
}
