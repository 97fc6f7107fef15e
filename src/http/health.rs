//! `/healthz` and `/readyz`: whether the process runs, and what it can do at the moment.

use actix_web::{HttpResponse, route, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::state::Broker;
use crate::state::health::{Readiness, readiness};

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

impl From<Readiness> for Ready {
    fn from(can: Readiness) -> Self {
        let Readiness { log_in, redeem, verify, .. } = can;
        Self { ready: can.all(), log_in, redeem, verify }
    }
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

/// What works at the moment
///
/// For a load balancer. 503 means that this instance should get no requests: nothing works, it is about to stop, or the
/// database has the schema of another version. The body reports logins, redemption and token checks separately, because
/// each needs other stores: while Redis is unavailable, tokens are still checked.
#[utoipa::path(
    method(get, head),
    path = "/readyz",
    tag = "Service",
    responses(
        (status = 200, description = "Something works; the body says what.", body = Ready),
        (status = 503, description = "This instance should get no requests at the moment.", body = Ready),
    ),
)]
#[route("/readyz", method = "GET", method = "HEAD")]
pub async fn readyz(broker: web::Data<Broker>) -> HttpResponse {
    let readiness = readiness(&broker).await;
    let mut answer = if readiness.serves() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(Ready::from(readiness))
}
