//! token-broker: signs users in to single-page apps and gives the apps bearer tokens, over a one-time key.
//!
//! What happens, step by step, is in [`flow`].

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
mod service_manager;
pub mod state;
mod stop;
pub mod storage;
mod tasks;
pub mod telemetry;
