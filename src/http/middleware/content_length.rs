//! A body that is declared larger than any handler accepts is refused before it is sent (RFC 9110 section 15.5.14).

use actix_web::dev::ServiceRequest;
use actix_web::http::header::CONTENT_LENGTH;

use crate::error::{ErrorCode, Result};
use crate::http::extract::body;

/// Refuses a request with a declared length over the limit.
pub fn check(request: &ServiceRequest) -> Result<()> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match declared.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > body::LIMIT as u64 => Err(ErrorCode::ContentTooLarge.into()),
        _ => Ok(()),
    }
}
