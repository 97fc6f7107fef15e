//! What the broker's cookies have in common: how they are found among others, and their attributes.

use std::borrow::Cow;

use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::http::header::{COOKIE, HeaderMap};
use actix_web::{HttpRequest, web};

use crate::error::{ErrorCode, Result};
use crate::state::Broker;

/// The name of a cookie, or how it begins.
#[derive(Clone, Copy)]
pub(super) struct CookieName {
    /// With `__Host-Http-`: refused by browsers unless Secure, HttpOnly, of `Path=/`, without Domain and set by an
    /// HTTP answer.
    pub(super) secure: &'static str,
    /// For development over plain http on the loopback interface, where browsers refuse the other.
    pub(super) plain: &'static str,
}

impl CookieName {
    pub(super) fn get(self, secure: bool) -> &'static str {
        if secure { self.secure } else { self.plain }
    }
}

/// Whether cookies are Secure here.
pub(super) fn are_secure(request: &HttpRequest) -> Result<bool> {
    let broker = request.app_data::<web::Data<Broker>>();
    broker.map(|broker| broker.secure_cookies()).ok_or_else(|| ErrorCode::ServerError.into())
}

/// The cookies that the browser presents, as they were sent: name and value.
pub(super) fn presented(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// A cookie with every attribute that keeps it here (RFC 6265bis section 4.1.3).
pub(super) fn build(
    name: impl Into<Cow<'static, str>>,
    value: String,
    lifetime: time::Duration,
    secure: bool,
) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Lax)
        .max_age(lifetime)
        .finish()
}
