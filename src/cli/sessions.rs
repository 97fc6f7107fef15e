//! `sessions`: who is signed in where, and ending it.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::administration::{Common, HELP, Limit, Owned, READ_HELP};
use super::output::{Console, counted, minute};
use crate::domain::ids::SessionId;
use crate::flow::administration::sessions;
use crate::flow::administration::users;
use crate::storage::sessions::SessionFilter;

/// List sessions and end them
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Sessions {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    End(End),
    EndAll(EndAll),
}

/// List sessions, newest first
#[derive(Debug, Args)]
#[command(after_help = READ_HELP)]
struct List {
    #[command(flatten)]
    owned: Owned,
    /// Start after this session, the last one of the page before.
    #[arg(long, value_name = "SESSION")]
    after: Option<SessionId>,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    common: Common,
}

/// End one session, with its tokens
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct End {
    /// The session's id.
    #[arg(value_name = "SESSION")]
    session: SessionId,
    #[command(flatten)]
    common: Common,
}

/// End all sessions of one user, or of everyone
///
/// Everyone has to log in again. Whoever logs in while the command runs may stay signed in.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct EndAll {
    #[command(flatten)]
    whose: Whose,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Those of this user: id, provider/subject, or a username that only one user has.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Those of everyone.
    #[arg(long)]
    everyone: bool,
}

impl Sessions {
    pub(super) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.command {
            Command::List(command) => command.run(console),
            Command::End(End { session, common }) => {
                let ended =
                    common.run(async |administration| Ok(sessions::end(administration, session).await?))?;
                console.answer(common.json, &json!({ "session": session, "ended": ended }), || {
                    let was = if ended { "is ended" } else { "had ended already" };
                    format!("session {session} {was}")
                })
            }
            Command::EndAll(command) => command.run(console),
        }
    }
}

impl List {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let Self { owned, after, limit, common } = self;
        let found = owned.find(&common, async |administration, user| {
            let filter = SessionFilter { user, after, limit: limit.rows, ..SessionFilter::default() };
            sessions::list(administration, filter, owned.all).await
        })?;
        let titles = ["SESSION", "USER", "PROVIDER", "!CREATED (UTC)", "!LAST USED", "STATE"];
        console.list(common.json, &found, &titles, |session| {
            vec![
                session.id.to_string(),
                session.username.clone().unwrap_or_else(|| session.user.to_string()),
                session.provider.to_string(),
                minute(session.created_at),
                session.last_used_at.map(minute).unwrap_or_default(),
                session.state.replace('_', " "),
            ]
        })?;
        limit.remark_more(&found, |last| format!("--after {}", last.id), console)
    }
}

impl EndAll {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let ended = self.common.run(async |administration| {
            let Some(name) = &self.whose.user else {
                console.confirm(self.yes, "End every session: everyone has to log in again?")?;
                return Ok(sessions::end_everyone(administration).await?);
            };
            let user = users::find(administration, name).await?;
            console.confirm(self.yes, &format!("End all sessions of {name} ({})?", user.id))?;
            Ok(sessions::end_all_of(administration, user.id).await?)
        })?;
        console.answer(self.common.json, &json!({ "sessions_ended": ended }), || {
            format!("{} ended", counted(ended, "session"))
        })
    }
}
