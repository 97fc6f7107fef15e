//! `/healthz` and `/readyz`: whether the process runs, and what it can do at the moment.

use actix_web::{HttpResponse, route, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::errors;
use crate::flow::health::{Readiness, readiness};
use crate::state::Broker;

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
    /// Whether all of it works.
    ready: bool,
    /// Whether people can sign in.
    log_in: bool,
    /// Whether one-time keys can be redeemed.
    redeem: bool,
    /// Whether tokens can be checked.
    verify: bool,
}

impl From<Readiness> for Ready {
    fn from(can: Readiness) -> Self {
        let Readiness { log_in, redeem, verify } = can;
        Self { ready: log_in && redeem && verify, log_in, redeem, verify }
    }
}

impl Ready {
    /// 200 where everything works, 503 where not.
    pub fn answer(&self) -> HttpResponse {
        if self.ready { HttpResponse::Ok().json(self) } else { HttpResponse::ServiceUnavailable().json(self) }
    }
}

errors!(ServiceErrors, Problem, []);

/// Whether the process runs
///
/// Asks nothing of any store: for a supervisor that restarts a hung process.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "Service",
    responses((status = 200, description = "It runs.", body = Health), ServiceErrors),
)]
#[route("/healthz", method = "GET", method = "HEAD")]
pub async fn healthz() -> web::Json<Health> {
    web::Json(Health { status: "ok" })
}

/// What works at the moment
///
/// For a load balancer: 503 takes this instance out of rotation. Log-in, redemption and token checks are told apart,
/// because each needs other stores.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "Service",
    responses(
        (status = 200, description = "Everything works.", body = Ready),
        (status = 503, description = "A part does not work at the moment.", body = Ready),
        ServiceErrors,
    ),
)]
#[route("/readyz", method = "GET", method = "HEAD")]
pub async fn readyz(broker: web::Data<Broker>) -> HttpResponse {
    Ready::from(readiness(&broker).await).answer()
}
