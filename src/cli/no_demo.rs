//! `demo`, in a program that was built without it: packages and images hold no development provider.

use std::ffi::OsString;
use std::io::Write;

use clap::Args;

use super::Failure;

/// Not part of this program
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Ignored.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    ignored: Vec<OsString>,
}

impl Demo {
    pub(super) fn run(self, _: &mut dyn Write) -> Result<(), Failure> {
        Err(Failure::Configuration(
            "this program was built without the feature 'demo'; to try it out, run it from the source: \
             cargo run --release -- demo"
                .to_owned(),
        ))
    }
}
