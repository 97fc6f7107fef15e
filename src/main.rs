//! The `token-broker` command. All the code is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One crypto provider for every TLS connection: rustls does not choose if several are compiled in.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    token_broker::cli::run(std::env::args_os())
}
