//! `tokens`: lists and revokes API tokens. The tokens themselves are not stored and cannot be shown.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::Failure;
use super::administration::{Common, HELP, Limit, Owned, READ_HELP};
use super::output::{Console, minute, second};
use crate::domain::ids::{SessionId, TokenId};
use crate::domain::token_kind::TokenKind;
use crate::flow::administration::tokens::{self, ListedToken};
use crate::storage::tokens::TokenFilter;

/// How many bytes of the input are read. No token is longer.
const INPUT_LIMIT: u64 = 1024;

/// List and revoke API tokens
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Tokens {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Revoke(Revoke),
    RevokeId(RevokeId),
}

/// List API tokens, newest first; the tokens themselves are not stored and cannot be shown
#[derive(Debug, Args)]
#[command(after_help = READ_HELP)]
struct List {
    #[command(flatten)]
    owned: Owned,
    /// Only the tokens of this session.
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionId>,
    /// Only tokens of this kind: session or personal.
    #[arg(long, value_name = "KIND")]
    kind: Option<TokenKind>,
    /// Start after this token, the last one of the previous page.
    #[arg(long, value_name = "TOKEN")]
    after: Option<TokenId>,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    common: Common,
}

/// Revoke a leaked token and show whose it was
///
/// Also ends its session, because an attacker may have exchanged the token for a new one. The token is read from
/// standard input or from a file, as in `token-broker tokens revoke --file leaked.txt`, and never from an argument, which
/// other users of this machine could read.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct Revoke {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    common: Common,
}

/// The options that say where the token is read from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Read the token from standard input.
    #[arg(long)]
    stdin: bool,
    /// Read the token from this file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Revoke one token by its id, as shown by `tokens list`, without ending its session
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct RevokeId {
    /// The id of the token.
    #[arg(value_name = "ID")]
    id: TokenId,
    #[command(flatten)]
    common: Common,
}

impl Tokens {
    pub(super) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.command {
            Command::List(command) => command.run(console),
            Command::Revoke(Revoke { source, common }) => {
                let text = source.read()?;
                let was = common.run(async |administration| {
                    Ok(tokens::revoke_leaked(administration, text.trim()).await?)
                })?;
                report(&common, &was, "also ended", console)
            }
            Command::RevokeId(RevokeId { id, common }) => {
                let was = common.run(async |administration| Ok(tokens::revoke(administration, id).await?))?;
                report(&common, &was, "still active", console)
            }
        }
    }
}

impl Source {
    fn read(&self) -> Result<Zeroizing<String>, Failure> {
        let mut text = Zeroizing::new(String::new());
        match &self.file {
            Some(path) => {
                let failed = |error| Failure::Runtime(format!("{}: {error}", path.display()));
                File::open(path)
                    .map_err(failed)?
                    .take(INPUT_LIMIT)
                    .read_to_string(&mut text)
                    .map_err(failed)?;
            }
            None => {
                io::stdin().take(INPUT_LIMIT).read_to_string(&mut text)?;
            }
        }
        Ok(text)
    }
}

impl List {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let Self { owned, session, kind, after, limit, common } = self;
        let found = owned.find(&common, async |administration, user| {
            let filter =
                TokenFilter { user, session, kind, after, limit: limit.rows, ..TokenFilter::default() };
            tokens::list(administration, filter, owned.all).await
        })?;
        let titles = ["TOKEN", "KIND", "USER", "CLIENT", "!ISSUED (UTC)", "!LOG ID", "STATE"];
        console.list(common.json, &found, &titles, |token| {
            vec![
                token.id.to_string(),
                token.kind.to_string(),
                token.username.clone().unwrap_or_else(|| token.user.to_string()),
                token.client.to_string(),
                minute(token.issued_at),
                token.log_id.clone(),
                state_name(token.state),
            ]
        })?;
        limit.notice_more(&found, |last| format!("--after {}", last.id), console)
    }
}

/// A state as people read it.
fn state_name(state: &str) -> String {
    match state {
        "overlap" => "in overlap".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Reports whose token was revoked, its previous state, and what happened to its session.
fn report(
    common: &Common,
    token: &ListedToken,
    session: &str,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    if common.json {
        return console.json(token);
    }
    console.facts(&[
        ("revoked", Some(format!("a {} token that was {}", token.kind, state_name(token.state)))),
        ("name", token.name.clone()),
        ("username", token.username.clone()),
        ("user", Some(token.user.to_string())),
        ("client", Some(token.client.to_string())),
        ("session", token.session.map(|id| format!("{id} ({session})"))),
        ("issued", Some(second(token.issued_at))),
        ("log id", Some(token.log_id.clone())),
    ])
}
