//! `completions` and `man`: files that a package installs beside the program.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure};

const NAME: &str = "token-broker";

/// Print the completion script of a shell
///
/// For example: token-broker completions bash > /etc/bash_completion.d/token-broker
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        Ok(out.write_all(&script)?)
    }
}

/// Write the manual pages of all commands into a folder
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder, which must exist.
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        clap_mangen::generate_to(Cli::command(), &self.output)
            .map_err(|error| Failure::Runtime(format!("{}: {error}", self.output.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let (code, out, err) = run(&["completions", shell]);
            assert_eq!((code, err.as_str()), (0, ""));
            assert!(out.contains("check-config") && out.contains("resource-servers"), "{shell}: {out}");
        }
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        let (code, _, err) = run(&["man", "--output", &folder.path().display().to_string()]);
        assert_eq!((code, err.as_str()), (0, ""));
        for (page, text) in [
            ("token-broker.1", "check"),
            ("token-broker-serve.1", "SIGTERM"),
            ("token-broker-users-list.1", "search"),
        ] {
            let page = std::fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(page.contains(".TH ") && page.contains(text), "{page}");
        }
        let missing = folder.path().join("nothing").display().to_string();
        assert_eq!(run(&["man", "--output", &missing]).0, 1);
    }
}
