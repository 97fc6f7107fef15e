//! The process's metrics: recorded everywhere under the names of [`metric`], rendered by the admin listener.

#[cfg(test)]
mod reference;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::writer;
use crate::domain::metric::{self, Kind};

/// The handle of the recorder that every metric of this process goes to. The first call installs the recorder; what was
/// recorded before is lost.
pub fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let recorder = bucketed().unwrap_or_else(|_| PrometheusBuilder::new().build_recorder());
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is already installed; /metrics stays empty");
        }
        describe();
        handle
    };
    RECORDER.get_or_init(install).clone()
}

/// Fails only without buckets.
fn bucketed() -> Result<PrometheusRecorder, BuildError> {
    Ok(PrometheusBuilder::new().set_buckets(metric::BUCKETS)?.build_recorder())
}

fn describe() {
    for metric in metric::ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    metrics::counter!(metric::CONNECTIONS_REFUSED.name).increment(0);
    metrics::gauge!(metric::CLOCK_AHEAD_OF_DATABASE.name).set(0.0);
    writer::register();
    metrics::gauge!(metric::BUILD_INFO.name, "version" => env!("CARGO_PKG_VERSION")).set(1);
}
