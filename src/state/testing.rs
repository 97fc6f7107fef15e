//! A broker for unit tests that never ask a store.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::audit_trail::audit_trail;
use super::health::HealthMemory;
use super::last_use::LastUses;
use super::late_revocations::LateRevocations;
use super::limits::{LimitSettings, RateLimits};
use super::server_keys::ServerKeys;
use super::{Broker, ClientRegistry, Lifetimes, PersonalTokenSettings};
use crate::domain::client::Client;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::dpop::NonceDemand;
use crate::domain::entropy::SystemEntropy;
use crate::domain::key_ring::{KeyId, KeyRing, ServerKey};
use crate::domain::lifetimes;
use crate::domain::policy::Policies;
use crate::key_store::{KeyStore, KeyStoreSettings};
use crate::provider::Providers;
use crate::storage::{Storage, StorageSettings};

/// Limits that no test reaches by accident.
pub(crate) fn limits() -> LimitSettings {
    let plenty = NonZeroU32::new(1_000_000).unwrap();
    LimitSettings {
        logins: plenty,
        callbacks: plenty,
        failed_redemptions: plenty,
        failed_tokens: plenty,
        failed_logout_tokens: plenty,
        failed_resource_servers: plenty,
        dpop_calls: plenty,
        devices: plenty,
    }
}

/// A production broker with the client of [`Client::example`], and a database that cannot be opened.
pub(crate) fn broker() -> Broker {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let key = ServerKey::new(KeyId(1), vec![7; 32]).unwrap();
    let storage = StorageSettings {
        pool_size: 1,
        wait: Duration::from_millis(20),
        statement_timeout: Duration::from_secs(1),
        // Nothing can be opened there, and nothing is left behind.
        ..StorageSettings::new("sqlite:no-such-folder/never-opened.sqlite".parse().unwrap())
    };
    Broker {
        public_url: "https://auth.example.com/".parse().unwrap(),
        development: false,
        clients: ClientRegistry::new(vec![Client::example()]),
        policies: Policies::new(Vec::new()),
        providers: Providers::new(Vec::new(), clock.clone()).unwrap(),
        storage: Storage::new(&storage).unwrap(),
        key_store: KeyStore::new(&KeyStoreSettings::new("memory:".parse().unwrap()), clock.clone()).unwrap(),
        keys: ServerKeys::new(Arc::new(KeyRing::new(KeyId(1), vec![key]).unwrap())),
        lifetimes: Lifetimes {
            one_time_key: lifetimes::ONE_TIME_KEY,
            api_token: lifetimes::API_TOKEN,
            session: lifetimes::SESSION,
        },
        live_tokens_per_user: lifetimes::LIVE_TOKENS_PER_USER,
        personal_tokens: PersonalTokenSettings {
            enabled: true,
            max_lifetime: lifetimes::PERSONAL_TOKEN,
            fresh_sign_in: lifetimes::FRESH_SIGN_IN,
            per_user: lifetimes::PERSONAL_TOKENS_PER_USER,
        },
        dpop_nonces: NonceDemand::TokenEndpoints,
        audit: audit_trail().0,
        last_uses: LastUses::default(),
        late_revocations: LateRevocations::default(),
        stopping: false.into(),
        health: HealthMemory::default(),
        limits: RateLimits::new(limits(), &clock),
        clock,
        entropy: Arc::new(SystemEntropy),
    }
}
