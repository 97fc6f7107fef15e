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
mod audiences;
mod backchannel_logout;
mod backchannel_outages;
mod bearer;
mod browser_session;
mod callback;
mod chooser;
mod client_assertions;
mod connections;
mod contract;
mod cors;
mod dev_provider;
mod device_docs;
mod device_grant;
mod errors;
mod forward_auth;
mod gateways;
mod headers;
mod health;
mod instances;
mod introspect;
mod key_store;
#[cfg(all(feature = "redis-sentinel", feature = "redis-cluster"))]
mod key_store_groups;
mod key_store_outages;
mod last_use;
mod legacy;
mod liveness;
mod login;
mod login_cookies;
mod login_flood;
mod login_story;
mod logout;
mod logs;
mod metadata;
#[cfg(feature = "postgres")]
mod migration_under_load;
mod native_apps;
mod oauth_authorize;
mod oauth_refresh;
mod oauth_token;
mod outages;
mod pages;
mod parallel_logins;
mod personal_tokens;
mod protect_your_api;
mod provider_down;
mod provider_faults;
mod provider_people;
mod purge;
mod readme;
mod redeem;
mod revoke;
mod rotate;
mod rotation_load;
mod sample;
mod secrets_at_rest;
mod serve;
mod server_keys;
mod sessions;
mod storage;
mod storage_outages;
mod storage_schema;
mod support;
mod surfaces;
mod token_confusion;
mod tokens;
mod upgrade;
