//! token-broker: signs single-page apps in and hands them bearer tokens over a one-time key.
//!
//! The flow, in five steps, each a file in [`flow`]:
//!
//! 1. `login`: the SPA sends the browser to `/login`; the attempt is sealed into a cookie, and the browser is
//!    redirected to the provider.
//! 2. `callback`: the provider sends the browser back; the broker checks the code, the ID token and the profile,
//!    finds or creates the local user, writes the session and the API token, and puts a one-time key into the key
//!    store.
//! 3. `redeem`: the SPA exchanges the one-time key, once and within 120 seconds, for its bearer token.
//! 4. `authenticate`: every API call presents that token; the token's row in the database decides.
//! 5. `rotate` and `logout`: the token is exchanged for a new one before its seven days are over, or revoked.

pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod flow;
pub mod http;
pub mod key_store;
mod listener;
pub mod provider;
pub mod server;
pub mod state;
mod stop;
pub mod storage;
mod tasks;
pub mod telemetry;
