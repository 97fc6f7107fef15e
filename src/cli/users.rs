//! `users`: lists, shows, disables, enables and deletes users.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::administration::{Common, HELP, Limit, READ_HELP};
use super::output::{Console, counted, minute, second};
use crate::domain::ids::{ProviderId, UserId};
use crate::flow::administration::users::{self, UserDetails};
use crate::storage::users::{UserFilter, UserRecord};

/// List, show, disable, enable and delete users
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Users {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    /// Show one user with their identities and the number of live sessions, tokens and personal tokens
    #[command(after_help = READ_HELP)]
    Show(OneUser),
    /// Disable a user: refuse their logins, and their tokens from the next request
    ///
    /// Also ends all their sessions and revokes their personal tokens, so that enabling the user later restores none of
    /// them.
    #[command(after_help = HELP)]
    Disable(OneUser),
    /// Enable a disabled user, who can then log in
    ///
    /// The sessions that were ended when the user was disabled stay ended, and their personal tokens stay revoked.
    #[command(after_help = HELP)]
    Enable(OneUser),
    Delete(Delete),
}

/// List users, newest first
///
/// Needs only the secret of the database.
#[derive(Debug, Args)]
#[command(after_help = READ_HELP)]
struct List {
    /// Only those with this text in the username, display name, email or subject (case-insensitive).
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those with an identity at this provider.
    #[arg(long, value_name = "ID")]
    provider: Option<ProviderId>,
    /// Only disabled users.
    #[arg(long)]
    disabled: bool,
    /// Start after this user, the last one of the previous page.
    #[arg(long, value_name = "ID")]
    after: Option<UserId>,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    common: Common,
}

/// The arguments of a command on one user.
#[derive(Debug, Args)]
struct OneUser {
    #[command(flatten)]
    user: UserName,
    #[command(flatten)]
    common: Common,
}

/// Delete a user
///
/// Deletes the profile, identities, sessions and tokens at once. The audit trail keeps the local id, but no IP address
/// of that user. If the person logs in again, they become a new user: to lock them out, disable the user instead.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct Delete {
    #[command(flatten)]
    user: UserName,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// The argument that names a user.
#[derive(Debug, Args)]
struct UserName {
    /// The local id, provider/subject, or the username if only one user has it.
    #[arg(value_name = "USER")]
    name: String,
}

impl Users {
    pub(super) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.command {
            Command::List(command) => command.run(console),
            Command::Show(OneUser { user, common }) => {
                let found =
                    common.run(async |administration| Ok(users::show(administration, &user.name).await?))?;
                if common.json { console.json(&found) } else { show(&found, console) }
            }
            Command::Disable(OneUser { user, common }) => {
                let (user, done) = common.run(async |administration| {
                    let user = users::find(administration, &user.name).await?;
                    let done = users::disable(administration, &user).await?;
                    Ok((user, done))
                })?;
                let answer = json!({
                    "user": user.id,
                    "changed": done.changed,
                    "sessions_ended": done.sessions_ended,
                    "personal_tokens_revoked": done.personal_tokens_revoked,
                });
                console.result(common.json, &answer, || {
                    let was = if done.changed { "is now disabled" } else { "was already disabled" };
                    let sessions = counted(done.sessions_ended, "session");
                    let tokens = counted(done.personal_tokens_revoked, "personal token");
                    format!("{} {was}; {sessions} ended, {tokens} revoked", label(&user))
                })
            }
            Command::Enable(OneUser { user, common }) => {
                let (user, changed) = common.run(async |administration| {
                    let user = users::find(administration, &user.name).await?;
                    let changed = users::enable(administration, &user).await?;
                    Ok((user, changed))
                })?;
                console.result(common.json, &json!({ "user": user.id, "changed": changed }), || {
                    let was = if changed { "can log in again" } else { "was not disabled" };
                    format!("{} {was}", label(&user))
                })
            }
            Command::Delete(command) => command.run(console),
        }
    }
}

impl List {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let filter = UserFilter {
            search: self.search,
            provider: self.provider,
            disabled: self.disabled,
            after: self.after,
            limit: self.limit.rows,
        };
        let found = self.common.read(async |storage| Ok(users::list(storage, filter).await?))?;
        let titles = ["USER", "USERNAME", "IDENTITIES", "!LOGIN (UTC)", "!STATE"];
        console.list(self.common.json, &found, &titles, |user| {
            vec![
                user.id.to_string(),
                user.username.clone().unwrap_or_default(),
                identities(user),
                minute(user.profile_as_of),
                if user.disabled_at.is_some() { "disabled" } else { "" }.to_owned(),
            ]
        })?;
        self.limit.notice_more(&found, |last| format!("--after {}", last.id), console)
    }
}

impl Delete {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let (user, done) = self.common.run(async |administration| {
            let user = users::find(administration, &self.user.name).await?;
            let question =
                format!("Permanently delete {} with all identities, sessions and tokens?", label(&user));
            console.confirm(self.yes, &question)?;
            let done = users::delete(administration, &user).await?;
            Ok((user, done))
        })?;
        let answer = json!({
            "user": user.id,
            "sessions": done.sessions,
            "audit_events_anonymised": done.audit_events,
        });
        console.result(self.common.json, &answer, || {
            let (sessions, events) =
                (counted(done.sessions, "session"), counted(done.audit_events, "audit event"));
            let user = label(&user);
            format!("{user} deleted, with {sessions}; the address was removed from {events}")
        })
    }
}

/// The username, if there is one, with the id.
fn label(user: &UserRecord) -> String {
    match &user.username {
        Some(name) => format!("{name} ({})", user.id),
        None => user.id.to_string(),
    }
}

fn identities(user: &UserRecord) -> String {
    let names = user.identities.iter().map(|identity| format!("{}/{}", identity.provider, identity.subject));
    names.collect::<Vec<_>>().join(", ")
}

fn show(
    UserDetails { user, live_sessions, live_tokens, live_personal_tokens }: &UserDetails,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let verified = if user.email_verified { "verified by the provider" } else { "not verified" };
    console.facts(&[
        ("user", Some(user.id.to_string())),
        ("username", user.username.clone()),
        ("display name", user.display_name.clone()),
        ("email", user.email.as_ref().map(|email| format!("{email} ({verified})"))),
        ("identities", Some(identities(user))),
        ("first login", Some(second(user.created_at))),
        ("latest login", Some(second(user.profile_as_of))),
        ("disabled", user.disabled_at.map(second)),
        ("live sessions", Some(live_sessions.to_string())),
        ("live tokens", Some(live_tokens.to_string())),
        ("personal tokens", Some(live_personal_tokens.to_string())),
    ])
}
