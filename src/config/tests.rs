//! Whole configurations: good ones, and what is special about some.

#[cfg(feature = "demo")]
mod demo;
mod mistakes;

use std::fs;
use std::path::Path;

use actix_web::http::header::HeaderName;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::entropy::SeededEntropy;
use crate::domain::key_ring::KeyId;
use crate::domain::redirect_uri::Origin;
use crate::http::forward_auth::identity_headers::{Claim, IdentityHeaders};
use crate::provider::settings::{ClientAuth, KindSettings};

const EXAMPLE: &str = include_str!("../../token-broker.example.toml");

/// A folder with the secret files that the example names.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let keys = KeysFile::fresh(&SeededEntropy::new(1), SystemClock.now()).text();
        folder.write("server_keys.toml", keys.expose_secret());
        folder.write("database_url", "sqlite:/var/lib/token-broker/broker.sqlite\n");
        folder.write("key_store_url", "memory:");
        folder.write("corp", "corp-secret\n");
        folder.write("ops", "ops-secret");
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file that only its owner can read.
    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        self.allow(name, 0o600);
    }

    fn allow(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Loads `text`, in which `/run/secrets` means this folder.
    fn load(&self, text: &str, environment: &[(&str, &str)], mode: Mode) -> Result<Loaded, Problems> {
        let text = text.replace("/run/secrets", self.path().to_str().unwrap());
        let file = self.path().join("token-broker.toml");
        fs::write(&file, text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        super::load(&file, environment, mode)
    }
}

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Problems> {
    Folder::new().load(text, environment, Mode::Production)
}

fn keys(problems: &Problems) -> Vec<&str> {
    problems.iter().map(|problem| problem.key.as_str()).collect()
}

#[test]
fn the_example_is_a_production_configuration() {
    let Loaded { config, warnings, .. } = load(EXAMPLE, &[]).unwrap();
    assert_eq!(config.mode, Mode::Production);
    assert_eq!(config.public_url.as_str(), "https://auth.example.com/");
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.http.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(config.database.url.expose_secret(), "sqlite:/var/lib/token-broker/broker.sqlite");
    assert_eq!(config.server_keys.ring.issuing().id(), KeyId(1));
    assert_eq!(config.lifetimes.api_token.num_seconds(), 604_800);
    assert_eq!(config.limits.failed_redemptions.get(), 30);

    let [corp, ops] = &config.providers[..] else { panic!("{:?}", config.providers) };
    assert_eq!(corp.redirect_uri.as_str(), "https://auth.example.com/oauth2_callback/corp");
    assert_eq!((corp.scope.as_str(), corp.client_auth), ("openid profile email", ClientAuth::Basic));
    assert_eq!(corp.client_secret.expose_secret(), "corp-secret");
    let KindSettings::Oidc(oidc) = &corp.kind else { panic!() };
    assert_eq!((oidc.issuer.as_str(), oidc.userinfo), ("https://login.example.com", true));
    assert_eq!(oidc.algorithms.len(), 9);
    assert_eq!((ops.scope.as_str(), ops.client_auth), ("", ClientAuth::Post));
    let KindSettings::OAuth2(oauth2) = &ops.kind else { panic!() };
    assert_eq!(oauth2.profile[1].into.as_deref(), Some("permissions"));
    assert_eq!(oauth2.claims.subject.as_ref().unwrap().to_string(), "$.name");

    let [web] = &config.clients[..] else { panic!("{:?}", config.clients) };
    assert_eq!(web.origins, ["https://app.example.com".parse().unwrap()]);
    assert_eq!((web.scopes.to_string(), web.login_parameters.len()), ("permissions profile".to_owned(), 3));
    assert_eq!(warnings.iter().map(|warning| warning.key.as_str()).collect::<Vec<_>>(), ["database.url"]);
}

#[test]
fn a_file_that_is_not_there_is_named_with_what_to_put_there() {
    let text = EXAMPLE
        .replace("url = \"rediss://redis.internal:6380/0\"", "url_file = \"absent/key_store\"")
        .replace("#ca_file = \"/etc/ssl/corp.pem\"", "ca_file = \"absent/ca\"")
        .replace("/run/secrets/", "absent/");
    let problems = load(&text, &[]).unwrap_err();
    for (key, file, fix) in [
        ("database.url_file", "database_url", "write the URL into this file, mode 0400"),
        ("key_store.url_file", "key_store", "write the URL into this file, mode 0400"),
        ("server_keys.file", "server_keys.toml", "create it with token-broker keys generate --output /"),
        ("providers[0].client_secret_file", "corp", "write the client secret into this file, mode 0400"),
        ("providers[0].ca_file", "ca", "put the PEM certificates"),
    ] {
        let problem = problems.iter().find(|problem| problem.key == key).unwrap();
        assert!(problem.text.contains(&format!("/absent/{file} cannot be read: ")), "{problem}");
        assert!(problem.text.contains(fix), "{problem}");
    }
}

#[test]
fn an_empty_file_says_all_that_is_needed() {
    let problems = load("", &[]).unwrap_err();
    let needed = ["public_url", "database.url", "key_store.url", "server_keys.file", "providers", "clients"];
    assert_eq!(keys(&problems), needed);
}

#[test]
fn a_missing_file_is_named() {
    let problems = super::load(Path::new("/absent/x.toml"), [], Mode::Production).unwrap_err();
    assert!(problems.to_string().contains("/absent/x.toml: cannot be read"), "{problems}");
}

#[test]
fn the_environment_wins_over_the_file_and_texts_stay_as_they_are() {
    let loaded = load(
        &EXAMPLE.replace("client_secret_file = \"/run/secrets/ops\"", ""),
        &[
            ("TOKEN_BROKER__SERVER__LISTEN", "[::]:80"),
            ("TOKEN_BROKER__SERVER__WORKERS", "3"),
            ("TOKEN_BROKER__SERVER__TRUSTED_PROXIES", "192.0.2.1, 2001:db8::/32"),
            ("TOKEN_BROKER__SERVER__ADMIN_LISTEN", ""),
            ("TOKEN_BROKER__DOCS__PUBLIC", "true"),
            ("TOKEN_BROKER__PROVIDERS__OPS__CLIENT_SECRET", "007"),
            ("TOKEN_BROKER__PROVIDERS__OPS__CLAIMS__SUBJECT", "$.id"),
            ("TOKEN_BROKER__PROVIDERS__OPS__PROFILE__1__INTO", "rights"),
            ("TOKEN_BROKER__PROVIDERS__CORP__USERINFO", "false"),
            ("TOKEN_BROKER__PROVIDERS__CORP__ALGORITHMS", "RS256, ES256"),
            ("TOKEN_BROKER__CLIENTS__SECOND_APP__REDIRECT_URIS", "https://b.example/x,https://b.example/y"),
            ("TOKEN_BROKER__CLIENTS__WEB__KEY_DELIVERY", "fragment"),
            ("TOKEN_BROKER_CONFIG", "not a setting"),
        ],
    );
    let config = loaded.unwrap().config;
    assert_eq!(config.server.listen.to_string(), "[::]:80");
    assert_eq!(config.server.admin_listen.unwrap().port(), 9090);
    assert_eq!((config.server.workers, config.http.trusted_proxies.len()), (Some(3), 2));
    assert!(config.http.docs_public);
    let [corp, ops] = &config.providers[..] else { panic!("{:?}", config.providers) };
    let KindSettings::Oidc(oidc) = &corp.kind else { panic!() };
    assert_eq!((oidc.userinfo, oidc.algorithms.len()), (false, 2));
    assert_eq!(ops.client_secret.expose_secret(), "007");
    let KindSettings::OAuth2(oauth2) = &ops.kind else { panic!() };
    assert_eq!(oauth2.profile[1].into.as_deref(), Some("rights"));
    assert_eq!(oauth2.claims.subject.as_ref().unwrap().to_string(), "$.id");
    let [web, second] = &config.clients[..] else { panic!("{:?}", config.clients) };
    assert_eq!(web.key_delivery, crate::domain::client::KeyDelivery::Fragment);
    assert_eq!((second.id.as_str(), second.redirect_uris.len()), ("second_app", 2));
}

#[test]
fn a_variable_that_names_no_setting_stops_the_start() {
    for (name, key) in [
        ("TOKEN_BROKER__SERVER__LISEN", "server.lisen"),
        ("TOKEN_BROKER__SERVR__LISTEN", "servr"),
        ("TOKEN_BROKER__SERVER____LISTEN", "TOKEN_BROKER__SERVER____LISTEN"),
        ("TOKEN_BROKER__SERVER", "server"),
        ("TOKEN_BROKER__PROVIDERS__CORP__CLIENT_SECRT", "providers[0].client_secrt"),
        ("TOKEN_BROKER__PROVIDERS__CORP__TOKEN_URL", "providers[0].token_url"),
        ("TOKEN_BROKER__PROVIDERS__OPS__PROFILE__1__IN", "providers[1].profile[1].in"),
    ] {
        let problems = load(EXAMPLE, &[(name, "x")]).unwrap_err();
        assert_eq!(keys(&problems), [key], "{problems}");
    }
}

#[test]
fn an_id_with_a_hyphen_is_found_in_the_environment() {
    let text = EXAMPLE.replace("id = \"corp\"", "id = \"my-corp\"");
    let environment = [("TOKEN_BROKER__PROVIDERS__MY_CORP__DISPLAY_NAME", "Ours")];
    let config = load(&text, &environment).unwrap().config;
    assert_eq!((config.providers.len(), config.providers[0].display_name.as_str()), (2, "Ours"));
}

#[test]
fn server_keys_can_come_from_the_environment() {
    let text = EXAMPLE.replace("file = \"/run/secrets/server_keys.toml\"", "");
    let secret = |first: u8| {
        use base64::Engine;
        base64::prelude::BASE64_URL_SAFE.encode((first..first + 32).collect::<Vec<u8>>())
    };
    let (one, two) = (secret(1), secret(2));
    let environment = [
        ("TOKEN_BROKER__SERVER_KEYS__ISSUING", "2"),
        ("TOKEN_BROKER__SERVER_KEYS__KEYS__1__SECRET", one.as_str()),
        ("TOKEN_BROKER__SERVER_KEYS__KEYS__2__SECRET", two.as_str()),
    ];
    let ring = load(&text, &environment).unwrap().config.server_keys.ring;
    assert_eq!(ring.issuing().id(), KeyId(2));
    assert!(ring.get(KeyId(1)).is_some());
}

#[test]
fn weak_and_sample_server_keys_stop_the_start() {
    let folder = Folder::new();
    let sample = "dG9rZW4tYnJva2VyLWV4YW1wbGUta2V5LWRvLW5vdC11c2U";
    assert!(EXAMPLE.contains(sample), "the example shows the sample that is refused");
    let key = |id: u32, secret: &str| format!("issuing = 1\n[[keys]]\nid = {id}\nsecret = \"{secret}\"\n");
    let random = "jcB-BQeCqC-rbIOsZV5Hd8hA5y7MZw3nXfTt5kUGkQE";
    for (text, named, fix) in [
        (key(1, sample), "server_keys.file.keys[0]", "sample"),
        (key(1, &"A".repeat(43)), "server_keys.file.keys[0]", "sample"),
        (key(1, &random[..42]), "server_keys.file.keys[0]", "32 bytes"),
        (key(1, "not base64!"), "server_keys.file.keys[0]", "base64url"),
        (key(2, random), "server_keys.file.keys", "issuing key 1"),
        (key(1, random) + "[[keys]]\nid = 1\nsecret = \"" + random + "\"", "server_keys.file.keys", "twice"),
        (key(1, random).replace("issuing = 1", ""), "server_keys.issuing", "issuing"),
        ("issuing = 1".to_owned(), "server_keys.file.keys", "no server key"),
        (random.to_owned(), "server_keys.file", "token-broker keys"),
    ] {
        folder.write("server_keys.toml", &text);
        let problems = folder.load(EXAMPLE, &[], Mode::Production).unwrap_err();
        assert_eq!(keys(&problems), [named], "{problems}");
        let shown = problems.to_string();
        assert!(shown.contains(fix), "{shown}");
        assert!(!shown.contains(random) && !shown.contains(sample), "{shown}");
    }
}

#[test]
fn secret_files_that_others_can_read_stop_a_production_start() {
    for (name, key) in [
        ("server_keys.toml", "server_keys.file"),
        ("database_url", "database.url_file"),
        ("corp", "providers[0].client_secret_file"),
    ] {
        for mode in [0o644, 0o604, 0o620] {
            let folder = Folder::new();
            folder.allow(name, mode);
            let problems = folder.load(EXAMPLE, &[], Mode::Production).unwrap_err();
            assert_eq!(keys(&problems), [key]);
            assert!(problems.to_string().contains("chmod 400"), "{problems}");
            let loaded = folder.load(EXAMPLE, &[], Mode::Development).unwrap();
            assert!(loaded.warnings.iter().any(|warning| warning.key == key));
        }
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let secrets = ["hidden-one", "hidden-two", "hidden-three"];
    let environment = [
        ("TOKEN_BROKER__PROVIDERS__WEB__CLIENT_SECRET", secrets[0]),
        ("TOKEN_BROKER__DATABASE__URL", "postgres://u:hidden-two@127.0.0.1/d"),
        ("TOKEN_BROKER__KEY_STORE__URL", "rediss://:hidden-three@h"),
    ];
    let text = EXAMPLE
        .replace("client_secret_file = \"/run/secrets/corp\"", "")
        .replace("url_file = \"/run/secrets/database_url\"", "")
        .replace("id = \"corp\"", "id = \"web\"");
    let postgres = cfg!(feature = "postgres");
    let shown = match load(&text, &environment) {
        Ok(loaded) => {
            assert!(loaded.effective.contains("(secret)"), "{}", loaded.effective);
            assert!(loaded.effective.contains("one_time_key_seconds = 120"), "{}", loaded.effective);
            format!("{loaded:?}{}", loaded.effective)
        }
        Err(problems) => {
            assert!(!postgres, "{problems}");
            format!("{problems:?}{problems}")
        }
    };
    let broken = text.replace("kind = \"oidc\"", "kind = \"hidden-one\"\nclient_auth = \"hidden-two\"");
    let broken = broken.replace("#workers = 4", "workers = \"hidden-three\"");
    let problems = load(&broken, &environment).unwrap_err();
    assert_eq!(
        problems.iter().filter(|problem| problem.key.starts_with("providers")).count(),
        2,
        "{problems}"
    );
    let unclosed = load("client_secret = \"hidden-one", &[]).unwrap_err();
    for secret in secrets {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!format!("{problems:?}{problems}{unclosed}").contains(secret), "{problems}{unclosed}");
    }
}

#[test]
fn plain_connections_to_other_machines_are_warned_about() {
    let warned = |key: &str, url: &str| {
        let text = EXAMPLE
            .replace("url_file = \"/run/secrets/database_url\"", "url = \"postgres://127.0.0.1/d\"")
            .replace("url = \"rediss://redis.internal:6380/0\"", "url = \"rediss://h\"");
        let loaded = load(&text, &[(key, url)]).unwrap();
        !loaded.warnings.is_empty()
    };
    let (redis, database) = ("TOKEN_BROKER__KEY_STORE__URL", "TOKEN_BROKER__DATABASE__URL");
    assert!(warned(redis, "redis://redis.internal"));
    if cfg!(feature = "redis-cluster") {
        assert!(warned(redis, "redis+cluster://a:1,b:2"));
    }
    assert!(warned(redis, "memory:"));
    assert!(!warned(redis, "redis://localhost"));
    if cfg!(feature = "postgres") {
        assert!(warned(database, "postgres://db.internal/d"));
        assert!(warned(database, "postgres://db.internal/d?sslmode=require"));
        assert!(!warned(database, "postgres://db.internal/d?sslmode=verify-full"));
    }
}

#[test]
fn a_legacy_client_is_warned_about() {
    let loaded = load(&EXAMPLE.replace("#legacy = false", "legacy = true"), &[]).unwrap();
    assert!(loaded.config.clients[0].legacy);
    assert!(
        loaded.warnings.iter().any(|warning| warning.key == "clients[0].legacy"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn a_native_app_can_register_addresses_without_an_origin_and_no_other_client_can() {
    let uris =
        r#"redirect_uris = ["http://127.0.0.1/cb", "com.example.app:/cb", "https://app.example.com/cb"]"#;
    let registered = EXAMPLE.replace(r#"redirect_uris = ["https://app.example.com/signed-in"]"#, uris);
    let native = registered.replace("#native = false", "native = true");
    let client = &load(&native, &[]).unwrap().config.clients[0];
    assert!(client.native && client.redirect_uris.len() == 3, "{client:?}");
    let origins: Vec<_> = client.origins.iter().map(Origin::as_str).collect();
    assert_eq!(origins, ["https://app.example.com"], "a page of another app may have the origin null");
    assert_eq!(client.home(), None);
    let wrong = load(&registered, &[]).unwrap_err();
    assert_eq!(keys(&wrong), ["clients[0].redirect_uris[0]", "clients[0].redirect_uris[1]"]);
    let legacy = native.replace("#legacy = false", "legacy = true");
    assert_eq!(keys(&load(&legacy, &[]).unwrap_err()), ["clients[0].legacy"]);
}

#[test]
fn the_callback_path_can_be_the_bare_one_for_one_provider_only() {
    let bare = "callback_path = \"/oauth2_callback/\"";
    let one = EXAMPLE.replace("kind = \"oauth2\"", &format!("kind = \"oauth2\"\n{bare}"));
    let config = load(&one, &[]).unwrap().config;
    assert_eq!(config.providers[1].redirect_uri.as_str(), "https://auth.example.com/oauth2_callback/");
    let both = one.replace("kind = \"oidc\"", "kind = \"oidc\"\ncallback_path = \"/oauth2_callback\"");
    assert_eq!(keys(&load(&both, &[]).unwrap_err()), ["providers[1].callback_path"]);
    let slash =
        EXAMPLE.replace("kind = \"oidc\"", "kind = \"oidc\"\ncallback_path = \"/oauth2_callback/{id}/\"");
    let config = load(&slash, &[]).unwrap().config;
    assert_eq!(config.providers[0].redirect_uri.as_str(), "https://auth.example.com/oauth2_callback/corp/");
}

#[test]
fn the_policy_default_accepts_tokens_for_the_broker_unless_it_is_configured() {
    let config = load(EXAMPLE, &[]).unwrap().config;
    let [default] = config.policies.as_slice() else { panic!("{:?}", config.policies) };
    assert_eq!((default.id.as_str(), default.audience.as_str()), ("default", "https://auth.example.com"));
    assert!(!default.needs_permissions() && default.clients.is_empty());

    let further =
        "\n[[policies]]\nid = \"default\"\nany = { groups = [\"staff\"] }\n[[policies]]\nid = \"orders\"\n";
    let config = load(&format!("{EXAMPLE}{further}"), &[("TOKEN_BROKER__POLICIES__ORDERS__CLIENTS", "web")]);
    let config = config.unwrap().config;
    let ids: Vec<_> =
        config.policies.iter().map(|policy| (policy.id.as_str(), policy.needs_permissions())).collect();
    assert_eq!(ids, [("default", true), ("orders", false)]);
    assert!(config.policies[1].clients.contains(&config.clients[0].id));
}

#[test]
fn a_policy_with_pages_has_a_client_of_its_own() {
    let pages = "\n[[policies]]\nid = \"tools\"\nclients = [\"web\"]\nall = { scopes = [\"tools\"] }\n\
                 pages = [\"https://tools.example.com\"]\npage_inactivity_seconds = 600\n";
    let loaded = load(&format!("{EXAMPLE}{pages}"), &[]).unwrap();
    assert!(loaded.effective.contains("https://tools.example.com"), "{}", loaded.effective);
    let config = loaded.config;
    let client = config.clients.last().unwrap();
    assert_eq!((client.id.as_str(), client.display_name.as_str()), ("tools-pages", "tools"));
    let [uri] = client.redirect_uris.as_slice() else { panic!("{:?}", client.redirect_uris) };
    assert_eq!(uri.as_str(), "https://tools.example.com/_token-broker/callback");
    assert!(client.origins.is_empty() && client.inactivity.is_some() && client.scopes.contains("tools"));
    let policy = &config.policies[0];
    assert!(client.audiences.contains(&policy.audience) && policy.clients.contains(&client.id));

    let text = format!("{EXAMPLE}{pages}").replace("trusted_proxies = [\"10.0.0.0/8\"]", "");
    assert_eq!(keys(&load(&text, &[]).unwrap_err()), ["policies[0].pages"], "no gateway is trusted");
    let text = format!("{EXAMPLE}{pages}").replace("\"web\"", "\"tools-pages\"");
    assert_eq!(keys(&load(&text, &[]).unwrap_err()), ["policies[0].id"], "a client has the id");
}

#[test]
fn an_audience_that_no_token_is_for_is_warned_about() {
    let further = "\n[[policies]]\nid = \"orders\"\naudience = \"https://orders.example.com\"\n";
    let loaded = load(&format!("{EXAMPLE}{further}"), &[]).unwrap();
    assert!(
        loaded.warnings.iter().any(|warning| warning.key == "policies[0].audience"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn the_names_of_identity_headers_are_those_of_the_preset_except_for_those_that_are_written() {
    let expected = |names: &[(Claim, &'static str)]| {
        let names = names.iter().map(|(claim, name)| (*claim, HeaderName::from_static(name)));
        IdentityHeaders::new(names.collect(), false)
    };
    assert_eq!(load(EXAMPLE, &[]).unwrap().config.http.identity_headers, IdentityHeaders::default());
    let written = [
        ("TOKEN_BROKER__FORWARD_AUTH__HEADERS", "remote-user"),
        ("TOKEN_BROKER__FORWARD_AUTH__HEADER_NAMES__USERNAME", "Remote-Login"),
    ];
    let text = EXAMPLE.replace("#email = \"X-Auth-Email\"", "email = \"\"");
    assert_eq!(
        load(&text, &written).unwrap().config.http.identity_headers,
        expected(&[
            (Claim::User, "remote-user"),
            (Claim::DisplayName, "remote-name"),
            (Claim::Groups, "remote-groups"),
            (Claim::Username, "remote-login"),
        ])
    );
}

#[test]
fn the_sample_is_off_in_production_unless_a_client_of_this_address_is_named() {
    assert_eq!(load(EXAMPLE, &[]).unwrap().config.sample.client_id, None);
    let on = EXAMPLE.replace("#client_id = \"sample\"", "client_id = \"web\"");
    let problems = load(&on, &[]).unwrap_err();
    assert_eq!(keys(&problems), ["sample.client_id"]);
    assert!(problems.to_string().contains("public_url with a / at its end"), "{problems}");
    let here = on.replace("https://app.example.com/signed-in", "https://auth.example.com/");
    let Loaded { config, warnings, .. } = load(&here, &[]).unwrap();
    assert_eq!(config.sample.client_id.unwrap().as_str(), "web");
    assert!(warnings.iter().any(|warning| warning.key == "sample.client_id"), "{warnings:?}");
    for unfit in ["enabled = false\n", "legacy = true\n"] {
        let text = here.replace("\nid = \"web\"", &format!("\n{unfit}id = \"web\""));
        assert!(keys(&load(&text, &[]).unwrap_err()).contains(&"sample.client_id"), "{unfit}");
    }
    let unknown = here.replace("client_id = \"web\"", "client_id = \"nobody\"");
    assert_eq!(keys(&load(&unknown, &[]).unwrap_err()), ["sample.client_id"]);
}

#[test]
fn a_provider_can_come_from_the_environment_alone() {
    let entry = |name: &str, value: &str| (format!("TOKEN_BROKER__PROVIDERS__OWN__{name}"), value.to_owned());
    let environment = [
        entry("KIND", "oidc"),
        entry("ISSUER", "https://own.example"),
        entry("CLIENT_ID", "1"),
        entry("CLIENT_SECRET", "2"),
        entry("ID_TOKEN_HINT", "true"),
        entry("CLAIMS__GROUPS", "$.groups[*]"),
    ];
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let config = load(EXAMPLE, &environment).unwrap().config;
    let [_, _, own] = &config.providers[..] else { panic!("{:?}", config.providers) };
    let KindSettings::Oidc(oidc) = &own.kind else { panic!() };
    assert_eq!(
        (own.id.as_str(), own.client_id.as_str(), own.client_secret.expose_secret()),
        ("own", "1", "2")
    );
    assert!(oidc.id_token_hint && oidc.claims.groups.is_some());
    assert_eq!(keys(&load(EXAMPLE, &environment[1..]).unwrap_err()), ["providers[2].kind"]);
}

#[test]
fn providers_that_are_no_tables_are_reported_alone() {
    let (before, _) = EXAMPLE.split_once("[[providers]]").unwrap();
    let (_, clients) = EXAMPLE.split_once("[[clients]]").unwrap();
    for (value, key) in [("1", "providers"), ("[1]", "providers[0]")] {
        let text = format!("providers = {value}\n{before}\n[[clients]]{clients}");
        assert_eq!(keys(&load(&text, &[]).unwrap_err()), [key]);
    }
}

#[test]
fn what_serve_would_refuse_is_refused_by_the_check() {
    let folder = Folder::new();
    folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    let file = folder.path().join("broken.pem").display().to_string();
    for (from, to, key) in [
        ("#ca_file = \"/etc/ssl/corp.pem\"", format!("ca_file = \"{file}\""), "providers[0].ca_file"),
        ("6380/0\"", format!("6380/0?ca_file={file}\""), "key_store.url"),
    ] {
        let problems = folder.load(&EXAMPLE.replace(from, &to), &[], Mode::Production).unwrap_err();
        assert_eq!(keys(&problems), [key], "{problems}");
    }
}
