//! The tests that speak to real servers, in one program: each module is named after what it tests.
//!
//! Private PostgreSQL and Redis servers are started by [`support`] on free loopback ports and end with the
//! test run; nothing has to be running before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(missing_docs, reason = "test names say what is tested")]

mod bearer;
mod contract;
mod dev_provider;
mod key_store;
mod legacy;
mod login_story;
mod readme;
mod redeem;
mod rotate;
mod storage;
mod storage_outages;
mod storage_schema;
mod support;
mod tokens;
