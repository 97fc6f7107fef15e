//! `status`: what works in a running instance.

use clap::Args;
use serde::{Deserialize, Serialize};
use url::Url;

use super::output::Console;
use super::{Failure, instance};

/// Show what works in a running instance, part by part
///
/// Reads the detailed health of the admin listener (`server.admin_listen`).
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 everything works, 1 a part fails, or the instance does not answer.")]
pub(super) struct Status {
    /// The address of the admin listener.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090/")]
    url: Url,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The detailed health, as the admin listener reports it.
#[derive(Debug, Deserialize, Serialize)]
struct Report {
    ready: bool,
    log_in: bool,
    redeem: bool,
    verify: bool,
    parts: Vec<Part>,
    server_keys: Keys,
}

#[derive(Debug, Deserialize, Serialize)]
struct Part {
    name: String,
    works: bool,
    problem: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Keys {
    issuing: u32,
    known: Vec<u32>,
}

impl Status {
    pub(super) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let url = self.url.join("/healthz").map_err(|error| Failure::Configuration(error.to_string()))?;
        let reply = instance::get(&url)?;
        let report: Report = serde_json::from_slice(&reply.body).map_err(|_| {
            let status = reply.status;
            Failure::Runtime(format!("{url} answered {status}, but not with the health of an admin listener"))
        })?;
        if self.json {
            console.json(&report)?;
        } else {
            report.print(console)?;
        }
        let failing = report.parts.iter().filter(|part| !part.works).count();
        if report.ready && failing == 0 { Ok(()) } else { Err(report.failure()) }
    }
}

impl Report {
    fn print(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        let rows = self.parts.iter().map(|part| {
            let state = if part.works { "works" } else { "fails" };
            vec![part.name.clone(), state.to_owned(), part.problem.clone().unwrap_or_default()]
        });
        console.table(&["PART", "!STATE", "PROBLEM"], rows.collect())?;
        let can = |works: bool| Some(if works { "yes" } else { "no" }.to_owned());
        let known: Vec<String> = self.server_keys.known.iter().map(ToString::to_string).collect();
        console.facts(&[
            ("users can sign in", can(self.log_in)),
            ("one-time keys can be redeemed", can(self.redeem)),
            ("tokens can be checked", can(self.verify)),
            ("issuing server key", Some(self.server_keys.issuing.to_string())),
            ("known server keys", Some(known.join(", "))),
        ])
    }

    fn failure(&self) -> Failure {
        let names: Vec<_> = self.parts.iter().filter(|part| !part.works).map(|part| &*part.name).collect();
        Failure::Runtime(format!("not everything works: {}", names.join(", ")))
    }
}
