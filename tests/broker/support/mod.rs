//! What the tests stand on: private servers, a broker of one's own, a browser.

pub mod process;
