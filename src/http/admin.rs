//! The admin listener: numbers and detailed health, never on the public one.

use actix_web::{HttpResponse, get, web};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;

use super::health::Ready;
use super::openapi::errors;
use crate::flow::health::{Part, health};
use crate::state::Broker;

errors!(AdminErrors, Problem, []);

/// Metrics
///
/// In the text format of Prometheus.
#[utoipa::path(
    tag = "Admin",
    responses((status = 200, description = "All metrics.", content_type = "text/plain; version=0.0.4", body = String), AdminErrors),
)]
#[get("/metrics")]
pub async fn metrics(metrics: web::Data<PrometheusHandle>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

/// What works, part by part.
#[derive(Debug, Serialize, ToSchema)]
pub struct DetailedHealth {
    #[serde(flatten)]
    ready: Ready,
    /// The parts that the broker needs.
    parts: Vec<PartHealth>,
}

/// A part that the broker needs.
#[derive(Debug, Serialize, ToSchema)]
struct PartHealth {
    /// Which.
    #[schema(example = "key store")]
    name: String,
    /// What is wrong with it; `null` where it works.
    #[schema(required, example = "the key store does not answer")]
    problem: Option<String>,
}

/// Detailed health
///
/// What works at the moment, and what is wrong with what does not; 503 where a part does not work.
#[utoipa::path(
    tag = "Admin",
    responses(
        (status = 200, description = "Everything works.", body = DetailedHealth),
        (status = 503, description = "A part does not work at the moment.", body = DetailedHealth),
        AdminErrors,
    ),
)]
#[get("/healthz")]
pub async fn detailed_health(broker: web::Data<Broker>) -> HttpResponse {
    let health = health(&broker).await;
    let part = |part: &Part| PartHealth { name: part.name.clone(), problem: part.problem.clone() };
    let body =
        DetailedHealth { ready: health.readiness.into(), parts: health.parts.iter().map(part).collect() };
    if health.readiness.all() {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}
