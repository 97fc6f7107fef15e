//! A production installation as an operator would set it up: a configuration file, and a private file for each secret.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::browser::Browser;
use super::process::free_port;
use super::program::Program;

/// The address that browsers use.
pub const PUBLIC: &str = "https://auth.example.com";

/// What must never be printed: the passwords of both stores and the secret at the provider.
pub const SECRETS: [&str; 3] = ["database-password", "redis-password", "provider-secret"];

/// The `client_id` at the provider.
pub const CLIENT_ID: &str = "token-broker";

/// A folder with everything that `serve` needs.
pub struct Production {
    folder: TempDir,
}

/// One `token-broker serve`.
pub struct Instance {
    pub program: Program,
    /// The URL of its public listener.
    pub url: String,
    /// The URL of its admin listener.
    pub admin_url: String,
}

impl Production {
    /// An installation with stores at these URLs and the provider `corp`, a plain OAuth 2 provider at `provider`.
    pub async fn new(database: &str, key_store: &str, provider: &str) -> Self {
        let new = Self { folder: tempfile::tempdir().unwrap() };
        new.private("database_url", database);
        new.private("key_store_url", key_store);
        new.private("corp", SECRETS[2]);
        let made = Program::run(new.folder(), &["keys", "generate", "--output", "server_keys.toml"]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        new.write(&Self::text(provider));
        new
    }

    fn text(provider: &str) -> String {
        format!(
            r#"public_url = "{PUBLIC}"
[server]
listen = "127.0.0.1:8080"
admin_listen = "127.0.0.1:9090"
workers = 2
[database]
url_file = "database_url"
[key_store]
url_file = "key_store_url"
[server_keys]
file = "server_keys.toml"
[[providers]]
id = "corp"
kind = "oauth2"
authorize_url = "{provider}/o/authorize/"
token_url = "{provider}/o/token/"
client_auth = "post"
client_id = "{CLIENT_ID}"
client_secret_file = "corp"
profile = [
  {{ url = "{provider}/public-api/current_user/base_info" }},
  {{ url = "{provider}/public-api/current_user/all_permissions" }},
]
claims = {{ subject = "$.name", username = "$.name", permissions = "$.permissions[*]" }}
[[clients]]
id = "web"
redirect_uris = ["https://app.example.com/signed-in"]
"#
        )
    }

    /// The folder in which the program runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file that only its owner can read.
    pub fn private(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        file
    }

    /// The configuration file.
    pub fn config(&self) -> String {
        std::fs::read_to_string(self.folder().join("token-broker.toml")).unwrap()
    }

    /// Writes the configuration file.
    pub fn write(&self, config: &str) {
        std::fs::write(self.folder().join("token-broker.toml"), config).unwrap();
    }

    /// Adds to the configuration of the provider.
    pub fn trust(&self, ca: &Path) {
        let mut config = self.config();
        let at = config.find("client_auth").unwrap();
        let mut line = String::new();
        writeln!(line, "ca_file = \"{}\"", ca.display()).unwrap();
        config.insert_str(at, &line);
        self.write(&config);
    }

    /// Starts an instance on free ports.
    pub fn serve(&self, name: &str) -> Instance {
        let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let settings =
            [("TOKEN_BROKER__SERVER__LISTEN", &*listen), ("TOKEN_BROKER__SERVER__ADMIN_LISTEN", &*admin)];
        let arguments = ["serve", "--config", "token-broker.toml"];
        let program = Program::start(self.folder(), name, &arguments, &settings);
        Instance { program, url: format!("http://{listen}"), admin_url: format!("http://{admin}") }
    }
}

impl Instance {
    /// Waits until it listens.
    pub async fn listens(&mut self) {
        self.program.line("\"ready\"").await;
    }

    /// A browser whose requests to the public URL reach this instance.
    pub fn browser(&self) -> Browser {
        let browser = Browser::new();
        browser.route(PUBLIC, &self.url);
        browser
    }
}
