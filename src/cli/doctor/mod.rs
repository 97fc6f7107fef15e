//! `doctor`: checks a live gateway from outside, and is the service behind the gateway for that check.

mod checks;
mod echo;
mod findings;
mod probe;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use actix_web::rt::System;
use clap::Args;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use url::Url;

use self::checks::Target;
use self::findings::Finding;
use self::probe::Probe;
use super::Failure;
use super::serve::runtime;
use crate::domain::clock::SystemClock;
use crate::http::forward_auth::identity_headers::Preset;

/// Check a live gateway from outside: spoofed headers, open paths, made-up tokens, and more
///
/// Put the echo service behind the gateway in place of the API (--echo), and ask through the gateway with a valid token
/// (--through). Every finding has a name, its cause and how to fix it. Nothing is changed; no request but GET, HEAD, OPTIONS
/// and PROPFIND is sent.
#[derive(Debug, Args)]
#[command(after_help = "On the machine of the API:  token-broker doctor --echo 127.0.0.1:9000\n\
    From outside:               token-broker doctor --through https://orders.example.com/ --token-file token\n\
    With the broker stopped:    token-broker doctor --through https://orders.example.com/ --token-file token \
    --broker-stopped\n\n\
    Exit codes: 0 nothing was found, 1 something was found or the gateway cannot be reached, 2 wrong command line.")]
pub(super) struct Doctor {
    /// The gateway, with a path that the policy protects.
    #[arg(long, value_name = "URL", required_unless_present = "echo", conflicts_with = "echo")]
    through: Option<Url>,
    /// A file that contains a valid token for the API; `-` for standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "echo", conflicts_with = "echo")]
    token_file: Option<PathBuf>,
    /// The API's own address, which must not answer from here.
    #[arg(long, value_name = "URL", conflicts_with = "echo")]
    upstream: Option<Url>,
    /// The names of the identity headers, as in [forward_auth]: x-auth, remote-user or x-auth-request.
    #[arg(long, value_name = "NAMES", default_value = "x-auth", value_parser = preset, conflicts_with = "echo")]
    headers: Preset,
    /// Also check what a policy with pages needs: the redirect to sign in, the way back, and the cookies.
    #[arg(long, conflicts_with = "echo")]
    pages: bool,
    /// Only check what the gateway does while the broker, or its database, is stopped.
    #[arg(long, conflicts_with = "echo")]
    broker_stopped: bool,
    /// Serve as the API: answer every request on this address with what has arrived, tokens and cookies included.
    #[arg(long, value_name = "ADDRESS")]
    echo: Option<SocketAddr>,
}

impl Doctor {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        if let Some(address) = self.echo {
            return System::new().block_on(echo::serve(address, out));
        }
        let (Some(url), Some(file)) = (self.through, self.token_file) else {
            return Err(Failure::Configuration("--through and --token-file are required".to_owned()));
        };
        let token = std::io::read_to_string(input(&file)?)?.trim().to_owned();
        let probe = Probe::new().map_err(runtime)?;
        let target = Target {
            url,
            token,
            upstream: self.upstream,
            headers: self.headers,
            pages: self.pages,
            clock: &SystemClock,
        };
        let findings = System::new().block_on(async {
            if self.broker_stopped {
                checks::while_stopped(&probe, &target).await
            } else {
                checks::all(&probe, &target).await
            }
        });
        report(&findings.map_err(runtime)?, out)
    }
}

fn input(file: &std::path::Path) -> Result<Box<dyn std::io::Read>, Failure> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = std::fs::File::open(file);
    let opened = opened.map_err(|error| Failure::Configuration(format!("{}: {error}", file.display())))?;
    Ok(Box::new(opened))
}

fn report(findings: &[Finding], out: &mut dyn Write) -> Result<(), Failure> {
    for finding in findings {
        writeln!(out, "{finding}\n")?;
    }
    match findings.len() {
        0 => Ok(writeln!(out, "No findings.")?),
        1 => Err(Failure::Runtime("1 finding".to_owned())),
        count => Err(Failure::Runtime(format!("{count} findings"))),
    }
}

fn preset(text: &str) -> Result<Preset, serde::de::value::Error> {
    Preset::deserialize(IntoDeserializer::<serde::de::value::Error>::into_deserializer(text))
}
