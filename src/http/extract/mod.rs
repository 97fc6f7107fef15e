//! What a handler is given of a request: checked once, here, before any work.

pub mod accept;
pub mod access;
pub mod attempt_cookies;
pub mod bearer;
pub mod body;
pub mod caller;
mod cookies;
pub mod dpop;
pub mod logout_cookie;
pub mod navigation;
pub mod own_page;
pub mod page_cookies;
pub mod parameters;
pub mod session_cookie;
pub mod token_form;
