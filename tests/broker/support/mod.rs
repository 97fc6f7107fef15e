//! What the tests stand on: private servers, a broker of one's own, a browser.

#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
pub mod storage;
