//! `/metrics`: what is there from the start, what is counted, and that dashboard and alerts use names that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;
use serde_json::json;
use token_broker::domain::audit::AuditKind;
use token_broker::domain::metric::{self, Kind};
use token_broker::error::ErrorCode;

#[cfg(feature = "postgres")]
use crate::support::broker::Setup;
use crate::support::broker::TestBroker;
#[cfg(feature = "postgres")]
use crate::support::storage::Database;
use crate::support::wait::until;

/// The page of a broker.
struct Metrics(String);

impl Metrics {
    async fn of(broker: &TestBroker) -> Self {
        let answer = broker.browser().get(&format!("{}/metrics", broker.admin_url), &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Self(answer.body)
    }

    /// The sum of the series of this name that have all of these labels (`code="not_found"`). `None` if there is none.
    fn sum(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let series = Regex::new(&format!(r"(?m)^{name}(\{{[^\n]*\}})? (\S+)$")).unwrap();
        let found = series.captures_iter(&self.0).filter(|found| {
            let text = found.get(1).map_or("", |labels| labels.as_str());
            labels.iter().all(|label| text.contains(label))
        });
        found.map(|found| found[2].parse::<f64>().unwrap()).reduce(|sum, value| sum + value)
    }

    /// What `# TYPE` says of each metric.
    fn kinds(&self) -> BTreeMap<&str, &str> {
        self.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
    }
}

/// Of the process, which is never without them.
const OF_THE_PROCESS: [&str; 3] =
    ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"];

#[actix_web::test]
async fn every_metric_is_described_and_has_the_prefix() {
    let broker = TestBroker::start();
    broker.ready().await;
    let page = Metrics::of(&broker).await;
    let kinds = page.kinds();
    for metric in metric::ALL {
        assert_eq!(kinds.get(metric.name), Some(&metric.kind.as_str()), "{}", metric.name);
        assert!(page.0.contains(&format!("# HELP {} {}", metric.name, metric.help)), "{}", metric.name);
    }
    for (name, kind) in &kinds {
        assert!(name.starts_with(metric::PREFIX), "{name}");
        assert!(page.0.contains(&format!("# HELP {name} ")), "{name} has no HELP");
        assert!(metric::ALL.iter().any(|metric| metric.name == *name), "{name} is in no list");
        assert_ne!(*kind, "summary", "{name}");
    }
    for name in OF_THE_PROCESS {
        let value = page.sum(&format!("token_broker_{name}"), &[]);
        assert!(value.is_some_and(|value| value > 0.0), "{name}: {value:?}");
    }
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_eq!(page.sum("token_broker_build_info", &[&version]), Some(1.0));
}

/// Labels of a series are those of the list, so that a reader of the list can select by them.
#[actix_web::test]
async fn series_have_the_labels_of_the_list() {
    let broker = TestBroker::start();
    let page = Metrics::of(&broker).await;
    let series = Regex::new(r"(?m)^(token_broker_\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? \S+$").unwrap();
    let label = Regex::new(r#"(\w+)="(?:[^"\\]|\\.)*""#).unwrap();
    for found in series.captures_iter(&page.0) {
        let Some(metric) = metric::ALL.iter().find(|metric| metric.name == &found[1]) else { continue };
        let labels = found.get(2).map_or("", |labels| labels.as_str());
        let names: BTreeSet<_> = label.captures_iter(labels).map(|found| found[1].to_owned()).collect();
        let names: BTreeSet<_> = names.iter().map(String::as_str).filter(|name| *name != "le").collect();
        assert_eq!(names, metric.labels.iter().copied().collect(), "{}", &found[0]);
    }
}

#[actix_web::test]
async fn series_are_there_before_the_first_event() {
    let broker = TestBroker::start();
    let page = Metrics::of(&broker).await;
    let there = |name: &str, labels: &[&str]| {
        assert!(page.sum(name, labels).is_some(), "{name} {labels:?}");
    };
    for code in ErrorCode::ALL {
        for listener in ["public", "admin"] {
            let labels = [format!("code=\"{code}\""), format!("listener=\"{listener}\"")];
            there("token_broker_refusals_total", &[&labels[0], &labels[1]]);
        }
    }
    for kind in AuditKind::ALL {
        there("token_broker_events_total", &[&format!("event=\"{}\"", kind.as_str())]);
    }
    for provider in ["dev", "ops"] {
        let provider = format!("provider=\"{provider}\"");
        there("token_broker_sign_ins_total", &[&provider, "result=\"provider_timeout\""]);
        there(
            "token_broker_provider_duration_seconds_count",
            &[&provider, "call=\"token_endpoint\"", "result=\"timeout\""],
        );
    }
    for (method, route) in
        [("GET", "/api/me"), ("POST", "/api/token/rotate"), ("GET", "/login"), ("GET", "/authz/nginx")]
    {
        let labels =
            [format!("method=\"{method}\""), format!("route=\"{route}"), "status=\"5xx\"".to_owned()];
        there("token_broker_http_requests_total", &[&labels[0], &labels[1], &labels[2]]);
    }
    for metric in metric::ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
        there(&format!("{}_bucket", metric.name), &["le=\"+Inf\""]);
    }
}

/// The numbers of all brokers of this process are added up, so only differences say something.
#[actix_web::test]
async fn sign_ins_refusals_and_traffic_are_counted_apart() {
    let broker = TestBroker::start();
    broker.ready().await;
    let before = Metrics::of(&broker).await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let denied = broker.log_in(&broker.browser(), "dev", "alice", "&fault=wrong_nonce").await;
    assert!(denied.back.location().unwrap().query().unwrap().contains("invalid_id_token"), "{denied:?}");
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
    assert_eq!(broker.call("/api/me", "tbk_unknown").await.status, 401);
    let after = Metrics::of(&broker).await;
    for (name, labels) in [
        ("token_broker_sign_ins_total", &["provider=\"dev\"", "result=\"succeeded\""][..]),
        ("token_broker_sign_ins_total", &["provider=\"dev\"", "result=\"invalid_id_token\""]),
        ("token_broker_refusals_total", &["code=\"invalid_token\"", "listener=\"public\""]),
        ("token_broker_http_requests_total", &["listener=\"public\"", "route=\"/api/me\"", "status=\"4xx\""]),
        ("token_broker_http_request_duration_seconds_count", &["listener=\"public\"", "route=\"/api/me\""]),
        ("token_broker_http_requests_total", &["listener=\"admin\"", "route=\"/metrics\"", "status=\"2xx\""]),
        ("token_broker_database_duration_seconds_count", &["group=\"sign_in\"", "result=\"ok\""]),
        ("token_broker_key_store_duration_seconds_count", &["operation=\"take\"", "result=\"ok\""]),
        ("token_broker_provider_duration_seconds_count", &["call=\"token_endpoint\"", "result=\"ok\""]),
    ] {
        let (was, is) = (before.sum(name, labels).unwrap_or(0.0), after.sum(name, labels).unwrap_or(0.0));
        assert!(is >= was + 1.0, "{name} {labels:?}: {was}, then {is}");
    }
    assert_eq!(
        after.sum("token_broker_http_requests_total", &["listener=\"public\"", "route=\"/metrics\""]),
        None
    );
    assert_eq!(after.sum("token_broker_database_connections_limit", &[]), Some(10.0));
}

#[actix_web::test]
async fn live_sessions_and_tokens_are_those_that_work() {
    let broker = TestBroker::start();
    broker.ready().await;
    let count = async || broker.storage().count_live(broker.now()).await.unwrap();
    assert_eq!((count().await.sessions, count().await.session_tokens), (0, 0));
    let mut tokens = Vec::new();
    for user in ["alice", "bob", "alice"] {
        tokens.push(broker.sign_in(&broker.browser(), "dev", user).await);
    }
    assert_eq!((count().await.sessions, count().await.session_tokens), (3, 3));
    // A successor replaces its parent in the count; a session that has ended takes its tokens with it.
    assert_eq!(broker.post("/api/token/rotate", &tokens[1], &json!({})).await.status, 200);
    assert_eq!(broker.post("/api/logout", &tokens[0], &json!({})).await.status, 200);
    assert_eq!((count().await.sessions, count().await.session_tokens), (2, 2));
    broker.advance(8 * 86_400);
    assert_eq!((count().await.sessions, count().await.session_tokens), (2, 0), "tokens last seven days");
    assert_eq!(count().await.personal_tokens, 0);
}

#[cfg(feature = "postgres")]
#[actix_web::test]
async fn live_sessions_are_counted_in_postgresql() {
    let database = Some(Database::postgres().migrated().await.url);
    let broker = TestBroker::with(Setup { database, ..Setup::default() });
    broker.sign_in(&broker.browser(), "dev", "alice").await;
    let live = broker.storage().count_live(broker.now()).await.unwrap();
    assert_eq!((live.sessions, live.session_tokens, live.personal_tokens), (1, 1, 0));
}

#[actix_web::test]
async fn the_count_appears_in_the_metrics() {
    let broker = TestBroker::start();
    until(async || {
        let page = Metrics::of(&broker).await;
        page.sum("token_broker_live_sessions", &[]).ok_or(page.0)
    })
    .await;
}

fn monitoring(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring").join(name))
        .unwrap()
}

/// The queries of the dashboard and of the alerts.
fn queries() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(&monitoring("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut queries: Vec<String> =
        targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(queries.len() > 20);
    let alerts = crate::support::yaml::documents(&monitoring("alerts.yml")).remove(0);
    let rules = alerts["groups"][0]["rules"].as_array().unwrap().clone();
    queries.extend(rules.iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()));
    queries
}

#[actix_web::test]
async fn dashboard_and_alerts_select_series_that_exist() {
    let broker = TestBroker::start();
    broker.ready().await;
    let page = Metrics::of(&broker).await;
    let selector = Regex::new(r"(token_broker_\w+)(?:\{([^}]*)\})?").unwrap();
    let matcher = Regex::new(r#"(\w+)(=~|!=|!~|=)"([^"]*)""#).unwrap();
    for query in queries() {
        for found in selector.captures_iter(&query) {
            let name = &found[1];
            assert!(page.sum(name, &[]).is_some(), "{name} does not exist: {query}");
            let matchers = found.get(2).map_or("", |matchers| matchers.as_str());
            for matcher in matcher.captures_iter(matchers) {
                let (label, value) = (&matcher[1], &matcher[3]);
                // What Prometheus adds when it scrapes.
                if matches!(label, "job" | "instance") {
                    continue;
                }
                for value in value.split('|') {
                    let labelled = format!("{label}=\"{value}\"");
                    assert!(page.sum(name, &[&labelled]).is_some(), "{name} has no {labelled}: {query}");
                }
            }
        }
        assert!(query.contains("token_broker_") || query.contains("up{"), "{query}");
    }
}

/// `sum by (label)` of a label that does not exist is a single series that says nothing.
#[test]
fn dashboard_and_alerts_group_by_labels_that_exist() {
    let name = Regex::new(r"token_broker_\w+").unwrap();
    let grouping = Regex::new(r"\bby \(([^)]*)\)").unwrap();
    for query in queries() {
        let known: BTreeSet<&str> = name
            .find_iter(&query)
            .filter_map(|found| metric::ALL.iter().find(|metric| found.as_str().starts_with(metric.name)))
            .flat_map(|metric| metric.labels.iter().copied())
            .chain(["le", "instance", "job"])
            .collect();
        for found in grouping.captures_iter(&query) {
            for label in found[1].split(',').map(str::trim) {
                assert!(known.contains(label), "{label}: {query}");
            }
        }
    }
}
