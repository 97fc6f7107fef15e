//! `demo`: everything on this machine with one command and nothing to configure.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::http::header::HeaderName;
use actix_web::rt::System;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use secrecy::ExposeSecret;
use url::Url;

use super::administration::open;
use super::serve::{runtime, start_log};
use super::{Failure, private_file};
use crate::config::{Config, DevelopmentSetup, KeysFile, development};
use crate::domain::client::{InvalidUri, RedirectUri};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::entropy::{self, SystemEntropy};
use crate::domain::loopback::is_loopback_url;
use crate::http::forward_auth::identity_headers::Claim;
use crate::provider::dev::{DevClient, DevProvider, DevProviderSettings, USERS};
use crate::server::{self, Environment};
use crate::telemetry;

/// The broker's name at the development provider.
const CLIENT_ID: &str = "token-broker";

/// Try everything on this machine: broker, development provider and sample app
///
/// Listens on 127.0.0.1 only and needs no network and no configuration. Users and keys stay in the data folder;
/// delete it to start over.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The port of the broker.
    #[arg(long, default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// The folder of the database and the server keys; created if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "demo-data")]
    data: PathBuf,
    /// Your own app on this machine, as in `http://localhost:3000`: registers it as the client `app`, with this
    /// redirect URI and its origin. Repeat it for each redirect URI.
    #[arg(long, value_name = "URL", value_parser = app_address)]
    app: Vec<RedirectUri>,
    /// Serve the sample app from this folder instead of the built-in files, to work on it.
    #[arg(long, value_name = "DIR")]
    sample_from: Option<PathBuf>,
    /// Which events are logged, as in `info` or `token_broker=debug`.
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

impl Demo {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        self.check_port()?;
        self.check_sample()?;
        let keys = self.prepare_data().map_err(|error| {
            Failure::Runtime(format!("{}: {error}: choose another folder with --data", self.data.display()))
        })?;
        let outcome = System::new().block_on(async {
            let provider = self.start_provider()?;
            let config = self.configuration(&provider.0, &provider.1, &keys)?;
            start_log(&config.log)?;
            open(&config.database)?.migrate().await.map_err(runtime)?;
            let server = server::build(config, Environment::system()).await.map_err(runtime)?;
            self.welcome(provider.0.url(), out)?;
            server.run().await.map_err(runtime)
        });
        telemetry::flush();
        outcome
    }

    /// Says at once what is wrong with the port, and what to do.
    fn check_port(&self) -> Result<(), Failure> {
        let port = self.port;
        let remedy = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse => "is taken".to_owned(),
            Err(error) => format!("cannot be opened ({error})"),
        };
        let other = if port == 8080 { 8081 } else { 8080 };
        Err(Failure::Runtime(format!("port {port} {remedy}: choose another, as in --port {other}")))
    }

    fn check_sample(&self) -> Result<(), Failure> {
        match &self.sample_from {
            Some(folder) if !folder.join("index.html").is_file() => {
                let text = format!("{} has no index.html: pass the folder frontend-sample", folder.display());
                Err(Failure::Runtime(text))
            }
            _ => Ok(()),
        }
    }

    fn database(&self) -> PathBuf {
        self.data.join("broker.sqlite")
    }

    /// Creates the data folder and the server keys if they do not exist; returns the path of the keys.
    fn prepare_data(&self) -> io::Result<PathBuf> {
        private_file::folder(&self.data)?;
        let keys = self.data.join("server_keys.toml");
        if !keys.exists() {
            let fresh = KeysFile::fresh(&SystemEntropy, SystemClock.now()).text();
            private_file::create(&keys, fresh.expose_secret())?;
        }
        Ok(keys)
    }

    /// Starts the provider on a free port. Returns it with the broker's client secret, which is new at every start.
    fn start_provider(&self) -> Result<(DevProvider, String), Failure> {
        let secret = BASE64_URL_SAFE_NO_PAD.encode(entropy::bytes::<32>(&SystemEntropy));
        let callback = |id: &str| format!("http://localhost:{}/oauth2_callback/{id}", self.port);
        let client = DevClient {
            client_id: CLIENT_ID.to_owned(),
            client_secret: secret.as_str().into(),
            redirect_uris: vec![callback("dev"), callback("ops")],
        };
        let provider = DevProvider::start(DevProviderSettings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            clients: vec![client],
            open_registration: false,
        });
        let provider = provider.map_err(runtime)?;
        let logout = format!("http://127.0.0.1:{}/oauth2/backchannel_logout", self.port);
        provider.tell_of_logouts(CLIENT_ID, logout);
        Ok((provider, secret))
    }

    fn configuration(&self, provider: &DevProvider, secret: &str, keys: &Path) -> Result<Config, Failure> {
        let setup = DevelopmentSetup {
            port: self.port,
            database: &self.database(),
            server_keys: keys,
            provider_url: provider.url(),
            provider_client_id: CLIENT_ID,
            provider_client_secret: secret,
            apps: &self.app,
            log_filter: &self.log,
        };
        let mut config = development(setup)?.config;
        config.sample.folder = self.sample_from.clone();
        // The demo shows everything that can be tried without more than one program.
        config.http.identity_headers.add(Claim::Assertion, HeaderName::from_static("x-auth-assertion"));
        Ok(config)
    }

    fn welcome(&self, provider: &str, out: &mut dyn Write) -> Result<(), Failure> {
        let broker = format!("http://localhost:{}", self.port);
        let users: Vec<_> = USERS.iter().map(|user| user.name).collect();
        writeln!(out, "token-broker demo: for trying out on this machine, not for production\n")?;
        writeln!(out, "  sample app  {broker}/")?;
        if !self.app.is_empty() {
            let addresses: Vec<_> = self.app.iter().map(RedirectUri::as_str).collect();
            writeln!(out, "  your app    {} with clientId 'app'", addresses.join(", "))?;
        }
        writeln!(out, "  API docs    {broker}/docs")?;
        writeln!(out, "  provider    {provider} (OpenID Connect and plain OAuth 2)")?;
        writeln!(out, "  users       {}; no passwords", users.join(", "))?;
        writeln!(out, "  data        {}", self.database().display())?;
        writeln!(out, "  stop        Ctrl-C\n")?;
        writeln!(out, "ready: {broker}/")?;
        Ok(out.flush()?)
    }
}

/// An address of an app on this machine: no other browser can be sent to it.
fn app_address(text: &str) -> Result<RedirectUri, String> {
    let address: RedirectUri = text.parse().map_err(|why: InvalidUri| why.to_string())?;
    let here = Url::parse(text).is_ok_and(|url| is_loopback_url(&url));
    here.then_some(address).ok_or_else(|| {
        "must be on this machine, as in http://localhost:3000/ or https://127.0.0.1:3000/".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::run;
    use super::*;

    fn demo(data: &Path) -> Demo {
        Demo { port: 8080, data: data.to_owned(), app: vec![], sample_from: None, log: "warn".to_owned() }
    }

    #[test]
    fn a_taken_port_is_explained() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        let (code, out, err) = run(&["demo", "--port", &port.to_string(), "--data", data]);
        assert_eq!((code, out.as_str()), (1, ""));
        assert_eq!(err, format!("token-broker: port {port} is taken: choose another, as in --port 8080\n"));
    }

    #[test]
    fn the_server_keys_are_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let demo = demo(&folder.path().join("new"));
        let keys = demo.prepare_data().unwrap();
        let text = std::fs::read_to_string(&keys).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&demo.data), mode(&keys)), (0o700, 0o600));
        demo.prepare_data().unwrap();
        assert_eq!(std::fs::read_to_string(&keys).unwrap(), text);
    }

    #[test]
    fn the_welcome_is_short_and_ends_with_the_ready_line() {
        let mut out = Vec::new();
        demo(Path::new("demo-data")).welcome("http://127.0.0.1:9000", &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.lines().count() <= 12 && out.contains("alice"), "{out}");
        assert_eq!(out.lines().last(), Some("ready: http://localhost:8080/"));

        let app =
            ["http://localhost:3000/", "http://localhost:3000/signed-in"].map(|app| app.parse().unwrap());
        let mut out = Vec::new();
        let demo = Demo { app: app.to_vec(), ..demo(Path::new("demo-data")) };
        demo.welcome("http://127.0.0.1:9000", &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let line =
            "  your app    http://localhost:3000/, http://localhost:3000/signed-in with clientId 'app'\n";
        assert!(out.lines().count() <= 12 && out.contains(line), "{out}");
    }

    #[test]
    fn an_app_is_on_this_machine_or_refused_with_what_to_write() {
        assert_eq!(app_address("http://localhost:3000").unwrap().as_str(), "http://localhost:3000/");
        for good in [
            "http://localhost:3000/",
            "https://127.0.0.1:3000/a?b=c",
            "http://[::1]:1/",
            "https://localhost/",
        ] {
            assert_eq!(app_address(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("https://app.example.com/", "must be on this machine"),
            ("http://app.example.com/", "must be https (http only for localhost"),
            ("http://localhost.example.com/", "must be https (http only for localhost"),
            ("localhost:3000", "must be https"),
            ("/signed-in", "is not an absolute URL"),
            ("http://localhost:3000/#/", "must not contain a fragment"),
            ("http://localhost:3000/?code=1", "its query must not contain"),
        ] {
            let (code, out, err) = run(&["demo", "--app", bad]);
            assert_eq!((code, out.as_str()), (2, ""), "{bad}");
            assert!(err.contains(&format!("invalid value '{bad}' for '--app <URL>': {why}")), "{err}");
        }
    }
}
