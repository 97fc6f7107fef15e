//! Types and rules of the token broker, without any I/O.
//!
//! Input is parsed into these types at the boundary of the program, by functions that can refuse it; all other code
//! relies on the types. Time and randomness are passed in ([`clock`], [`entropy`]).

pub mod address_prefix;
pub mod assertion;
pub mod audience;
pub mod audit;
pub mod browser_session;
pub mod caller;
pub mod client;
pub mod client_assertion;
pub mod client_text;
pub mod clock;
pub mod credential;
pub mod device;
pub mod device_code;
pub mod device_request;
pub mod display;
pub mod dpop;
pub mod entropy;
pub mod expiring;
pub mod ids;
pub mod issued_id_token;
pub mod key_ring;
pub mod lifetimes;
pub mod login_attempt;
pub mod login_destination;
pub mod logout_attempt;
pub mod loopback;
pub mod metric;
pub mod oauth_request;
pub mod one_time_key;
pub mod page_sign_in;
pub mod page_visit;
pub mod pages;
pub mod pkce;
pub mod policy;
pub mod profile;
pub mod provider_logout;
pub mod public_key;
pub mod redirect_uri;
pub mod refresh_token;
pub mod request_id;
pub mod resource_server;
pub mod scope;
pub mod sealed;
pub mod session;
pub mod shared_map;
pub mod signing_key;
pub mod standing;
pub mod token;
pub mod token_kind;
pub mod user;
