//! The admin listener: numbers and detailed health, never on the public one.

use actix_web::{HttpResponse, get, route, web};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;

use super::health::Ready;
use crate::state::Broker;
use crate::state::gauges;
use crate::state::health::{Part, health};
use crate::state::server_keys::KnownKeys;

/// Metrics
///
/// In the text format of Prometheus.
#[utoipa::path(
    tag = "Admin",
    responses((status = 200, description = "All metrics.", content_type = "text/plain; version=0.0.4", body = String)),
)]
#[get("/metrics")]
pub async fn metrics(broker: web::Data<Broker>, metrics: web::Data<PrometheusHandle>) -> HttpResponse {
    gauges::refresh(&broker).await;
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

/// What works at the moment, part by part.
#[derive(Debug, Serialize, ToSchema)]
pub struct DetailedHealth {
    #[serde(flatten)]
    ready: Ready,
    /// What the broker needs, and what is wrong with it.
    parts: Vec<HealthPart>,
    /// The server keys that this instance knows.
    server_keys: HealthKeys,
}

/// The server keys by their ids: all instances must know a key before it issues.
#[derive(Debug, Serialize, ToSchema)]
struct HealthKeys {
    /// The key that issues.
    #[schema(example = 2)]
    issuing: u32,
    /// All keys that verify.
    #[schema(example = json!([1, 2]))]
    known: Vec<u32>,
}

impl From<KnownKeys> for HealthKeys {
    fn from(keys: KnownKeys) -> Self {
        Self { issuing: keys.issuing.0, known: keys.known.iter().map(|id| id.0).collect() }
    }
}

/// Something that the broker needs.
#[derive(Debug, Serialize, ToSchema)]
struct HealthPart {
    /// What it is.
    #[schema(example = "key store")]
    name: String,
    /// Whether it works.
    works: bool,
    /// What is wrong with it.
    #[schema(required, example = "the key store is unavailable")]
    problem: Option<String>,
}

impl From<&Part> for HealthPart {
    fn from(part: &Part) -> Self {
        Self { works: part.works(), name: part.name.clone(), problem: part.problem.clone() }
    }
}

/// Detailed health
///
/// What works at the moment, and what is wrong with the other components; 503 if a component fails.
#[utoipa::path(
    method(get, head),
    path = "/healthz",
    tag = "Admin",
    responses(
        (status = 200, description = "Everything works.", body = DetailedHealth),
        (status = 503, description = "A part does not work at the moment.", body = DetailedHealth),
    ),
)]
#[route("/healthz", method = "GET", method = "HEAD")]
pub async fn detailed_health(broker: web::Data<Broker>) -> HttpResponse {
    let health = health(&broker).await;
    let ready = Ready::new(health.readiness.all(), health.readiness);
    let parts = health.parts.iter().map(HealthPart::from).collect();
    let mut answer =
        if health.readiness.all() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(DetailedHealth { ready, parts, server_keys: broker.keys.known().into() })
}
