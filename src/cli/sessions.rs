//! `sessions`: lists and ends sessions.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::administration::{Common, HELP, Limit, Owned, READ_HELP};
use super::output::{Console, counted, minute};
use crate::domain::ids::SessionId;
use crate::flow::administration::sessions::{self, EndedAll};
use crate::flow::administration::users;
use crate::storage::sessions::SessionFilter;

/// List and end sessions
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
    /// Start after this session, the last one of the previous page.
    #[arg(long, value_name = "SESSION")]
    after: Option<SessionId>,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    common: Common,
}

/// End one session and its tokens
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct End {
    /// The id of the session.
    #[arg(value_name = "SESSION")]
    session: SessionId,
    #[command(flatten)]
    common: Common,
}

/// End all sessions of one user or of everyone
///
/// The users have to log in again. Users who log in while the command runs may stay signed in. Personal tokens are in no
/// session and stay valid, unless `--personal-tokens` is given; the result says how many there are.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct EndAll {
    #[command(flatten)]
    selection: Selection,
    /// Also revoke the personal tokens.
    #[arg(long)]
    personal_tokens: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// The options that say whose sessions are ended.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Selection {
    /// End the sessions of this user: id, provider/subject, or a username that only one user has.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// End the sessions of all users.
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
                let done = json!({ "session": session, "ended": ended > 0, "others_ended": ended.saturating_sub(1) });
                console.result(common.json, &done, || match ended {
                    0 => format!("session {session} had already ended"),
                    1 => format!("session {session} ended"),
                    more => {
                        let others = counted(more - 1, "other session");
                        format!("session {session} ended, and {others} of the same browser")
                    }
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
        limit.notice_more(&found, |last| format!("--after {}", last.id), console)
    }
}

impl EndAll {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let with = self.personal_tokens;
        let tokens = if with { " and revoke all personal tokens" } else { "" };
        let done = self.common.run(async |administration| {
            let Some(name) = &self.selection.user else {
                let question =
                    format!("End all sessions of all users{tokens}? Everyone will have to log in again.");
                console.confirm(self.yes, &question)?;
                return Ok(sessions::end_everyone(administration, with).await?);
            };
            let user = users::find(administration, name).await?;
            console.confirm(self.yes, &format!("End all sessions of {name} ({}){tokens}?", user.id))?;
            Ok(sessions::end_all_of(administration, user.id, with).await?)
        })?;
        console.result(self.common.json, &done, || sentence(&done, with))
    }
}

/// What was ended and, unless they were revoked, how many personal tokens are left.
fn sentence(done: &EndedAll, with_personal_tokens: bool) -> String {
    let mut text = format!("{} ended", counted(done.sessions_ended, "session"));
    if with_personal_tokens {
        text.push_str(&format!(", {} revoked", counted(done.personal_tokens_revoked, "personal token")));
    } else if done.personal_tokens_left > 0 {
        let left = counted(done.personal_tokens_left, "personal token");
        text.push_str(&format!("; {left} left, which --personal-tokens revokes"));
    }
    text
}
