//! State-changing calls from foreign origins stop here. CORS alone would let the handler run and only hide its
//! answer.

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::ORIGIN;

use crate::error::{ErrorCode, Result};
use crate::state::Broker;

/// Refuses a state-changing call whose `Origin` is neither a registered one nor the broker's own.
pub fn check(request: &ServiceRequest, broker: &Broker) -> Result<()> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let own = broker.public_url.origin().ascii_serialization();
    let known = request.headers().get_all(ORIGIN).all(|origin| {
        origin.to_str().is_ok_and(|origin| origin == own || broker.clients.is_registered_origin(origin))
    });
    if known { Ok(()) } else { Err(ErrorCode::OriginNotAllowed.into()) }
}
