//! The queries, written once and compiled for each database's connection: see `sqlite` and `postgres`, which
//! both mount this folder.
//!
//! Locks: whoever reads in order to write takes the user's row first (`tokens::lock_user`). So the rows of one
//! user stand still inside a transaction, and no two transactions wait for each other.

use super::{COUNT_MIGRATION_TABLES, Db, MIGRATIONS, hold_users, is_only_purger, lock_migrations, write};

pub mod administration_audit;
pub mod administration_purge;
pub mod administration_sessions;
pub mod administration_tokens;
pub mod administration_users;
pub mod audit;
pub mod browser_sessions;
pub mod id_tokens;
pub mod last_use;
pub mod migrations;
pub mod own_sessions;
pub mod permissions;
pub mod provider_logout;
pub mod purge;
pub mod resource_servers;
pub mod sessions;
pub mod sign_in;
pub mod tokens;
