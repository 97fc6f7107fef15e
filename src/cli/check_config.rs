//! `check-config`: checks a configuration and prints the settings in effect.

use std::io::Write;

use clap::Args;

use super::{ConfigFile, Failure, connect};

/// Check a configuration by the rules of production and print the settings in effect, secrets masked
///
/// Prints TOML: every setting in effect, with defaults and derived settings. Comments at the top are the warnings, and
/// the redirect URI to register at each provider. Connects to nothing, unless --connect is given.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 `serve` accepts the configuration (and everything works), 1 with --connect: a part \
                  does not work, 2 the configuration has problems, all of which are listed."
)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    config: ConfigFile,
    /// Also ask PostgreSQL, Redis and the OpenID providers whether they work, with what the configuration says: schema, rights
    /// to write, poolers, certificates, clocks. Each is one more comment at the end.
    #[arg(long)]
    connect: bool,
}

impl CheckConfig {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let loaded = self.config.load()?;
        for warning in &loaded.warnings {
            writeln!(out, "# warning: {warning}")?;
        }
        for provider in &loaded.config.providers {
            writeln!(out, "# to register at {} as redirect URI: {}", provider.id, provider.redirect_uri)?;
        }
        write!(out, "{}", loaded.effective)?;
        if self.connect { connect::check(&loaded.config, out) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;

    #[test]
    fn what_is_in_effect_is_printed_with_secrets_masked() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        assert_eq!(run(&["keys", "generate", "--output", &file("server_keys.toml")]).0, 0);
        for (name, secret) in [
            ("corp", "hidden-1"),
            ("ops", "hidden-2"),
            ("database_url", "sqlite:/srv/broker.sqlite"),
            ("key_store_url", "rediss://u:hidden-3@redis.internal:6380/0"),
        ] {
            super::super::private_file::create(folder.path().join(name).as_path(), secret).unwrap();
        }
        let example = include_str!("../../token-broker.example.toml");
        let text = example
            .replace("url = \"rediss://redis.internal:6380/0\"", "url_file = \"/run/secrets/key_store_url\"")
            .replace("/run/secrets", folder.path().to_str().unwrap());
        std::fs::write(file("good.toml"), &text).unwrap();
        let (code, out, err) = run(&["check-config", "--config", &file("good.toml")]);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert!(out.starts_with("# warning: database.url: names SQLite"), "{out}");
        assert!(!out.contains("hidden"), "{out}");
        let effective: toml::Table = out.parse().unwrap();
        let (database, key_store) = (&effective["database"]["url"], &effective["key_store"]["url"]);
        assert_eq!(database.as_str(), Some("sqlite:/srv/broker.sqlite"));
        assert_eq!(key_store.as_str(), Some("rediss://u:(secret)@redis.internal:6380/0"));
        assert_eq!(effective["tokens"]["one_time_key_seconds"].as_integer(), Some(120));
        assert_eq!(effective["providers"][1]["claims"]["subject"].as_str(), Some("$.name"));

        let register =
            "# to register at corp as redirect URI: https://auth.example.com/oauth2_callback/corp\n";
        assert!(out.contains(register), "{out}");
        let (corp, ops) = (&effective["providers"][0], &effective["providers"][1]);
        assert_eq!(corp["callback_path"].as_str(), Some("/oauth2_callback/corp"));
        assert_eq!(corp["scope"].as_str(), Some("openid profile email"));
        assert_eq!(corp["algorithms"].as_array().unwrap().len(), 9);
        assert_eq!((corp["userinfo"].as_bool(), ops.get("userinfo")), (Some(true), None));
        let web = &effective["clients"][0];
        assert_eq!(web["origins"], vec!["https://app.example.com"].into());
        let keys = &effective["server_keys"];
        assert_eq!((keys["issuing"].as_integer(), keys["keys"][0]["id"].as_integer()), (Some(1), Some(1)));
        assert_eq!(keys["keys"][0]["secret"].as_str(), Some("(secret)"));
        for unset in ["allowed_email_domains", "trusted_audiences", "= []", "{id}"] {
            assert!(!out.contains(unset), "{unset}: {out}");
        }

        std::fs::write(file("bad.toml"), text.replace("https://auth", "http://auth")).unwrap();
        let (code, out, err) = run(&["check-config", "--config", &file("bad.toml")]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("public_url: must be https"), "{err}");
    }
}
