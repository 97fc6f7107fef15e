//! The key store that several brokers share: Redis 6.2 or later, or Valkey.
//!
//! An entry is one hash with the fields `grant`, `receipt` and, once taken, `redemption`. The mark of a used name is one
//! string. Every operation is one command on one key, so that it is atomic and works in a cluster. The Redis user needs
//! only `+eval +hset +hmget +hdel +pexpire +set +exists +ping` on the key prefix.
//!
//! The server must never evict live keys (`maxmemory-policy noeviction`). If its data is lost, only logins in progress
//! are lost.

use std::time::Duration;

use redis::{Cmd, cmd};

use super::address::RedisAddress;
use super::link::Link;
use super::{KeyStoreError, KeyStoreHealth, KeyStoreSettingsError, NewEntry, Taken};

/// KEYS: name. ARGV: grant, receipt, time to live in milliseconds.
const PUT: &str = r"
redis.call('HSET', KEYS[1], 'grant', ARGV[1], 'receipt', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
";

/// KEYS: name. ARGV: redemption. Returns `{grant}` the first time, `{receipt, redemption}` later, and `{}` if there is
/// no entry.
///
/// The time to live does not change. HDEL comes before HSET because a server that is out of memory refuses a script
/// whose first write could need more memory, and redemption must also work on a full server.
const TAKE: &str = r"
local entry = redis.call('HMGET', KEYS[1], 'grant', 'receipt', 'redemption')
if entry[1] then
  redis.call('HDEL', KEYS[1], 'grant')
  redis.call('HSET', KEYS[1], 'redemption', ARGV[1])
  return {entry[1]}
end
if entry[2] then
  return {entry[2], entry[3]}
end
return {}
";

/// How long what a health check stores is kept.
const CHECK_TTL: Duration = Duration::from_secs(1);

/// Entries and marks of used names on Redis servers.
pub(super) struct RedisStore {
    link: Link,
    key_prefix: String,
}

impl RedisStore {
    /// A store that connects on first use.
    pub fn new(
        address: RedisAddress,
        key_prefix: String,
        timeout: Duration,
    ) -> Result<Self, KeyStoreSettingsError> {
        Ok(Self { link: Link::new(address, timeout)?, key_prefix })
    }

    pub async fn put(&self, name: &str, entry: &NewEntry, ttl: Duration) -> Result<(), KeyStoreError> {
        self.link.send(&self.put_command(name, entry, ttl)).await
    }

    pub async fn take(&self, name: &str, redemption: &[u8]) -> Result<Taken, KeyStoreError> {
        let mut parts: Vec<Vec<u8>> = self.link.send(&self.take_command(name, redemption)).await?;
        match (parts.pop(), parts.pop()) {
            (None, _) => Ok(Taken::Nothing),
            (Some(grant), None) => Ok(Taken::First { grant }),
            (Some(redemption), Some(receipt)) => Ok(Taken::Again { receipt, redemption }),
        }
    }

    pub async fn mark_used(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        let set: Option<String> = self.link.send(&self.mark_command(name, ttl)).await?;
        Ok(set.is_some())
    }

    pub async fn is_used(&self, name: &str) -> Result<bool, KeyStoreError> {
        self.link.send(&self.is_marked_command(name)).await
    }

    /// Does with a name that nothing else uses what logins and redemptions do.
    pub async fn check(&self, name: &str, within: Duration) -> KeyStoreHealth {
        let entry = NewEntry { grant: b"check".to_vec(), receipt: b"check".to_vec() };
        let link = self.link.with_timeout(within);
        let stored = link.send::<()>(&self.put_command(name, &entry, CHECK_TTL)).await;
        // A full server still gives out what it has. One that refuses to write for another reason does not.
        let takes = match &stored {
            Err(KeyStoreError::Unavailable(cause)) => {
                Err(KeyStoreError::Unavailable(cause.to_string().into()))
            }
            Ok(()) | Err(KeyStoreError::Full) => {
                link.send::<Vec<Vec<u8>>>(&self.take_command(name, b"check")).await.map(drop)
            }
        };
        let marks = async {
            stored?;
            link.send::<Option<String>>(&self.mark_command(name, CHECK_TTL)).await?;
            link.send::<bool>(&self.is_marked_command(name)).await
        };
        KeyStoreHealth { stores: marks.await.map(drop), takes }
    }

    pub async fn ping(&self) -> Result<(), KeyStoreError> {
        self.link.send(&cmd("PING")).await
    }

    pub fn describe(&self) -> &str {
        self.link.description()
    }

    fn put_command(&self, name: &str, entry: &NewEntry, ttl: Duration) -> Cmd {
        let mut put = self.script(PUT, name);
        put.arg(&entry.grant).arg(&entry.receipt).arg(millis(ttl));
        put
    }

    fn take_command(&self, name: &str, redemption: &[u8]) -> Cmd {
        let mut take = self.script(TAKE, name);
        take.arg(redemption);
        take
    }

    fn mark_command(&self, name: &str, ttl: Duration) -> Cmd {
        let mut set = cmd("SET");
        set.arg(self.mark_key(name)).arg(1).arg("NX").arg("PX").arg(millis(ttl));
        set
    }

    fn is_marked_command(&self, name: &str) -> Cmd {
        let mut exists = cmd("EXISTS");
        exists.arg(self.mark_key(name));
        exists
    }

    fn mark_key(&self, name: &str) -> String {
        format!("{}used:{name}", self.key_prefix)
    }

    fn script(&self, text: &str, name: &str) -> Cmd {
        let mut script = cmd("EVAL");
        script.arg(text).arg(1).arg(format!("{}key:{name}", self.key_prefix));
        script
    }
}

/// Whole milliseconds, at least one, because Redis refuses zero.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}
