//! The key store that several brokers share: Redis 6.2 or later, or Valkey.
//!
//! An entry is one hash with the fields `grant`, `receipt` and, once taken, `redemption`. A request is
//! one hash with the field `value` and, once asked about, `asked_at` and `penalty`. The mark of a used name is one
//! string. Every operation is one command on one key, so that it is atomic and works in a cluster. The Redis user needs
//! only `+eval +hset +hmget +hdel +pexpire +set +exists +ping` on the key prefix.
//!
//! The server must never evict live keys (`maxmemory-policy noeviction`). If its data is lost, only logins in progress
//! are lost.

use std::time::Duration;

use redis::{Cmd, cmd};

use super::address::RedisAddress;
use super::link::Link;
use super::{KeyStoreError, KeyStoreSettingsError, NewEntry, Pace, Paced, Taken};

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

/// KEYS: name. ARGV: grant, receipt, time to live in milliseconds. Returns 1, or 0 if there is an entry.
const PUT_NEW: &str = r"
local entry = redis.call('HMGET', KEYS[1], 'receipt')
if entry[1] then return 0 end
redis.call('HSET', KEYS[1], 'grant', ARGV[1], 'receipt', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
";

/// KEYS: name. ARGV: value, time to live in milliseconds. Returns 1, or 0 if there is a request.
const ADD_REQUEST: &str = r"
local request = redis.call('HMGET', KEYS[1], 'value')
if request[1] then return 0 end
redis.call('HSET', KEYS[1], 'value', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
";

/// KEYS: name. ARGV: the time now, the time that must pass and what an early question adds to it, in milliseconds. Returns
/// `{value}`, `{value, 1}` for a question that comes too early, and `{}` if there is no request.
const PACE_REQUEST: &str = r"
local request = redis.call('HMGET', KEYS[1], 'value', 'asked_at', 'penalty')
if not request[1] then return {} end
redis.call('HSET', KEYS[1], 'asked_at', ARGV[1])
if request[2] then
  local since = tonumber(ARGV[1]) - tonumber(request[2])
  local penalty = tonumber(request[3] or '0')
  if since >= 0 and since < tonumber(ARGV[2]) + penalty then
    redis.call('HSET', KEYS[1], 'penalty', penalty + tonumber(ARGV[3]))
    return {request[1], '1'}
  end
end
return {request[1]}
";

/// Entries, requests and marks of used names on Redis servers.
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

    pub async fn put_new(&self, name: &str, entry: &NewEntry, ttl: Duration) -> Result<bool, KeyStoreError> {
        let mut put = self.script(PUT_NEW, name);
        put.arg(&entry.grant).arg(&entry.receipt).arg(millis(ttl));
        self.link.send(&put).await
    }

    pub async fn receipt(&self, name: &str) -> Result<Option<Vec<u8>>, KeyStoreError> {
        self.field(self.entry_key(name), "receipt").await
    }

    pub async fn add_request(&self, name: &str, value: &[u8], ttl: Duration) -> Result<bool, KeyStoreError> {
        let mut add = script(ADD_REQUEST, self.request_key(name));
        add.arg(value).arg(millis(ttl));
        self.link.send(&add).await
    }

    pub async fn find_request(&self, name: &str) -> Result<Option<Vec<u8>>, KeyStoreError> {
        self.field(self.request_key(name), "value").await
    }

    pub async fn pace_request(&self, name: &str, pace: Pace) -> Result<Paced, KeyStoreError> {
        let mut ask = script(PACE_REQUEST, self.request_key(name));
        ask.arg(pace.now.timestamp_millis())
            .arg(pace.interval.num_milliseconds())
            .arg(pace.penalty.num_milliseconds());
        let parts: Vec<Vec<u8>> = self.link.send(&ask).await?;
        let mut parts = parts.into_iter();
        Ok(match (parts.next(), parts.next()) {
            (None, _) => Paced::Nothing,
            (Some(value), None) => Paced::InTime(value),
            (Some(_), Some(_)) => Paced::TooEarly,
        })
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

    pub async fn mark_used(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        let mut set = cmd("SET");
        set.arg(self.mark_key(name)).arg(1).arg("NX").arg("PX").arg(millis(ttl));
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

    fn request_key(&self, name: &str) -> String {
        format!("{}request:{name}", self.key_prefix)
    }

    fn script(&self, text: &str, name: &str) -> Cmd {
        script(text, self.entry_key(name))
    }

    async fn field(&self, key: String, field: &str) -> Result<Option<Vec<u8>>, KeyStoreError> {
        let mut get = cmd("HMGET");
        get.arg(key).arg(field);
        let fields: Vec<Option<Vec<u8>>> = self.link.send(&get).await?;
        Ok(fields.into_iter().next().flatten())
    }
}

fn script(text: &str, key: String) -> Cmd {
    let mut script = cmd("EVAL");
    script.arg(text).arg(1).arg(key);
    script
}

/// Whole milliseconds, at least one, because Redis refuses zero.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}
