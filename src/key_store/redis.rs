//! The key store that several brokers share: Redis 6.2 or later, or Valkey.
//!
//! An entry is one hash with the fields `grant`, `receipt` and, once taken, `redemption`. A request is
//! one hash with the field `value` and, once asked about, `asked_at` and `penalty`. The mark of a used name is one
//! string. Every operation is one command on one key, so that it is atomic and works in a cluster. The Redis user needs
//! only `+eval +hset +hmget +hdel +pexpire +set +exists +ping` on the key prefix.
//!
//! The server must never evict live keys (`maxmemory-policy noeviction`). If its data is lost, only logins in progress
//! are lost.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, cmd};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;

use super::address::RedisAddress;
use super::late::LateTakes;
use super::link::Link;
use super::{KeyStoreError, KeyStoreHealth, KeyStoreSettingsError, NewEntry, Pace, Paced, Seen, Taken};

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

/// KEYS: name. ARGV: redemption, grant. Undoes the take that left this redemption. The time to live does not change,
/// and an entry that is gone stays so.
const PUT_BACK: &str = r"
local entry = redis.call('HMGET', KEYS[1], 'redemption')
if entry[1] == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'redemption')
  redis.call('HSET', KEYS[1], 'grant', ARGV[2])
end
";

/// How long the answer to a take is waited for after its caller was told that there is none, and how long putting the
/// entry back is tried: no entry lives longer.
const LATE: Duration = Duration::from_secs(120);

/// How many takes may be waited for that long at the same time.
const LATE_TAKES: usize = 1024;

/// The delay before a retry to put an entry back.
const RETRY: Duration = Duration::from_secs(1);

/// How long what a health check stores is kept.
const CHECK_TTL: Duration = Duration::from_secs(1);

/// Entries, requests and marks of used names on Redis servers.
pub(super) struct RedisStore {
    link: Link,
    key_prefix: String,
    /// How many more takes may be waited for patiently.
    patient: Semaphore,
    late: LateTakes,
}

impl RedisStore {
    /// A store that connects on first use.
    pub fn new(
        address: RedisAddress,
        key_prefix: String,
        timeout: Duration,
    ) -> Result<Self, KeyStoreSettingsError> {
        let link = Link::new(address, timeout)?;
        Ok(Self { link, key_prefix, patient: Semaphore::new(LATE_TAKES), late: LateTakes::default() })
    }

    pub async fn put(&self, name: &str, entry: &NewEntry, ttl: Duration) -> Result<(), KeyStoreError> {
        self.link.send(&self.put_command(name, entry, ttl)).await
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

    /// Takes an entry in a task of its own, which outlives a caller that gives up or goes away: what it then takes for
    /// no one, it puts back. Until then, no other take is sent.
    pub async fn take(self: &Arc<Self>, name: &str, redemption: &[u8]) -> Result<Taken, KeyStoreError> {
        if self.late.contains(name) {
            return Err(KeyStoreError::Unavailable("an earlier call for this key has no answer yet".into()));
        }
        let (caller, answer) = oneshot::channel();
        let (store, name, redemption) = (Arc::clone(self), name.to_owned(), redemption.to_vec());
        tokio::spawn(async move { store.take_for(caller, &name, &redemption).await });
        answer.await.unwrap_or_else(|_| Err(KeyStoreError::Unavailable("the take was aborted".into())))
    }

    async fn take_for(&self, caller: Caller, name: &str, redemption: &[u8]) {
        let mut caller = Some(caller);
        let mut late = None;
        let permit = self.patient.try_acquire();
        let patience = if permit.is_ok() { LATE } else { Duration::ZERO };
        let take = self.take_command(name, redemption);
        let report = |outage| {
            // Before the caller knows and can try again.
            late = Some(self.late.begin(name));
            if let Some(caller) = caller.take() {
                let _ = caller.send(Err(outage));
            }
        };
        let taken = self.link.send_patiently(&take, patience, report).await.map(taken);
        let unheard = match caller {
            Some(caller) => caller.send(taken).err(),
            None => Some(taken),
        };
        if let Some(Ok(Taken::First { grant })) = unheard {
            late.get_or_insert_with(|| self.late.begin(name));
            self.put_back_late(name, redemption, &grant).await;
        }
        drop(late);
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

    async fn put_back_late(&self, name: &str, redemption: &[u8], grant: &[u8]) {
        for _ in 0..LATE.as_secs() {
            match self.put_back(name, redemption, grant).await {
                Ok(()) => {
                    tracing::info!("a key that was taken too late for its caller was put back");
                    return;
                }
                Err(error) => tracing::debug!(%error, "a key cannot be put back yet"),
            }
            sleep(RETRY).await;
        }
    }

    pub async fn put_back(&self, name: &str, redemption: &[u8], grant: &[u8]) -> Result<(), KeyStoreError> {
        let mut put_back = self.script(PUT_BACK, name);
        put_back.arg(redemption).arg(grant);
        self.link.send(&put_back).await
    }

    pub async fn mark_used(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        self.mark(&self.mark_command(name, ttl)).await
    }

    pub async fn mark_proof(&self, name: &str, ttl: Duration) -> Result<bool, KeyStoreError> {
        self.mark(&set_once(format!("{}proof:{name}", self.key_prefix), ttl)).await
    }

    async fn mark(&self, mark: &Cmd) -> Result<bool, KeyStoreError> {
        let set: Option<String> = self.link.send(mark).await?;
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
        set_once(self.mark_key(name), ttl)
    }

    fn is_marked_command(&self, name: &str) -> Cmd {
        let mut exists = cmd("EXISTS");
        exists.arg(self.mark_key(name));
        exists
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

/// Who waits for the answer to a take.
type Caller = oneshot::Sender<Result<Taken, KeyStoreError>>;

fn taken(mut parts: Vec<Vec<u8>>) -> Taken {
    match (parts.pop(), parts.pop()) {
        (None, _) => Taken::Nothing,
        (Some(grant), None) => Taken::First { grant },
        (Some(redemption), Some(receipt)) => Taken::Again { receipt, redemption },
    }
}

/// Sets a key that does not exist yet.
fn set_once(key: String, ttl: Duration) -> Cmd {
    let mut set = cmd("SET");
    set.arg(key).arg(1).arg("NX").arg("PX").arg(millis(ttl));
    set
}

/// Whole milliseconds, at least one, because Redis refuses zero.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}
