//! `audit`: lists and exports the audit trail.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use clap::{Args, Subcommand};

use super::administration::{Common, Limit, READ_HELP};
use super::output::{Console, clean_json, counted};
use super::{ConfigFile, Failure, private_file};
use crate::domain::clock::{Clock, SystemClock, Timestamp};
use crate::domain::ids::ClientId;
use crate::flow::administration::audit::{self, Export, Follow};
use crate::flow::administration::users;
use crate::storage::Storage;
use crate::storage::audit::{AuditEntry, AuditFilter, AuditRecord};

/// List or export the audit trail
///
/// Needs only the secret of the database.
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
    /// Only events of this user: id (also that of a deleted user), provider/subject, or a username that only one user
    /// has.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only events of this kind, such as login_succeeded or admin_user_disabled.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only events of this client.
    #[arg(long, value_name = "ID")]
    client: Option<ClientId>,
    /// Continue with new events as they are written, oldest first, until interrupted; with --json, one object per line.
    /// Begins now, or with --since.
    #[arg(long, conflicts_with_all = ["rows", "until"])]
    follow: bool,
    #[command(flatten)]
    period: Period,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    common: Common,
}

/// Write all audit events as JSON lines, oldest first
#[derive(Debug, Args)]
#[command(name = "export", after_help = READ_HELP)]
struct ExportCommand {
    #[command(flatten)]
    period: Period,
    /// Write to this file instead of standard output. The file must not exist; only its owner can read it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// The options that limit the time of events.
#[derive(Debug, Args)]
struct Period {
    /// Events at or after this time: 2026-06-01, 2026-06-01T12:00:00Z, or an age such as 90m, 24h, 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<TimeArgument>,
    /// Events before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArgument>,
}

/// How often the database is asked for new events.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// A time as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeArgument {
    At(Timestamp),
    Ago(TimeDelta),
}

/// The text is not a time.
#[derive(Debug, thiserror::Error)]
#[error("must be a date (2026-06-01, in UTC), a time (2026-06-01T12:00:00Z) or an age (90m, 24h, 7d)")]
struct InvalidTime;

impl FromStr for TimeArgument {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self::At(date.and_time(NaiveTime::MIN).and_utc()));
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self::At(time));
        }
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(InvalidTime)?;
        let number = i64::from(number.parse::<u16>().map_err(|_| InvalidTime)?);
        match unit {
            "m" => Ok(Self::Ago(TimeDelta::minutes(number))),
            "h" => Ok(Self::Ago(TimeDelta::hours(number))),
            "d" => Ok(Self::Ago(TimeDelta::days(number))),
            _ => Err(InvalidTime),
        }
    }
}

impl TimeArgument {
    /// The point in time, given the current time.
    fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(age) => now - age,
        }
    }
}

impl Period {
    fn filter(&self, now: Timestamp) -> AuditFilter {
        let time = |when: Option<TimeArgument>| when.map(|when| when.resolve(now));
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
        if self.follow {
            return self.follow(console);
        }
        let found = self.common.read(async |storage| {
            let filter = self.filter(storage).await?;
            Ok(audit::list(storage, filter).await?)
        })?;
        let titles = ["TIME (UTC)", "!EVENT", "DETAILS"];
        console.list(self.common.json, &found, &titles, |AuditEntry { event, .. }| {
            let time = event.at.format("%Y-%m-%d %H:%M:%S").to_string();
            vec![time, event.kind.clone(), details(event)]
        })?;
        let hint = "raise --limit, use --until, or use audit export";
        self.limit.notice_more(&found, |_| hint.to_owned(), console)
    }

    async fn filter(&self, storage: &Storage) -> Result<AuditFilter, Failure> {
        let user = match &self.user {
            // A deleted user can only be named by id: nothing else is stored.
            Some(name) => match name.parse() {
                Ok(id) => Some(id),
                Err(_) => Some(users::find(storage, name).await?.id),
            },
            None => None,
        };
        Ok(AuditFilter {
            user,
            kind: self.kind.clone(),
            client: self.client.clone(),
            limit: self.limit.rows,
            ..self.period.filter(SystemClock.now())
        })
    }

    /// Writes events as they happen. An outage of the database is reported and waited for.
    fn follow(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        self.common.read(async |storage| {
            let mut follow = Follow::new(storage, self.filter(storage).await?, SystemClock.now());
            loop {
                match follow.next().await {
                    Ok(entries) => entries.iter().try_for_each(|entry| self.write(entry, console))?,
                    Err(error) => console.notice(&format!("{error}; trying again"))?,
                }
                console.out().flush()?;
                tokio::time::sleep(FOLLOW_EVERY).await;
            }
        })
    }

    fn write(&self, entry: &AuditEntry, console: &mut Console<'_>) -> Result<(), Failure> {
        if self.common.json {
            return console.json_line(entry);
        }
        let AuditEntry { event, .. } = entry;
        let time = event.at.format("%Y-%m-%d %H:%M:%S");
        console.print(&format!("{time}  {:24}  {}", event.kind, details(event)))
    }
}

/// All fields of an event except its time and kind, in words.
fn details(event: &AuditRecord) -> String {
    let (user, session) = (event.user.map(|id| id.to_string()), event.session.map(|id| id.to_string()));
    let facts = [
        ("by", event.actor.as_ref()),
        ("user", user.as_ref()),
        ("resource server", event.resource_server.as_ref()),
        ("client", event.client.as_ref()),
        ("provider", event.provider.as_ref()),
        ("session", session.as_ref()),
        ("token", event.token.as_ref()),
        ("address", event.address.as_ref()),
        ("reason", event.reason.as_ref()),
    ];
    let known = facts.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
    known.collect::<Vec<_>>().join(", ")
}

impl ExportCommand {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let written = self.config.read_database(async |storage| {
            let now = SystemClock.now();
            let export = Export::new(storage, self.period.filter(now), now);
            match &self.output {
                None => write(export, console.out()).await,
                Some(path) => {
                    let failed = |error| Failure::Runtime(format!("{}: {error}", path.display()));
                    write(export, &mut private_file::open_new(path).map_err(failed)?).await
                }
            }
        })?;
        console.notice(&format!("{} written", counted(written, "event")))
    }
}

/// Writes one line per event and returns the number of events.
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
    fn a_time_is_a_date_a_time_or_an_age() {
        let noon: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-05-31", "2026-05-31T00:00:00Z"),
            ("2026-05-31T10:00:00+02:00", "2026-05-31T08:00:00Z"),
            ("90m", "2026-06-01T10:30:00Z"),
            ("24h", "2026-05-31T12:00:00Z"),
            ("7d", "2026-05-25T12:00:00Z"),
        ] {
            let when: TimeArgument = text.parse().unwrap();
            assert_eq!(when.resolve(noon), expected.parse::<Timestamp>().unwrap(), "{text}");
        }
        for text in ["", "d", "x", "7", "7w", "-7d", "99999d", "2026-13-01", "yesterday", "ü"] {
            assert!(text.parse::<TimeArgument>().is_err(), "{text}");
        }
    }
}
