//! What happens, in order: the product. One file per step; whoever reads them knows the broker.
//!
//! 1. [`login`] sends the browser to its provider; where the browser is signed in already, `continue_session` goes
//!    on without one.
//! 2. [`callback`] verifies what the provider answered, signs the user in, `issue`s a token and parks it under a
//!    one-time key, with which `hand_over` sends the browser back to the SPA.
//! 3. [`redeem`] exchanges the key for the token, once.
//! 4. [`authenticate`] is asked with every call of a protected endpoint, such as [`permissions`]; [`rotate`] gives
//!    the token a successor.
//! 5. [`logout`] ends it, as do [`sessions`], [`browser_logout`] and the provider's [`backchannel_logout`].
//!
//! [`administration`] does the same from the command line, beside running instances.
//!
//! A step takes the [`Broker`](crate::state::Broker), the [`Caller`](crate::domain::caller::Caller) and a request in
//! plain words, and gives an answer in plain words. It knows no HTTP framework; the transport beside it has a file
//! of the same name.

pub mod administration;
pub mod authenticate;
pub mod backchannel_logout;
pub mod browser_logout;
pub mod browser_session;
pub mod callback;
mod continue_session;
mod hand_over;
mod issue;
pub mod login;
pub mod logout;
pub mod permissions;
pub mod redeem;
pub mod rotate;
pub mod sessions;

use crate::domain::login_attempt::AttemptId;

pub use issue::IssuedToken;

/// The cookie of one login attempt.
#[derive(Clone)]
pub struct AttemptCookie {
    /// Which attempt.
    pub id: AttemptId,
    /// The sealed attempt.
    pub value: String,
}
