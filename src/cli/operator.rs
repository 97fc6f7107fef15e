//! The name of the user who runs the command, for the audit trail.

use crate::domain::audit::Actor;

/// The operating system's name of the user who runs this command. Under `sudo` it includes the name of the user who
/// called `sudo`.
pub(super) fn name() -> Option<Actor> {
    let name = account()?;
    match std::env::var("SUDO_USER") {
        Ok(person) if person != name => Actor::new(&format!("{name} (sudo {person})")),
        _ => Actor::new(&name),
    }
}

/// The account name of the process, or its numeric user id: a container can run as a user without an account.
#[cfg(unix)]
fn account() -> Option<String> {
    use nix::unistd::{User, getuid};

    let uid = getuid();
    let account = User::from_uid(uid).ok().flatten();
    Some(account.map_or_else(|| format!("uid {uid}"), |account| account.name))
}

#[cfg(not(unix))]
fn account() -> Option<String> {
    std::env::var("USERNAME").ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_operator_has_a_name() {
        let name = name().unwrap();
        assert!(!name.as_str().is_empty());
        assert!(name.as_str().starts_with(&account().unwrap()), "{name:?}");
    }
}
