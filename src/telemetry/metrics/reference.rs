//! Generates `docs/reference-metrics.md` from the list of metrics.

use std::fmt::Write;

use super::bucketed;
use crate::domain::audit::AuditKind;
use crate::domain::metric::{self, Kind};

const INTRODUCTION: &str = "\
# Metrics

The admin listener (`server.admin_listen`; keep it off the internet) serves these metrics at `/metrics`, in the text
format of Prometheus. Series are there from the start, as 0, so that the first failure is visible as an increase. (Not those
of requests that no route expects: OPTIONS, `unmatched`.)
Instances report what they see themselves: sum counters over all instances, and take the maximum of `live_*`, which each
instance counts in the shared database.

`deploy/monitoring` has alert rules for Prometheus and a dashboard for Grafana.

<!-- Generated from src/domain/metric.rs: UPDATE_DOCS=1 cargo test --lib metrics::reference -->
";

fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for metric in metric::ALL {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (metric.name, metric.kind.as_str(), labels.join(", "));
        writeln!(page, "| `{name}` | {kind} | {labels} | {} |", metric.help).unwrap();
    }
    let buckets: Vec<String> = metric::BUCKETS.iter().map(ToString::to_string).collect();
    write!(page, "\nHistograms have the buckets {} (seconds).\n", buckets.join(", ")).unwrap();
    page.push_str("\n## Values of `event`\n\n");
    let kinds: Vec<String> = AuditKind::ALL.iter().map(|kind| format!("`{}`", kind.as_str())).collect();
    page.push_str(&kinds.join(", "));
    page.push_str(".\n\nValues of `code` are the [error codes](reference-errors.md).\n");
    page
}

#[test]
fn the_reference_is_current() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference-metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/reference-metrics.md is stale: UPDATE_DOCS=1 cargo test --lib metrics::reference"
    );
}

#[test]
fn histograms_have_buckets_before_the_first_observation() {
    let recorder = bucketed().unwrap();
    metrics::with_local_recorder(&recorder, || {
        for metric in metric::ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
            let _ = metrics::histogram!(metric.name);
        }
    });
    let page = recorder.handle().render();
    for metric in metric::ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
        for line in [format!("{}_bucket{{le=\"0.001\"}} 0", metric.name), format!("{}_count 0", metric.name)]
        {
            assert!(page.contains(&line), "{line}\n{page}");
        }
    }
}
