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
    let exposed = readable_by_others(&file)?;
    let mut text = Zeroizing::new(String::new());
    if file.take(LONGEST + 1).read_to_string(&mut text)? as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 64 KiB"));
    }
    Ok((text.trim_end_matches(['\r', '\n']).into(), exposed))
}

#[cfg(unix)]
fn readable_by_others(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_: &File) -> io::Result<bool> {
    Ok(false)
}
