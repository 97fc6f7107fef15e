//! `/authz`: forward-auth for gateways. One decision; the dialects differ in their addresses.
//!
//! Gateways pass on the visitor's method, headers and query, and some append its path. So these addresses answer for
//! every method, and read nothing but the `Authorization` header and the part of the path that the operator has written
//! into the gateway. For a token with the scheme `DPoP`, they also read the proof and what the gateway says about the
//! visitor's request, which the proof must be for.

mod address;
mod describe;
pub mod identity_headers;
pub mod original;

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::{HttpRequest, HttpResponse, web};

pub use address::Dialect;
use address::Mistake;
use identity_headers::IdentityHeaders;
use original::{GatewayRequest, Original, TrustedProxies, original};

use super::errors::errors;
use super::extract::bearer::{Bearer, Scheme};
use super::extract::dpop;
use crate::domain::caller::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::flow;
use crate::flow::forward_auth::Question;
use crate::flow::possession::{Possession, Presented, ProofRequest};
use crate::state::Broker;

/// The routes of every dialect.
pub struct ForwardAuth;

impl HttpServiceFactory for ForwardAuth {
    fn register(self, config: &mut AppService) {
        for dialect in Dialect::ALL {
            web::resource(dialect.patterns()).to(forward_auth).register(config);
        }
    }
}

errors!(
    ForwardAuthErrors,
    [MissingToken, InvalidToken, InsufficientScope, Forbidden, UnknownPolicy, TemporarilyUnavailable]
);

/// Answers a gateway: 200 with the identity headers, or an error that the gateway passes on to the visitor.
#[utoipa::path(
    get,
    path = "/authz",
    tag = "Gateways",
    security(("bearer" = [])),
    responses(
        (
            status = 200,
            description = "The visitor may use the API. Every configured identity header is present, empty if there is \
                no value.",
            headers(
                ("X-Auth-User" = String, description = "The stable local id of the user."),
                ("X-Auth-Username" = String, description = "The login name, percent-encoded UTF-8."),
                ("X-Auth-Name" = String, description = "The full name, percent-encoded UTF-8."),
                ("X-Auth-Email" = String, description = "The verified email address, percent-encoded UTF-8."),
                ("X-Auth-Client" = String, description = "The client that the token was issued to."),
                ("X-Auth-Scope" = String, description = "The scopes of the token, separated by commas."),
            ),
        ),
        ForwardAuthErrors,
    ),
)]
async fn forward_auth(
    request: HttpRequest,
    broker: web::Data<Broker>,
    caller: Caller,
    headers: web::Data<IdentityHeaders>,
    trusted_proxies: web::Data<TrustedProxies>,
) -> Result<HttpResponse> {
    let bearer = Bearer::of_headers(request.headers()).map_err(malformed_is_invalid)?;
    let proof = match bearer.scheme() {
        Scheme::Bearer => None,
        Scheme::Dpop => Some(proof(&request, dpop::required(request.headers())?, &trusted_proxies)),
    };
    let possession = match &proof {
        None => Possession::Bearer,
        Some(Ok(proof)) => Possession::Proof(proof),
        Some(Err(mistake)) => Possession::UnknownRequest(mistake),
    };
    let question = Question {
        presented: Presented { text: bearer.expose(), possession },
        policy: address::policy_of(request.uri().path()),
        with_permissions: headers.need_permissions(),
    };
    let admitted = flow::forward_auth::forward_auth(&broker, &caller, &question).await?;
    let mut answer = HttpResponse::Ok();
    headers.of(&admitted).for_each(|header| {
        answer.insert_header(header);
    });
    Ok(answer.finish())
}

/// The proof, for the visitor's request; or why that is not known.
fn proof(request: &HttpRequest, jwt: String, trusted: &TrustedProxies) -> Result<ProofRequest, Mistake> {
    let gateway = GatewayRequest {
        peer: request.peer_addr(),
        method: request.method(),
        path: request.uri().path(),
        headers: request.headers(),
    };
    original(trusted, gateway).map(|Original { method, url }| ProofRequest { jwt, method, url })
}

/// A malformed credential is 401 here (RFC 6750 section 3.1, `invalid_token`): nginx turns every other status than 401
/// and 403 into 500.
fn malformed_is_invalid(error: Error) -> Error {
    match error.code() {
        ErrorCode::InvalidRequest => Error::new(ErrorCode::InvalidToken).detail(error.public_text()),
        _ => error,
    }
}
