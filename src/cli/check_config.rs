//! `check-config`: is this configuration good for production, and what is in effect?

use std::io::Write;

use clap::Args;

use super::{ConfigFile, Failure};

/// Check a configuration by the rules of production and print what is in effect, secrets masked
///
/// Prints TOML with the warnings as comments. Exit code 0 when `serve` would start with it, 1 when something has
/// to be mended first; all of it is listed.
#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    config: ConfigFile,
}

impl CheckConfig {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let loaded = self.config.load().map_err(Failure::Checked)?;
        for warning in &loaded.warnings {
            writeln!(out, "# warning: {warning}")?;
        }
        write!(out, "{}", loaded.effective)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;

    #[test]
    fn ad_01_what_is_in_effect_is_printed_with_secrets_masked() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        assert_eq!(run(&["keys", "generate", "--output", &file("server_keys.toml")]).0, 0);
        for (name, secret) in [("corp", "hidden-1"), ("ops", "hidden-2"), ("database_url", "sqlite:hidden-3")]
        {
            super::super::private_file::create(folder.path().join(name).as_path(), secret).unwrap();
        }
        let example = include_str!("../../token-broker.example.toml");
        let text = example.replace("/run/secrets", folder.path().to_str().unwrap());
        std::fs::write(file("good.toml"), &text).unwrap();
        let (code, out, err) = run(&["check-config", "--config", &file("good.toml")]);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert!(out.starts_with("# warning: database.url: is SQLite"), "{out}");
        assert!(!out.contains("hidden"), "{out}");
        let effective: toml::Table = out.parse().unwrap();
        assert_eq!(effective["key_store"]["url"].as_str(), Some("(secret)"));
        assert_eq!(effective["tokens"]["one_time_key_seconds"].as_integer(), Some(120));
        assert_eq!(effective["providers"][1]["claims"]["subject"].as_str(), Some("$.name"));

        std::fs::write(file("bad.toml"), text.replace("https://auth", "http://auth")).unwrap();
        let (code, out, err) = run(&["check-config", "--config", &file("bad.toml")]);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("public_url: must be https"), "{err}");
    }
}
