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
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    let owner = FileOwner { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() };
    Ok(owner.lets_others_read(nix::unistd::geteuid().as_raw(), &own_groups()?))
}

/// Who may read a file.
#[cfg(unix)]
#[derive(Clone, Copy)]
struct FileOwner {
    user: u32,
    group: u32,
    mode: u32,
}

#[cfg(unix)]
impl FileOwner {
    /// Whether others than root and this process's user can read the file. A file of another user may be readable by a
    /// group of this process, which is how Kubernetes (`fsGroup`) passes secrets, or by root's group, which is what the
    /// access list of a systemd credential looks like.
    fn lets_others_read(self, user: u32, groups: &[u32]) -> bool {
        let Self { user: owner, group, mode } = self;
        let is_passed = owner != user && (groups.contains(&group) || (owner == 0 && group == 0));
        mode & if is_passed { 0o037 } else { 0o077 } != 0
    }
}

#[cfg(unix)]
fn own_groups() -> io::Result<Vec<u32>> {
    #[cfg(not(target_vendor = "apple"))]
    let mut groups = nix::unistd::getgroups()?;
    #[cfg(target_vendor = "apple")]
    let mut groups = Vec::new();
    groups.push(nix::unistd::getegid());
    Ok(groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
}

#[cfg(not(unix))]
fn readable_by_others(_: &File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_its_user_or_passed_through_an_own_group() {
        for (owner, group, mode, exposed) in [
            (1000, 1000, 0o400, false),
            (1000, 1000, 0o600, false),
            (1000, 1000, 0o640, true),
            (1000, 1000, 0o604, true),
            // Kubernetes: root:fsGroup.
            (0, 2000, 0o440, false),
            (0, 2000, 0o640, false),
            (0, 2000, 0o660, true),
            (0, 2000, 0o444, true),
            (0, 3000, 0o440, true),
            // systemd.
            (0, 0, 0o440, false),
            (0, 0, 0o444, true),
            (7, 0, 0o440, true),
        ] {
            let file = FileOwner { user: owner, group, mode };
            assert_eq!(file.lets_others_read(1000, &[1000, 2000]), exposed, "{owner}:{group} {mode:o}");
        }
        // Root's own file is not passed to root.
        assert!(FileOwner { user: 0, group: 0, mode: 0o440 }.lets_others_read(0, &[0]));
    }
}
