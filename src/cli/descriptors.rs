//! The limit on open files, which every connection counts towards.

use crate::config::Config;

/// Open files that are no connection of a client: listeners, the databases' files, the workers' own.
const OTHERS: usize = 100;

/// Raises this process's limit as far as the system lets it, and warns if that is not enough for the connections that
/// the configuration allows.
#[cfg(unix)]
pub(super) fn raise(config: &Config) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let needed = needed(config);
    if limit < u64::try_from(needed).unwrap_or(u64::MAX) {
        tracing::warn!(
            limit,
            needed,
            "the limit on open files is lower than server.max_connections needs: raise it (LimitNOFILE= of systemd, \
             ulimit -Hn), or lower server.max_connections"
        );
    } else {
        tracing::debug!(limit, "the limit on open files");
    }
}

/// No such limit.
#[cfg(not(unix))]
pub(super) fn raise(_: &Config) {}

fn needed(config: &Config) -> usize {
    config.server.max_connections + config.database.pool_size as usize + OTHERS
}
