//! `audit`: what happened.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use clap::{Args, Subcommand};

use super::administration::{Common, Limit, READ_HELP};
use super::output::{Console, clean_json, counted};
use super::{ConfigFile, Failure, private_file};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ClientId;
use crate::flow::administration::audit::{self, Export};
use crate::flow::administration::{Administration, users};
use crate::storage::audit::{AuditEntry, AuditFilter, AuditRecord};

/// Look at the audit trail, or export it
#[derive(Debug, Args)]
#[command(after_help = READ_HELP)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Export(ExportCommand),
}

/// List audit events, newest first
#[derive(Debug, Args)]
#[command(after_help = READ_HELP)]
struct List {
    /// Only about this user: id (a deleted user's, too), provider/subject, or a username that only one user has.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only of this kind, as in login_succeeded or admin_user_disabled.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only for this client.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    #[command(flatten)]
    period: Period,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    common: Common,
}

/// Write audit events as JSON lines, oldest first, however many there are
#[derive(Debug, Args)]
#[command(name = "export", after_help = READ_HELP)]
struct ExportCommand {
    #[command(flatten)]
    period: Period,
    /// Write to this new file, readable by its owner only, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Debug, Args)]
struct Period {
    /// From this time on: 2026-06-01, 2026-06-01T12:00:00Z, or an age such as 90m, 24h, 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
}

/// A time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    At(Timestamp),
    Ago(TimeDelta),
}

/// The text is no time.
#[derive(Debug, thiserror::Error)]
#[error("must be a date (2026-06-01, in UTC), a time (2026-06-01T12:00:00Z) or an age (90m, 24h, 7d)")]
struct NoTime;

impl FromStr for When {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self::At(date.and_time(NaiveTime::MIN).and_utc()));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self::At(time));
        }
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(NoTime)?;
        let number = i64::from(number.parse::<u16>().map_err(|_| NoTime)?);
        match unit {
            "m" => Ok(Self::Ago(TimeDelta::minutes(number))),
            "h" => Ok(Self::Ago(TimeDelta::hours(number))),
            "d" => Ok(Self::Ago(TimeDelta::days(number))),
            _ => Err(NoTime),
        }
    }
}

impl When {
    fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(age) => now - age,
        }
    }
}

impl Period {
    fn filter(&self, administration: &Administration) -> AuditFilter {
        let now = administration.clock.now();
        let time = |when: Option<When>| when.map(|when| when.before(now));
        AuditFilter { since: time(self.since), until: time(self.until), ..AuditFilter::default() }
    }
}

impl Audit {
    pub(super) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.command {
            Command::List(command) => command.run(console),
            Command::Export(command) => command.run(console),
        }
    }
}

impl List {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let found = self.common.run(async |administration| {
            let user = match &self.user {
                // Of a deleted user the id is all that is left.
                Some(name) => match name.parse() {
                    Ok(id) => Some(id),
                    Err(_) => Some(users::find(administration, name).await?.id),
                },
                None => None,
            };
            let filter = AuditFilter {
                user,
                kind: self.kind,
                client: self.client,
                limit: self.limit.rows,
                ..self.period.filter(administration)
            };
            Ok(audit::list(administration, filter).await?)
        })?;
        let titles = ["TIME (UTC)", "!EVENT", "ABOUT"];
        console.list(self.common.json, &found, &titles, |AuditEntry { event, .. }| {
            let time = event.at.format("%Y-%m-%d %H:%M:%S").to_string();
            vec![time, event.kind.clone(), about(event)]
        })?;
        let how = "raise --limit, narrow it with --until, or use audit export";
        self.limit.remark_more(&found, |_| how.to_owned(), console)
    }
}

/// All that an event names, in words.
fn about(event: &AuditRecord) -> String {
    let (user, session) = (event.user.map(|id| id.to_string()), event.session.map(|id| id.to_string()));
    let facts = [
        ("by", event.actor.as_ref()),
        ("user", user.as_ref()),
        ("resource server", event.resource_server.as_ref()),
        ("client", event.client.as_ref()),
        ("provider", event.provider.as_ref()),
        ("session", session.as_ref()),
        ("token", event.token.as_ref()),
        ("from", event.address.as_ref()),
        ("because", event.reason.as_ref()),
    ];
    let named = facts.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
    named.collect::<Vec<_>>().join(", ")
}

impl ExportCommand {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let written = self.config.administer(async |administration| {
            let export = Export::new(administration, self.period.filter(administration));
            match &self.output {
                None => write(export, console.out()).await,
                Some(path) => {
                    let failed = |error| Failure::Runtime(format!("{}: {error}", path.display()));
                    write(export, &mut private_file::open_new(path).map_err(failed)?).await
                }
            }
        })?;
        console.remark(&format!("{} written", counted(written, "event")))
    }
}

/// One line an event.
async fn write(mut export: Export<'_>, out: &mut dyn Write) -> Result<usize, Failure> {
    let mut out = BufWriter::new(out);
    let mut written = 0;
    loop {
        let page = export.page().await?;
        if page.is_empty() {
            out.flush()?;
            return Ok(written);
        }
        for entry in &page {
            let line = serde_json::to_string(entry).map_err(std::io::Error::other)?;
            writeln!(out, "{}", clean_json(&line))?;
        }
        written += page.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_times_and_ages() {
        let noon: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-05-31", "2026-05-31T00:00:00Z"),
            ("2026-05-31T10:00:00+02:00", "2026-05-31T08:00:00Z"),
            ("90m", "2026-06-01T10:30:00Z"),
            ("24h", "2026-05-31T12:00:00Z"),
            ("7d", "2026-05-25T12:00:00Z"),
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(when.before(noon), expected.parse::<Timestamp>().unwrap(), "{text}");
        }
        for text in ["", "d", "x", "7", "7w", "-7d", "99999d", "2026-13-01", "yesterday", "ü"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }
}
