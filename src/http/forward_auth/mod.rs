//! `/authz`: forward-auth for gateways. One decision; the dialects differ in their addresses.
//!
//! Gateways pass on the visitor's method, headers and query, and some append its path. So these addresses answer for
//! every method, and read nothing but the `Authorization` header and the part of the path that the operator has written
//! into the gateway. For a token with the scheme `DPoP`, they also read the proof and what the gateway says about the
//! visitor's request, which the proof must be for. Without a token, a policy with pages also reads what [`visit`] lists.

mod address;
mod assertion;
mod describe;
pub mod identity_headers;
pub mod original;
pub mod page_callback;
mod visit;

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::http::header::{COOKIE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use ipnet::IpNet;

pub use address::Dialect;
use address::Mistake;
use identity_headers::{Claim, IdentityHeaders};
use original::{GatewayRequest, Original, original};

use super::HttpSettings;
use super::error_response::Shape;
use super::errors::errors;
use super::extract::bearer::{Bearer, Scheme};
use super::extract::{dpop, page_cookies};
use crate::domain::caller::Caller;
use crate::error::{Error, ErrorCode, Result};
use crate::flow;
use crate::flow::forward_auth::{Admitted, Answer, Question, Visitor};
use crate::flow::page_sign_in::PageLogin;
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
    [
        MissingToken,
        InvalidToken,
        InsufficientScope,
        Forbidden,
        OriginNotAllowed,
        UnknownPolicy,
        TemporarilyUnavailable,
    ]
);

/// Answers a gateway: 200 with the identity headers, or an error that the gateway passes on to the visitor: as a page, if a
/// person waits for it.
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
                ("Cookie" = String, description = "Only if the policy has pages: the visitor's `Cookie` header without the broker's cookies, which the gateway passes on in place of the visitor's."),
            ),
        ),
        (
            status = 303,
            description = "Only if the policy has pages, for a navigation of the browser's own window without a token or a \
                valid cookie: the way to sign in, which the gateway passes on. Never for nginx.",
            headers(
                ("Location" = String, description = "The broker's `/login`."),
                ("Set-Cookie" = String, description = "The sealed sign-in, ten minutes: `__Host-Http-tb_visit_…`."),
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
    settings: web::Data<HttpSettings>,
) -> Result<HttpResponse> {
    let bearer = match Bearer::of_headers(request.headers()) {
        Ok(bearer) => Some(bearer),
        Err(error) if error.code() == ErrorCode::MissingToken => None,
        Err(error) => return Err(malformed_is_invalid(error)),
    };
    let proof = match bearer.as_ref().map(Bearer::scheme) {
        Some(Scheme::Dpop) => {
            Some(proof(&request, dpop::required(request.headers())?, &settings.trusted_proxies))
        }
        Some(Scheme::Bearer) | None => None,
    };
    let possession = match &proof {
        None => Possession::Bearer,
        Some(Ok(proof)) => Possession::Proof(proof),
        Some(Err(mistake)) => Possession::UnknownRequest(mistake),
    };
    let visitor = match &bearer {
        Some(bearer) => Visitor::Token(Presented { text: bearer.expose(), possession }),
        None => Visitor::Browser(Box::new(visit::browser(&request, &settings.trusted_proxies))),
    };
    let question = Question {
        visitor,
        policy: address::policy_of(request.uri().path()),
        with_permissions: headers.need_permissions(),
    };
    let answer = match flow::forward_auth::forward_auth(&broker, &caller, &question).await {
        Ok(answer) => answer,
        Err(error) if flow::forward_auth::is_for_a_person(&broker, &question) => {
            let mut response = HttpResponse::from_error(error);
            response.extensions_mut().insert(Shape::VisitedPage);
            return Ok(response);
        }
        Err(error) => return Err(error),
    };
    match answer {
        Answer::Admitted { admitted, has_pages } => {
            let mut answer = let_in(&broker, &headers, &admitted)?;
            if has_pages {
                answer.insert_header((COOKIE, page_cookies::of_the_page(request.headers())));
            }
            Ok(answer.finish())
        }
        Answer::SignIn(login) => {
            let origin = visit::origin(&request, &settings.trusted_proxies);
            Ok(sign_in(&login, visit::is_secure(origin.as_ref())))
        }
    }
}

/// The answer that lets a visitor in, with the identity headers.
fn let_in(broker: &Broker, headers: &IdentityHeaders, admitted: &Admitted) -> Result<HttpResponseBuilder> {
    let assertion = headers
        .tell(Claim::Assertion)
        .then(|| assertion::assertion(broker, headers, admitted))
        .transpose()?;
    let mut answer = HttpResponse::Ok();
    headers.of(admitted, assertion.as_deref()).for_each(|header| {
        answer.insert_header(header);
    });
    Ok(answer)
}

/// The redirect away from the page, with the cookie of the sign-in.
fn sign_in(login: &PageLogin, secure: bool) -> HttpResponse {
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((LOCATION, login.location.as_str()));
    answer.cookie(page_cookies::keep_attempt(&login.attempt, secure));
    for id in &login.forget {
        answer.cookie(page_cookies::forget_attempt(id, secure));
    }
    answer.finish()
}

/// The proof, for the visitor's request; or why that is not known.
fn proof(request: &HttpRequest, jwt: String, trusted: &[IpNet]) -> Result<ProofRequest, Mistake> {
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
