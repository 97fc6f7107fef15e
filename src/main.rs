//! The command `token-broker`: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One provider for every TLS connection; rustls refuses to choose where several are compiled in.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    token_broker::cli::run(std::env::args_os())
}
