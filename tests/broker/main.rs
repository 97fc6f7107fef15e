//! The tests with real servers, in one program. Each module is named after what it tests.
//!
//! Private PostgreSQL and Redis servers are started by [`support`] on free loopback ports and stopped at the end of the
//! test run; no server has to be started before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "test names say what is tested")]

mod administration_audit;
mod administration_cli;
mod administration_docs;
mod administration_keys;
mod administration_resource_servers;
mod administration_sessions;
mod administration_users;
mod assertion;
mod audiences;
mod audit_follow;
mod backchannel_logout;
mod backchannel_outages;
mod bearer;
mod browser_session;
mod callback;
mod causes;
mod chooser;
mod client_assertions;
mod connections;
mod contract;
mod cors;
#[cfg(feature = "postgres")]
mod database_failover;
mod dev_provider;
mod device_docs;
mod device_grant;
mod doctor;
mod dpop;
mod errors;
mod forward_auth;
mod gateways;
mod headers;
mod health;
mod install;
mod instances;
mod introspect;
mod key_store;
#[cfg(all(feature = "redis-sentinel", feature = "redis-cluster"))]
mod key_store_groups;
mod key_store_outages;
mod last_use;
mod legacy;
mod liveness;
mod log_limits;
mod login;
mod login_cookies;
mod login_flood;
mod login_story;
mod logout;
mod logs;
mod metadata;
mod metrics;
#[cfg(feature = "postgres")]
mod migration_under_load;
mod native_apps;
mod oauth_authorize;
mod oauth_refresh;
mod oauth_token;
mod operation_docs;
mod outages;
mod page_visits;
mod pages;
mod parallel_logins;
mod personal_tokens;
#[cfg(feature = "postgres")]
mod pooler;
mod protect_your_api;
mod provider_connections;
mod provider_down;
mod provider_faults;
mod provider_people;
mod provider_presets;
mod purge;
mod readiness;
mod readme;
mod redeem;
mod reverse_proxy;
mod revoke;
mod rotate;
mod rotation_load;
mod sample;
mod secrets_at_rest;
mod serve;
mod server_keys;
mod sessions;
mod stopping;
mod storage;
mod storage_outages;
mod storage_schema;
mod support;
mod surfaces;
mod token_confusion;
mod tokens;
mod upgrade;
