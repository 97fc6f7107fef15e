//! The configuration of `demo` and of tests: everything on this machine, without a file.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use super::check::Check;
use super::{Loaded, Mode, Problems, RawConfig, validate};
use crate::domain::client::RedirectUri;

/// What differs from one demo to the next.
#[derive(Clone, Copy)]
pub struct DevelopmentSetup<'a> {
    /// The port of the broker on 127.0.0.1.
    pub port: u16,
    /// The SQLite file.
    pub database: &'a Path,
    /// The file of the server keys.
    pub server_keys: &'a Path,
    /// The development provider's own address, as in `http://127.0.0.1:9000`.
    pub provider_url: &'a str,
    /// The broker's `client_id` at both of its providers.
    pub provider_client_id: &'a str,
    /// The broker's secret at both of its providers.
    pub provider_client_secret: &'a str,
    /// The addresses of a developer's own SPA, the client `app`; without any there is no such client.
    pub apps: &'a [RedirectUri],
    /// Which events are logged.
    pub log_filter: &'a str,
}

impl fmt::Debug for DevelopmentSetup<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("DevelopmentSetup").field("port", &self.port).finish_non_exhaustive()
    }
}

/// Where Vite's development server shows `frontend-sample/examples/vite-react`.
const VITE_ADDRESS: &str = "http://localhost:5173/";

/// The configuration of a demo: provider `dev` (OpenID Connect) and `ops` (plain OAuth 2); clients `sample`,
/// `vite-react` (on another origin), `legacy`, and `app` for a developer's own SPA.
///
/// # Errors
///
/// The server keys cannot be read, or a value of `setup` is not valid.
pub fn development(setup: DevelopmentSetup<'_>) -> Result<Loaded, Problems> {
    let broker = format!("http://localhost:{}", setup.port);
    let provider = |path: &str| format!("{}{path}", setup.provider_url);
    let raw = json!({
        "public_url": broker,
        "server": { "listen": format!("127.0.0.1:{}", setup.port) },
        "database": { "url": format!("sqlite:{}", setup.database.display()) },
        "key_store": { "url": "memory:" },
        "server_keys": { "file": setup.server_keys },
        "log": { "format": "pretty", "filter": setup.log_filter },
        "docs": { "public": true },
        "personal_tokens": { "enabled": true },
        "sample": { "client_id": "sample" },
        "providers": [{
            "id": "dev",
            "kind": "oidc",
            "display_name": "Development provider",
            "issuer": setup.provider_url,
            "client_id": setup.provider_client_id,
            "client_secret": setup.provider_client_secret,
            "claims": { "permissions": "$.permissions[*]" },
        }, {
            "id": "ops",
            "kind": "oauth2",
            "display_name": "Development provider, plain OAuth 2",
            "authorize_url": provider("/o/authorize/"),
            "token_url": provider("/o/token/"),
            "client_auth": "post",
            "client_id": setup.provider_client_id,
            "client_secret": setup.provider_client_secret,
            "profile": [
                { "url": provider("/public-api/current_user/base_info") },
                { "url": provider("/public-api/current_user/all_permissions") },
            ],
            "claims": {
                "subject": "$.name",
                "username": "$.name",
                "display_name": "$.name_cn",
                "email": "$.email",
                "permissions": "$.permissions[*]",
            },
        }],
        "clients": clients(&broker, setup.apps),
    });
    let tree = serde_json::from_value(raw)
        .map_err(|_| Problems::one("the demo", "has an unreadable configuration"))?;
    let mut check = Check::new(Mode::Development, Path::new(""));
    let raw = RawConfig::read(tree, &mut check);
    validate(raw, check)
}

/// A client of this origin, one of another, one with the contract of the replaced service, and the developer's own.
fn clients(broker: &str, apps: &[RedirectUri]) -> Vec<Value> {
    let mut clients = vec![
        json!({
            "id": "sample",
            "display_name": "Sample app",
            "redirect_uris": [format!("{broker}/")],
            "post_logout_redirect_uris": [format!("{broker}/")],
            "device": true,
        }),
        json!({
            "id": "vite-react",
            "display_name": "Sample app on another origin",
            "redirect_uris": [VITE_ADDRESS],
            "post_logout_redirect_uris": [VITE_ADDRESS],
        }),
        json!({
            "id": "legacy",
            "display_name": "Sample app, old contract",
            "redirect_uris": [format!("{broker}/legacy")],
            "legacy": true,
        }),
    ];
    if !apps.is_empty() {
        let addresses: Vec<_> = apps.iter().map(RedirectUri::as_str).collect();
        clients.push(json!({
            "id": "app",
            "display_name": "Your app",
            "redirect_uris": addresses,
            "post_logout_redirect_uris": addresses,
            "refresh_tokens": true,
            "device": true,
        }));
    }
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_secret_is_not_printed() {
        let setup = DevelopmentSetup {
            port: 8080,
            database: Path::new("broker.sqlite"),
            server_keys: Path::new("server_keys.toml"),
            provider_url: "http://127.0.0.1:9000",
            provider_client_id: "broker",
            provider_client_secret: "hush",
            apps: &[],
            log_filter: "info",
        };
        assert_eq!(format!("{setup:?}"), "DevelopmentSetup { port: 8080, .. }");
    }
}
