//! The queries of every aggregate, gathered for one connection type.
//!
//! `sqlite` and `postgres` both mount this file, so each query is written once and compiled per connection type. Diesel's
//! `MultiConnection` offers no upsert, row lock or time with time zone, and generic functions would repeat Diesel's
//! trait bounds at every query; conditions that need no connection type (`liveness`) are compiled once.
//!
//! Locks: a transaction that reads in order to write takes the user's row first (`users::lock`). Nothing about one user
//! then changes inside of it, and no two transactions wait for each other.

use super::{
    COUNT_MIGRATION_TABLES, Db, LOCK_WAIT, MIGRATIONS, check_writable, clock, hold_users, is_only_purger,
    lock_migrations, write,
};

#[path = "audit/queries.rs"]
pub mod audit;
#[path = "tokens/issuing.rs"]
pub mod issuing;
#[path = "live/queries.rs"]
pub mod live;
#[path = "migrate/queries.rs"]
pub mod migrate;
#[path = "tokens/personal.rs"]
pub mod personal_tokens;
#[path = "purge/queries.rs"]
pub mod purge;
#[path = "resource_servers/queries.rs"]
pub mod resource_servers;
#[path = "sessions/ending.rs"]
pub mod session_ending;
#[path = "sessions/queries.rs"]
pub mod sessions;
#[path = "sign_in/queries.rs"]
pub mod sign_in;
#[path = "tokens/queries.rs"]
pub mod tokens;
#[path = "users/queries.rs"]
pub mod users;
