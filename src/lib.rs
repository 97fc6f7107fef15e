//! token-broker: signs single-page apps in and hands them bearer tokens over a one-time key.
//!
//! The flow, in five steps, each a file in [`flow`]:
//!
//! 1. `login`: the SPA sends the browser to `/login`; the attempt is sealed into a cookie, the browser goes on
//!    to the provider.
//! 2. `callback`: the provider sends it back; code, ID token and profile are checked, the local user is found
//!    or created, session and API token are written, and a one-time key is parked in the key store.
//! 3. `redeem`: the SPA exchanges the key, once and within 120 seconds, for its bearer token.
//! 4. `authenticate`: every API call presents that token; its row decides.
//! 5. `rotate` and `logout`: the token is exchanged before its seven days are over, or ends.

pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod flow;
pub mod http;
pub mod key_store;
pub mod provider;
pub mod server;
pub mod state;
pub mod storage;
mod tasks;
pub mod telemetry;
