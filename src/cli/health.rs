//! `health`: whether an instance runs, for the health check of a container.

use std::io::Write;

use clap::Args;
use url::Url;

use super::{Failure, instance};

/// Check whether an instance runs
///
/// For the health check of a container, whose image has no other program. The default asks whether the process is alive;
/// /readyz instead asks whether a load balancer should send requests to it.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 the answer is 200, 1 it is another one, or there is none.")]
pub(super) struct Health {
    /// The address to ask.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/healthz")]
    url: Url,
}

impl Health {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match instance::get(&self.url)?.status {
            200 => Ok(writeln!(out, "{}: 200", self.url)?),
            status => Err(Failure::Runtime(format!("{}: {status}", self.url))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;

    #[test]
    fn an_instance_that_does_not_run_is_a_failure() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        for command in ["health", "status"] {
            let (code, out, err) = run(&[command, "--url", &format!("http://127.0.0.1:{port}/")]);
            assert_eq!((code, out.as_str()), (1, ""), "{err}");
            assert!(err.contains("does not answer"), "{err}");
        }
    }
}
