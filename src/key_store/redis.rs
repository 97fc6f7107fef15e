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
use super::{KeyStoreError, KeyStoreSettingsError, NewEntry, Seen, Taken};

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
        let mut put = self.script(PUT, name);
        put.arg(&entry.grant).arg(&entry.receipt).arg(millis(ttl));
        self.link.send(&put).await
    }

    pub async fn take(&self, name: &str, redemption: &[u8]) -> Result<Taken, KeyStoreError> {
        let mut take = self.script(TAKE, name);
        take.arg(redemption);
        let mut parts: Vec<Vec<u8>> = self.link.send(&take).await?;
        match (parts.pop(), parts.pop()) {
            (None, _) => Ok(Taken::Nothing),
            (Some(grant), None) => Ok(Taken::First { grant }),
            (Some(redemption), Some(receipt)) => Ok(Taken::Again { receipt, redemption }),
        }
    }

    pub async fn peek(&self, name: &str) -> Result<Seen, KeyStoreError> {
        let mut get = cmd("HMGET");
        get.arg(self.entry_key(name)).arg("grant").arg("receipt");
        let fields: (Option<Vec<u8>>, Option<Vec<u8>>) = self.link.send(&get).await?;
        Ok(match fields {
            (Some(grant), _) => Seen::Waiting { grant },
            (None, Some(_)) => Seen::Taken,
            (None, None) => Seen::Nothing,
        })
    }

    pub async fn mark_used(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        self.mark(self.mark_key(name), ttl).await
    }

    pub async fn mark_proof(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        self.mark(format!("{}proof:{name}", self.key_prefix), ttl).await
    }

    async fn mark(&self, key: String, ttl: Duration) -> Result<bool, KeyStoreError> {
        let mut set = cmd("SET");
        set.arg(key).arg(1).arg("NX").arg("PX").arg(millis(ttl));
        let set: Option<String> = self.link.send(&set).await?;
        Ok(set.is_some())
    }

    pub async fn is_used(&self, name: &str) -> Result<bool, KeyStoreError> {
        let mut exists = cmd("EXISTS");
        exists.arg(self.mark_key(name));
        self.link.send(&exists).await
    }

    pub async fn ping(&self) -> Result<(), KeyStoreError> {
        self.link.send(&cmd("PING")).await
    }

    pub fn describe(&self) -> &str {
        self.link.description()
    }

    fn mark_key(&self, name: &str) -> String {
        format!("{}used:{name}", self.key_prefix)
    }

    fn entry_key(&self, name: &str) -> String {
        format!("{}key:{name}", self.key_prefix)
    }

    fn script(&self, text: &str, name: &str) -> Cmd {
        let mut script = cmd("EVAL");
        script.arg(text).arg(1).arg(self.entry_key(name));
        script
    }
}

/// Whole milliseconds, at least one, because Redis refuses zero.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}
