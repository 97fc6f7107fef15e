//! `resource-servers`: the APIs that may ask the broker about tokens, and their secrets.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::Failure;
use super::administration::{Common, HELP, READ_HELP};
use super::output::{Console, minute};
use crate::domain::audience::Audience;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ResourceServerId;
use crate::domain::key_ring::KeyRing;
use crate::domain::resource_server::{ResourceServer, ResourceServerSecret};
use crate::flow::administration::resource_servers;

/// Register the APIs that ask about tokens, and replace their secrets
///
/// A secret is shown once, alone on standard output; only a keyed digest is stored. Two secrets work at a time:
/// rotate-secret, give the new one to the API, remove-old-secret.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct ResourceServers {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Add(Add),
    /// Make a new secret beside the one in use, and print it; both work
    #[command(after_help = HELP)]
    RotateSecret(One),
    RemoveOldSecret(Confirmed),
    /// Refuse a resource server's secrets
    #[command(after_help = HELP)]
    Disable(One),
    /// Accept a disabled resource server's secrets again
    #[command(after_help = HELP)]
    Enable(One),
    Remove(Removed),
}

/// List the resource servers with the ages of their secrets
#[derive(Debug, Args)]
#[command(after_help = READ_HELP)]
struct List {
    #[command(flatten)]
    common: Common,
}

/// Register a resource server, and print its secret
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct Add {
    #[command(flatten)]
    server: Name,
    /// The audience whose tokens it may ask about, as in https://api.example.com.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Audience,
    /// Tell it who the person is, beyond the local id.
    #[arg(long)]
    personal_data: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct One {
    #[command(flatten)]
    server: Name,
    #[command(flatten)]
    common: Common,
}

/// Remove the older of two secrets; only the newest works from then on
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct Confirmed {
    #[command(flatten)]
    server: Name,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// Remove a resource server with its secrets
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct Removed {
    #[command(flatten)]
    confirmed: Confirmed,
}

/// The argument that names a resource server.
#[derive(Debug, Args)]
struct Name {
    /// Its name: 1 to 32 characters of a-z, 0-9, '-' and '_'.
    #[arg(value_name = "ID")]
    id: ResourceServerId,
}

/// A resource server as it is shown.
#[derive(Debug, Serialize)]
struct View<'a> {
    id: &'a str,
    audience: &'a str,
    personal_data: bool,
    disabled_at: Option<Timestamp>,
    created_at: Timestamp,
    secrets: Vec<SecretView>,
}

/// What may be known of a secret.
#[derive(Debug, Serialize)]
struct SecretView {
    created_at: Timestamp,
    /// The server key that it needs.
    server_key: u32,
    /// Whether that key is there.
    works: bool,
}

impl<'a> View<'a> {
    fn of(server: &'a ResourceServer, keys: &KeyRing) -> Self {
        let secrets = server.secrets.iter().map(|secret| SecretView {
            created_at: secret.created_at,
            server_key: secret.digest.key_id.0,
            works: keys.get(secret.digest.key_id).is_some(),
        });
        Self {
            id: server.id.as_str(),
            audience: server.audience.as_str(),
            personal_data: server.personal_data,
            disabled_at: server.disabled_at,
            created_at: server.created_at,
            secrets: secrets.collect(),
        }
    }

    /// A row for each secret.
    fn rows(&self) -> Vec<Vec<String>> {
        let described = [
            self.id.to_owned(),
            self.audience.to_owned(),
            if self.personal_data { "yes" } else { "no" }.to_owned(),
            if self.disabled_at.is_some() { "disabled" } else { "" }.to_owned(),
        ];
        let secrets = self.secrets.iter().enumerate().map(|(index, secret)| {
            let mut row = if index == 0 { described.to_vec() } else { vec![String::new(); described.len()] };
            let gone = if secret.works { "" } else { " (gone)" };
            row.extend([minute(secret.created_at), format!("{}{gone}", secret.server_key)]);
            row
        });
        secrets.collect()
    }
}

impl ResourceServers {
    pub(super) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.command {
            Command::List(command) => command.run(console),
            Command::Add(Add { server: Name { id }, audience, personal_data, common }) => {
                let name = id.clone();
                let secret = common.run(async |administration| {
                    Ok(resource_servers::add(administration, name, audience, personal_data).await?)
                })?;
                show_once(&common, &id, &secret, console)
            }
            Command::RotateSecret(One { server: Name { id }, common }) => {
                let secret = common.run(async |administration| {
                    Ok(resource_servers::add_secret(administration, &id).await?)
                })?;
                show_once(&common, &id, &secret, console)?;
                console.remark(&format!(
                    "The old one works, too, until: resource-servers remove-old-secret {id}"
                ))
            }
            Command::RemoveOldSecret(command) => command.remove_old_secret(console),
            Command::Disable(One { server: Name { id }, common }) => {
                let changed = common
                    .run(async |administration| Ok(resource_servers::disable(administration, &id).await?))?;
                changed_to(&common, &id, changed, "disabled", console)
            }
            Command::Enable(One { server: Name { id }, common }) => {
                let changed = common
                    .run(async |administration| Ok(resource_servers::enable(administration, &id).await?))?;
                changed_to(&common, &id, changed, "enabled", console)
            }
            Command::Remove(Removed { confirmed }) => confirmed.remove(console),
        }
    }
}

impl List {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let (servers, keys) = self.common.run(async |administration| {
            Ok((resource_servers::list(administration).await?, administration.keys.clone()))
        })?;
        let views: Vec<View<'_>> = servers.iter().map(|server| View::of(server, &keys)).collect();
        if self.common.json {
            return console.json(&views);
        }
        let titles = ["ID", "AUDIENCE", "PERSONAL DATA", "STATE", "!SECRET OF (UTC)", "!SERVER KEY"];
        console.table(&titles, views.iter().flat_map(View::rows).collect())
    }
}

impl Confirmed {
    fn remove_old_secret(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let id = &self.server.id;
        let removed = self.common.run(async |administration| {
            resource_servers::find(administration, id).await?;
            console
                .confirm(self.yes, &format!("Remove the old secret of {id}: whoever uses it is refused?"))?;
            Ok(resource_servers::remove_old_secret(administration, id).await?)
        })?;
        console.answer(self.common.json, &json!({ "resource_server": id, "removed": removed }), || {
            let was = if removed { "the old one is removed" } else { "there was no old one" };
            format!("{id} has one secret; {was}")
        })
    }

    fn remove(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let id = &self.server.id;
        self.common.run(async |administration| {
            resource_servers::find(administration, id).await?;
            console.confirm(self.yes, &format!("Remove the resource server {id} with its secrets?"))?;
            Ok(resource_servers::remove(administration, id).await?)
        })?;
        console.answer(self.common.json, &json!({ "resource_server": id, "removed": true }), || {
            format!("{id} is removed")
        })
    }
}

/// The only time that a secret can be seen: alone on standard output.
fn show_once(
    common: &Common,
    id: &ResourceServerId,
    secret: &ResourceServerSecret,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let secret = secret.expose();
    if common.json {
        return console.json(&json!({ "resource_server": id, "secret": secret.as_str() }));
    }
    console.remark(&format!("The new secret of {id}, which cannot be shown again:"))?;
    console.say(&secret)
}

fn changed_to(
    common: &Common,
    id: &ResourceServerId,
    changed: bool,
    state: &str,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    console.answer(common.json, &json!({ "resource_server": id, "changed": changed }), || {
        let already = if changed { "is" } else { "was already" };
        format!("{id} {already} {state}")
    })
}
