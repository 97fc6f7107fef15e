//! The admin listener: numbers and detailed health, never on the public one.

use actix_web::{HttpResponse, get, web};
use metrics_exporter_prometheus::PrometheusHandle;

use super::health::Ready;
use super::openapi::errors;
use crate::flow::health::readiness;
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

/// Detailed health
///
/// What works at the moment; 503 where a part does not.
#[utoipa::path(
    tag = "Admin",
    responses(
        (status = 200, description = "Everything works.", body = Ready),
        (status = 503, description = "A part does not work at the moment.", body = Ready),
        AdminErrors,
    ),
)]
#[get("/healthz")]
pub async fn detailed_health(broker: web::Data<Broker>) -> HttpResponse {
    Ready::from(readiness(&broker).await).answer()
}
