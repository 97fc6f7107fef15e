//! What happens, in order: the product. One file or folder per step; reading them tells what the broker does.
//!
//! 1. [`login`] validates what the SPA asks for and sends the browser to its provider; a browser that is already signed
//!    in continues its session (`continue_session`) without one.
//! 2. [`callback`] verifies what the provider answered, signs the user in, `issue`s a token and parks it under a
//!    one-time key, with which `hand_over` sends the browser back to the SPA.
//! 3. [`redeem`] exchanges the key for the token, once.
//! 4. [`mod@authenticate`] runs with every call of a protected endpoint, such as [`permissions`]: [`decide`] says whether
//!    the token may be used, [`react`] carries out what follows. [`rotate`] exchanges it for a successor, and
//!    [`personal_tokens`] are those that a person makes for scripts. [`forward_auth`] asks the same for the APIs behind a
//!    gateway, by the policy that the gateway names; [`page_sign_in`] signs people in to pages there.
//! 5. [`logout`] ends the session, as do [`sessions`], [`browser_logout`] and the provider's [`backchannel_logout`].
//! 6. [`introspect`]: an API behind the broker, a [`resource_server`], asks about a token that it was given. [`revoke`]
//!    gives a token up.
//!
//! A token can be bound to a key of its holder (DPoP): [`possession`] checks that the holder has it.
//!
//! A device without a browser is connected by the steps whose names begin with `device`: [`device_authorization`] draws its
//! codes, [`device_sign_in`], [`device_page`] and [`device_answer`] are what the person does elsewhere, and with
//! [`device_token`] the device asks for its token (RFC 8628).
//!
//! [`authorize`] and [`oauth_token`] are the same flow for clients of standard OAuth 2 and OpenID Connect: other names of
//! parameters, and ID and refresh tokens beside the token.
//!
//! [`administration`] does the same from the command line, beside running instances.
//!
//! A step takes the [`Broker`](crate::state::Broker), the [`Caller`](crate::domain::caller::Caller) and a plain request
//! type, and returns a plain answer type. It knows no HTTP framework; if a step has an endpoint,
//! `http` has a file of the same name.

pub mod administration;
pub mod authenticate;
pub mod authorize;
pub mod backchannel_logout;
pub mod browser_logout;
pub mod browser_session;
pub mod callback;
mod continue_session;
pub mod decide;
pub mod device_answer;
pub mod device_authorization;
pub mod device_page;
pub mod device_sign_in;
pub mod device_token;
pub mod forward_auth;
mod hand_over;
pub mod introspect;
mod issue;
pub mod login;
mod login_request;
pub mod logout;
pub mod oauth_token;
mod open_attempts;
pub mod page_sign_in;
pub mod permissions;
pub mod personal_tokens;
pub mod possession;
pub mod react;
pub mod redeem;
mod redeem_bound;
pub mod resource_server;
mod resources;
pub mod revoke;
pub mod rotate;
pub mod sessions;
mod to_provider;

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
