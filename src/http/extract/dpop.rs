//! The DPoP proof of a request (RFC 9449 section 4.1), and the token that it belongs to.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest, web};

use super::bearer::{Bearer, Scheme};
use crate::error::{Error, ErrorCode, Result};
use crate::flow::possession::{Possession, Presented, ProofRequest};
use crate::http::challenge::BearerRefused;
use crate::http::dpop_headers::DPOP;
use crate::state::Broker;

/// A presented access token, with its proof if its scheme is `DPoP`; both unchecked.
#[derive(Debug)]
pub struct PresentedToken {
    bearer: Bearer,
    proof: Option<ProofRequest>,
}

impl PresentedToken {
    /// The token as it is judged.
    pub fn presented(&self) -> Presented<'_> {
        let possession = self.proof.as_ref().map_or(Possession::Bearer, Possession::Proof);
        Presented { text: self.bearer.expose(), possession }
    }

    fn read(request: &HttpRequest) -> Result<Self> {
        let bearer = Bearer::read(request)?;
        let proof = match bearer.scheme() {
            Scheme::Bearer => None,
            Scheme::Dpop => Some(of_request(request, required(request.headers())?)?),
        };
        Ok(Self { bearer, proof })
    }
}

impl FromRequest for PresentedToken {
    type Error = BearerRefused;
    type Future = Ready<std::result::Result<Self, BearerRefused>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::read(request).map_err(BearerRefused))
    }
}

/// The proof of a request that presents a token with the scheme `DPoP`.
///
/// # Errors
/// `invalid_dpop_proof` (401) if there is none, or more than one.
pub fn required(headers: &HeaderMap) -> Result<String> {
    let refused = |text| Error::new(ErrorCode::InvalidDpopProof).detail(text);
    let missing = || refused("The DPoP header with the proof is missing.");
    header(headers).map_err(refused)?.ok_or_else(missing)
}

/// The proof of a request for tokens, if there is one.
///
/// # Errors
/// `invalid_dpop_proof` (400) if there is more than one.
pub fn of_token_request(request: &HttpRequest) -> Result<Option<ProofRequest>> {
    let refused = |text| Error::new(ErrorCode::InvalidDpopProofForGrant).detail(text);
    let jwt = header(request.headers()).map_err(refused)?;
    jwt.map(|jwt| of_request(request, jwt)).transpose()
}

/// The only DPoP header (RFC 9449 section 4.3).
fn header(headers: &HeaderMap) -> std::result::Result<Option<String>, &'static str> {
    let mut headers = headers.get_all(DPOP);
    let Some(header) = headers.next() else { return Ok(None) };
    if headers.next().is_some() {
        return Err("More than one DPoP header was sent. Send exactly one.");
    }
    header.to_str().map(|text| Some(text.to_owned())).map_err(|_| "The DPoP header is not ASCII text.")
}

/// The proof and what it has to be for: the address of the request as browsers know it, whatever its `Host`.
fn of_request(request: &HttpRequest, jwt: String) -> Result<ProofRequest> {
    let broker = request.app_data::<web::Data<Broker>>().ok_or(ErrorCode::ServerError)?;
    let mut url = broker.public_url.clone();
    url.set_path(request.uri().path());
    Ok(ProofRequest { jwt, method: request.method().as_str().to_owned(), url })
}
