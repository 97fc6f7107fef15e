//! `resource-servers`: registers the APIs that verify tokens at the broker, and rotates their secrets.

use std::path::{Path, PathBuf};

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
use crate::domain::public_key::PublicKey;
use crate::domain::resource_server::ResourceServerSecret;
use crate::flow::administration::resource_servers::{self, Granted, ListedResourceServer};

/// Register the APIs that verify tokens at the broker, and rotate their secrets
///
/// A secret is shown once, alone on standard output; only a keyed digest is stored. Two secrets can be valid at a time.
/// To rotate: run rotate-secret, configure the new secret in the API, then run remove-old-secret. Or register public keys.
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
    /// Create a second secret and print it; the old one stays valid
    #[command(after_help = HELP)]
    RotateSecret(OneServer),
    RemoveOldSecret(Confirmed),
    AddKey(AddKey),
    RemoveOldKey(OldKey),
    /// Disable a resource server: its secrets are refused
    #[command(after_help = HELP)]
    Disable(OneServer),
    /// Enable a disabled resource server: its secrets are accepted again
    #[command(after_help = HELP)]
    Enable(OneServer),
    Remove(Removed),
}

/// List the resource servers and when their secrets were created
#[derive(Debug, Args)]
#[command(after_help = READ_HELP)]
struct List {
    #[command(flatten)]
    common: Common,
}

/// Register a resource server and print its secret, or register it with a public key
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct Add {
    #[command(flatten)]
    server: Name,
    /// The audience whose tokens it may verify, such as https://api.example.com.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Audience,
    #[command(flatten)]
    granted: Grants,
    /// A file with its public key, a JWK or PEM: it then authenticates with private_key_jwt and has no secret.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Register a second public key; the old one stays valid
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct AddKey {
    #[command(flatten)]
    server: Name,
    /// A file with the public key, a JWK or PEM.
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// Remove the older of two public keys; only the newest stays valid
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct OldKey {
    #[command(flatten)]
    confirmed: Confirmed,
}

/// What a resource server is told about a person, beyond the local id, in the answers about their tokens.
#[derive(Debug, Args)]
struct Grants {
    /// Let it see who the user is: username, name and email address.
    #[arg(long)]
    personal_data: bool,
    /// Let it see the permissions and groups that the provider gave the user.
    #[arg(long)]
    permissions: bool,
}

impl From<Grants> for Granted {
    fn from(Grants { personal_data, permissions }: Grants) -> Self {
        Self { personal_data, permissions }
    }
}

/// The arguments of a command on one resource server.
#[derive(Debug, Args)]
struct OneServer {
    #[command(flatten)]
    server: Name,
    #[command(flatten)]
    common: Common,
}

/// Remove the older of two secrets; only the newest stays valid
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

/// Remove a resource server and its secrets
#[derive(Debug, Args)]
#[command(after_help = HELP)]
struct Removed {
    #[command(flatten)]
    confirmed: Confirmed,
}

/// The argument that names a resource server.
#[derive(Debug, Args)]
struct Name {
    /// The name of the resource server: 1 to 32 characters of a-z, 0-9, '-' and '_'.
    #[arg(value_name = "ID")]
    id: ResourceServerId,
}

/// A resource server as it is printed.
#[derive(Debug, Serialize)]
struct View<'a> {
    id: &'a str,
    audience: &'a str,
    personal_data: bool,
    permissions: bool,
    disabled_at: Option<Timestamp>,
    created_at: Timestamp,
    secrets: Vec<SecretView>,
    keys: Vec<KeyView>,
}

/// A public key as it is printed.
#[derive(Debug, Serialize)]
struct KeyView {
    created_at: Timestamp,
    /// The key: a JWK, or PEM.
    public_key: String,
}

#[derive(Debug, Serialize)]
struct SecretView {
    created_at: Timestamp,
    /// The server key that the stored digest is made with.
    server_key: u32,
    /// Whether that server key is still in the ring. Without it the secret is refused.
    works: bool,
}

impl<'a> View<'a> {
    fn new(
        ListedResourceServer { server, keys: public_keys }: &'a ListedResourceServer,
        keys: &KeyRing,
    ) -> Self {
        let secrets = server.secrets.iter().map(|secret| SecretView {
            created_at: secret.created_at,
            server_key: secret.digest.key_id.0,
            works: keys.get(secret.digest.key_id).is_some(),
        });
        Self {
            id: server.id.as_str(),
            audience: server.audience.as_str(),
            personal_data: server.personal_data,
            permissions: server.permissions,
            disabled_at: server.disabled_at,
            created_at: server.created_at,
            secrets: secrets.collect(),
            keys: public_keys
                .iter()
                .map(|stored| KeyView {
                    created_at: stored.created_at,
                    public_key: stored.key.as_str().to_owned(),
                })
                .collect(),
        }
    }

    /// What it is told about a person.
    fn told(&self) -> String {
        let granted = [(self.personal_data, "personal data"), (self.permissions, "permissions")];
        let told: Vec<&str> =
            granted.into_iter().filter_map(|(granted, what)| granted.then_some(what)).collect();
        if told.is_empty() { "id only".to_owned() } else { told.join(", ") }
    }

    /// One table row per secret or public key; the server's own columns are filled in the first row only.
    fn rows(&self) -> Vec<Vec<String>> {
        let described = [
            self.id.to_owned(),
            self.audience.to_owned(),
            self.told(),
            if self.disabled_at.is_some() { "disabled" } else { "" }.to_owned(),
        ];
        let secrets = self.secrets.iter().map(|secret| {
            let missing = if secret.works { "" } else { " (removed)" };
            [minute(secret.created_at), format!("{}{missing}", secret.server_key)]
        });
        let keys = self.keys.iter().map(|key| [minute(key.created_at), "public key".to_owned()]);
        let credentials = secrets.chain(keys).enumerate().map(|(index, credential)| {
            let mut row = if index == 0 { described.to_vec() } else { vec![String::new(); described.len()] };
            row.extend(credential);
            row
        });
        credentials.collect()
    }
}

impl ResourceServers {
    pub(super) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.command {
            Command::List(command) => command.run(console),
            Command::Add(Add { server: Name { id }, audience, granted, public_key: Some(file), common }) => {
                let key = read_key(&file)?;
                let name = id.clone();
                common.run(async |administration| {
                    let granted = granted.into();
                    Ok(resource_servers::add_with_key(administration, name, audience, granted, key).await?)
                })?;
                console.result(common.json, &json!({ "resource_server": id, "added": true }), || {
                    format!("{id} added with its public key; it has no secret")
                })
            }
            Command::AddKey(command) => command.run(console),
            Command::RemoveOldKey(OldKey { confirmed }) => confirmed.remove_old_key(console),
            Command::Add(Add { server: Name { id }, audience, granted, public_key: None, common }) => {
                let name = id.clone();
                let secret = common.run(async |administration| {
                    Ok(resource_servers::add(administration, name, audience, granted.into()).await?)
                })?;
                show_once(&common, &id, &secret, console)
            }
            Command::RotateSecret(OneServer { server: Name { id }, common }) => {
                let secret = common.run(async |administration| {
                    Ok(resource_servers::add_secret(administration, &id).await?)
                })?;
                show_once(&common, &id, &secret, console)?;
                console.notice(&format!(
                    "The old secret stays valid until you run: resource-servers remove-old-secret {id}"
                ))
            }
            Command::RemoveOldSecret(command) => command.remove_old_secret(console),
            Command::Disable(OneServer { server: Name { id }, common }) => {
                let changed = common
                    .run(async |administration| Ok(resource_servers::disable(administration, &id).await?))?;
                report_state(&common, &id, changed, "disabled", console)
            }
            Command::Enable(OneServer { server: Name { id }, common }) => {
                let changed = common
                    .run(async |administration| Ok(resource_servers::enable(administration, &id).await?))?;
                report_state(&common, &id, changed, "enabled", console)
            }
            Command::Remove(Removed { confirmed }) => confirmed.remove(console),
        }
    }
}

impl List {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let (servers, keys) = self.common.run(async |administration| {
            Ok((resource_servers::list_with_keys(administration).await?, administration.keys.clone()))
        })?;
        let views: Vec<View<'_>> = servers.iter().map(|server| View::new(server, &keys)).collect();
        if self.common.json {
            return console.json(&views);
        }
        let titles = ["ID", "AUDIENCE", "TOLD", "STATE", "!CREDENTIAL CREATED (UTC)", "!SERVER KEY"];
        console.table(&titles, views.iter().flat_map(View::rows).collect())
    }
}

impl AddKey {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let (id, key) = (&self.server.id, read_key(&self.public_key)?);
        let added = self.common.run(async |administration| {
            Ok(resource_servers::add_key(administration, id, key.clone()).await?)
        })?;
        console.result(self.common.json, &json!({ "resource_server": id, "added": added }), || {
            let was = if added { "public key added" } else { "this public key was there already" };
            format!(
                "{id}: {was}; the old one stays valid until you run: resource-servers remove-old-key {id}"
            )
        })
    }
}

/// Reads a public key from a file.
fn read_key(file: &Path) -> Result<PublicKey, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|cause| Failure::Configuration(format!("the public key {shown} cannot be read: {cause}")))?;
    text.parse().map_err(|why| Failure::Configuration(format!("the public key {shown} {why}")))
}

impl Confirmed {
    fn remove_old_key(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let id = &self.server.id;
        let removed = self.common.run(async |administration| {
            resource_servers::find(administration, id).await?;
            console.confirm(
                self.yes,
                &format!("Remove the old public key of {id}? Assertions that it signs will be refused."),
            )?;
            Ok(resource_servers::remove_old_key(administration, id).await?)
        })?;
        console.result(self.common.json, &json!({ "resource_server": id, "removed": removed }), || {
            let was = if removed { "old public key removed" } else { "there was no old public key" };
            format!("{id}: {was}")
        })
    }

    fn remove_old_secret(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let id = &self.server.id;
        let removed = self.common.run(async |administration| {
            resource_servers::find(administration, id).await?;
            console.confirm(
                self.yes,
                &format!("Remove the old secret of {id}? Requests that use it will be refused."),
            )?;
            Ok(resource_servers::remove_old_secret(administration, id).await?)
        })?;
        console.result(self.common.json, &json!({ "resource_server": id, "removed": removed }), || {
            let was = if removed { "old secret removed" } else { "there was no old secret" };
            format!("{id}: {was}; one secret is valid")
        })
    }

    fn remove(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let id = &self.server.id;
        self.common.run(async |administration| {
            resource_servers::find(administration, id).await?;
            console.confirm(self.yes, &format!("Remove the resource server {id} and its secrets?"))?;
            Ok(resource_servers::remove(administration, id).await?)
        })?;
        console.result(self.common.json, &json!({ "resource_server": id, "removed": true }), || {
            format!("{id} removed")
        })
    }
}

/// Prints a new secret, alone on standard output. It cannot be shown again.
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
    console.notice(&format!("New secret of {id}. It cannot be shown again:"))?;
    console.print(&secret)
}

/// Reports the new state of a resource server.
fn report_state(
    common: &Common,
    id: &ResourceServerId,
    changed: bool,
    state: &str,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    console.result(common.json, &json!({ "resource_server": id, "changed": changed }), || {
        let already = if changed { "is" } else { "was already" };
        format!("{id} {already} {state}")
    })
}
