//! The command line, with one file per command.
//!
//! Exit codes: 0 success, 1 failed while running, 2 refused (command line, configuration, not confirmed), 3 not
//! found.

mod administration;
mod audit;
mod check_config;
mod completions;
mod connect;
#[cfg(feature = "demo")]
mod demo;
mod descriptors;
mod doctor;
mod health;
mod instance;
mod keys;
mod migrate;
#[cfg(not(feature = "demo"))]
mod no_demo;
mod openapi;
mod operator;
mod output;
mod private_file;
mod purge;
mod resource_servers;
mod serve;
mod sessions;
mod status;
mod tokens;
mod users;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::output::Console;
use crate::config::{self, Loaded, Mode, Problems};
use crate::domain::token_kind::TokenKind;
use crate::domain::{one_time_key, resource_server};

/// Signs users in to single-page apps through OAuth 2 and OpenID Connect providers and gives the apps bearer tokens.
#[derive(Debug, Parser)]
#[command(name = "token-broker", version, max_term_width = 100)]
#[command(after_help = "To try it out: token-broker demo\n\n\
    In production: generate server keys (keys generate), write token-broker.toml (see \
    token-broker.example.toml), check it (check-config), create the tables (migrate), run it (serve), and see what works (status).\n\n\
    To administer it: users, sessions, tokens, resource-servers, audit and purge. They work on the live \
    database while brokers are running. To rotate the server keys: keys. To check a gateway: doctor.\n\n\
    Exit codes: 0 success, 1 failed while running, 2 refused (command line, configuration, not \
    confirmed), 3 not found.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
    #[cfg(not(feature = "demo"))]
    #[command(hide = true)]
    Demo(no_demo::Demo),
    Serve(serve::Serve),
    CheckConfig(check_config::CheckConfig),
    Doctor(doctor::Doctor),
    Migrate(migrate::Migrate),
    Status(status::Status),
    Health(health::Health),
    Keys(keys::Keys),
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApi),
    Users(users::Users),
    Sessions(sessions::Sessions),
    Tokens(tokens::Tokens),
    ResourceServers(resource_servers::ResourceServers),
    Audit(audit::Audit),
    Purge(purge::Purge),
    Completions(completions::Completions),
    #[command(hide = true)]
    Man(completions::Man),
}

/// The option of every command that reads the configuration.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file (TOML). Environment variables such as TOKEN_BROKER__SERVER__LISTEN override it.
    #[arg(long = "config", value_name = "FILE", env = "TOKEN_BROKER_CONFIG")]
    path: PathBuf,
}

impl ConfigFile {
    /// Loads the configuration with the checks for production.
    fn load(&self) -> Result<Loaded, Problems> {
        config::load(&self.path, config::environment(), Mode::Production)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The command line or the configuration must be fixed before a retry.
    #[error("{0}")]
    Configuration(String),
    /// The command failed while running; a retry can succeed.
    #[error("{0}")]
    Runtime(String),
    /// What the command names does not exist.
    #[error("{0}")]
    NotFound(String),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Runtime(_) => 1,
            Self::Configuration(_) => 2,
            Self::NotFound(_) => 3,
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Configuration(problems.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Runtime(error.to_string())
    }
}

/// Runs the command line and returns the exit code of the process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_with(arguments, &mut io::stdout(), &mut io::stderr()).into()
}

/// As [`run`], with standard output and standard error passed in. Returns the exit code.
fn run_with(arguments: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.iter().any(is_credential) {
        // The usual error message about a wrong argument would repeat the secret.
        let _ = writeln!(
            err,
            "token-broker: the command line contains a token, key or secret, and other users of this machine can read \
             it: revoke it, and pass secrets on standard input or in a file"
        );
        return 2;
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let page = error.render();
            // Help and version go to standard output, errors to standard error.
            let _ = if error.use_stderr() { write!(err, "{page}") } else { write!(out, "{page}") };
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let result = match cli.command {
        Command::Demo(command) => command.run(out),
        Command::Serve(command) => command.run(),
        Command::CheckConfig(command) => command.run(out),
        Command::Doctor(command) => command.run(out),
        Command::Migrate(command) => command.run(&mut Console::new(out, err)),
        Command::Status(command) => command.run(&mut Console::new(out, err)),
        Command::Health(command) => command.run(out),
        Command::Keys(command) => command.run(out),
        Command::OpenApi(command) => command.run(out),
        Command::Users(command) => command.run(&mut Console::new(out, err)),
        Command::Sessions(command) => command.run(&mut Console::new(out, err)),
        Command::Tokens(command) => command.run(&mut Console::new(out, err)),
        Command::ResourceServers(command) => command.run(&mut Console::new(out, err)),
        Command::Audit(command) => command.run(&mut Console::new(out, err)),
        Command::Purge(command) => command.run(&mut Console::new(out, err)),
        Command::Completions(command) => command.run(out),
        Command::Man(command) => command.run(),
    };
    match result {
        Ok(()) => 0,
        Err(failure) => {
            let _ = writeln!(err, "token-broker: {failure}");
            failure.exit_code()
        }
    }
}

/// Whether an argument looks like a credential that this broker issues.
fn is_credential(argument: &OsString) -> bool {
    let text = argument.to_string_lossy();
    let value = text.rsplit('=').next().unwrap_or_default();
    let kinds = TokenKind::ALL.iter().map(|kind| kind.prefix());
    kinds
        .chain([one_time_key::PREFIX, resource_server::PREFIX])
        .any(|prefix| value.strip_prefix(prefix).is_some_and(|body| body.len() >= 50))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Runs a command line; returns the exit code and what was written to standard output and standard error.
    pub(super) fn run(arguments: &[&str]) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments = ["token-broker"].iter().chain(arguments).map(OsString::from);
        let code = run_with(arguments, &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn every_command_and_argument_has_help() {
        let command = Cli::command();
        command.clone().debug_assert();
        command.get_subcommands().for_each(has_help);
    }

    fn has_help(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(has_help);
    }

    #[test]
    fn a_credential_on_the_command_line_is_refused_and_not_repeated() {
        let token = format!("tbk_{}", "a1".repeat(36));
        let secret = format!("tbs_{}", "b2".repeat(25));
        for arguments in [
            vec!["tokens", "revoke", &token],
            vec!["tokens", "revoke-id", &token],
            vec!["users", "show", &secret],
            vec!["users", "list", &format!("--search={token}")],
        ] {
            let (code, out, err) = run(&arguments);
            assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
            assert!(
                err.contains("standard input") && !err.contains("a1a1") && !err.contains("b2b2"),
                "{err}"
            );
        }
    }

    #[test]
    fn help_succeeds_and_a_wrong_command_line_is_2() {
        let (code, out, err) = run(&["--help"]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("check-config") && out.contains("Exit codes"), "{out}");
        let (code, out, err) = run(&["sevre"]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("sevre"), "{err}");
    }
}
