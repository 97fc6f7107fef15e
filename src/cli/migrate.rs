//! `migrate`: creates and updates the database schema.

use actix_web::rt::System;
use clap::Args;

use super::output::Console;
use super::serve::runtime;
use super::{ConfigFile, Failure};

/// Create or update the database schema
///
/// Needs only the secret of the database. Safe while brokers are running, and when several instances run it at once. On PostgreSQL it waits up to a minute for
/// running requests, and requires a database role that can change the schema, which `serve` does not. With SQLite there is
/// no need to run it: `serve` does the same when it starts.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    config: ConfigFile,
    /// Revert all migrations instead. This deletes all users, sessions, tokens, resource servers and the audit trail.
    /// Stop the brokers first.
    #[arg(long, requires = "yes")]
    revert: bool,
    /// Confirm --revert.
    #[arg(long, requires = "revert")]
    yes: bool,
}

impl Migrate {
    pub(super) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let storage = self.config.storage()?;
        System::new().block_on(async {
            if self.revert && self.yes {
                storage.revert_all_migrations().await.map_err(runtime)?;
                return console.print("all migrations reverted");
            }
            let applied = storage.migrate_and_report(|text| {
                let _ = console.notice(text); // the migration does not depend on who reads this
            });
            for name in applied.await.map_err(runtime)? {
                console.print(&format!("applied {name}"))?;
            }
            console.print("the schema is up to date")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;

    #[test]
    fn the_schema_is_created_once_and_can_be_reverted() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let url = format!("sqlite:{}", path("broker.sqlite").display());
        super::super::private_file::create(&path("database_url"), &url).unwrap();
        let example = include_str!("../../token-broker.example.toml");
        let text = example.replace("/run/secrets", folder.path().to_str().unwrap());
        std::fs::write(path("token-broker.toml"), text).unwrap();
        let config = path("token-broker.toml").display().to_string();
        let migrate = |more: &[&str]| run(&[&["migrate", "--config", &config], more].concat());

        let (code, first, err) = migrate(&[]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(first.starts_with("applied "), "{first}");
        assert_eq!(migrate(&[]).1, "the schema is up to date\n");
        assert_eq!(migrate(&["--revert"]).0, 2, "--revert alone is refused");
        assert_eq!(migrate(&["--revert", "--yes"]).0, 0);
        assert_eq!(migrate(&[]).1, first);
    }
}
