//! `/healthz` and `/readyz`: whether the process runs, and what it can do at the moment.

use actix_web::{HttpRequest, HttpResponse, route, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::errors::errors;
use super::extract::parameters::{Parameters, parameters};
use crate::error::{Error, Result};
use crate::state::Broker;
use crate::state::health::{Readiness, Required, UnknownFunction, readiness};

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// What the broker can do at the moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Whether this instance should get requests, as the status says; on the admin listener, whether all of it works.
    #[schema(example = true)]
    ready: bool,
    /// Whether users can sign in.
    #[schema(example = true)]
    log_in: bool,
    /// Whether one-time keys can be redeemed.
    #[schema(example = true)]
    redeem: bool,
    /// Whether tokens can be checked.
    #[schema(example = true)]
    verify: bool,
}

impl Ready {
    pub(super) fn new(ready: bool, can: Readiness) -> Self {
        let Readiness { log_in, redeem, verify, .. } = can;
        Self { ready, log_in, redeem, verify }
    }
}

parameters! {
    /// The parameters of `/readyz`.
    struct ReadyParameters { require }
}

/// Whether the process runs
///
/// Asks nothing of any store: for a supervisor that restarts a hung process.
#[utoipa::path(
    method(get, head),
    path = "/healthz",
    tag = "Service",
    responses((status = 200, description = "It runs.", body = Health)),
)]
#[route("/healthz", method = "GET", method = "HEAD")]
pub async fn healthz() -> web::Json<Health> {
    web::Json(Health { status: "ok" })
}

errors!(ReadyErrors, [InvalidRequest]);

/// What works at the moment
///
/// For a load balancer. 503 means that this instance should get no requests: what `require` names does not work, it is about
/// to stop, or the database has the schema of another version. The body reports logins, redemption and token checks
/// separately, because each needs other stores: while Redis is unavailable, tokens are still checked. Answers within a
/// second, from a check that is at most a second old and includes writing.
#[utoipa::path(
    method(get, head),
    path = "/readyz",
    tag = "Service",
    params(("require" = Option<String>, Query, description = "What has to work for 200: a list of `log_in`, `redeem` and \
        `verify`, separated by commas. By default, one of them is enough.", example = "log_in,verify")),
    responses(
        (status = 200, description = "What is required works; the body says what else does.", body = Ready),
        (status = 503, description = "This instance should get no requests at the moment.", body = Ready),
        ReadyErrors,
    ),
)]
#[route("/readyz", method = "GET", method = "HEAD")]
pub async fn readyz(broker: web::Data<Broker>, request: HttpRequest) -> Result<HttpResponse> {
    let parameters = ReadyParameters::read(request.query_string().as_bytes())?;
    let required = match parameters.require {
        Some(text) => text.parse().map_err(|_: UnknownFunction| {
            Error::invalid_request("The parameter 'require' must be a list of log_in, redeem and verify.")
        })?,
        None => Required::default(),
    };
    let readiness = readiness(&broker).await;
    let ready = readiness.meets(&required);
    let mut answer = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    Ok(answer.json(Ready::new(ready, readiness)))
}
