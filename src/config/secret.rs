//! Secrets of the configuration: read from the environment or from files, never printed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// No secret is longer; a wrong path must not fill the memory.
const LONGEST: u64 = 64 * 1024;

/// Is shown in place of a secret.
pub(super) const MASK: &str = "(secret)";

/// A secret of the configuration. Serialised, it is a placeholder.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(pub(super) SecretString);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// The text of a file without the line end that editors add, and whether other users can read it.
pub(super) fn read(path: &Path) -> io::Result<(SecretString, bool)> {
    let file = File::open(path)?;
    let exposed = is_exposed(path, &file)?;
    let mut text = Zeroizing::new(String::new());
    if file.take(LONGEST + 1).read_to_string(&mut text)? as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 64 KiB"));
    }
    Ok((text.trim_end_matches(['\r', '\n']).into(), exposed))
}

/// Whether users other than the owner and root can read the file, or change it. A group may read it if this process is in
/// it, as with `fsGroup` in Kubernetes. A credential of systemd is in a folder that only the service can enter; the group's
/// rights there are the mask of an access control list.
#[cfg(unix)]
fn is_exposed(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let file = file.metadata()?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let of_group = credentials.is_some_and(|folder| path.starts_with(folder)) || is_own_group(file.gid());
    let private = if of_group { 0o037 } else { 0o077 };
    Ok(file.mode() & private != 0)
}

#[cfg(unix)]
fn is_own_group(group: u32) -> bool {
    nix::unistd::getegid().as_raw() == group
        || nix::unistd::getgroups().is_ok_and(|groups| groups.iter().any(|own| own.as_raw() == group))
}

#[cfg(not(unix))]
fn is_exposed(_: &Path, _: &File) -> io::Result<bool> {
    Ok(false)
}
