//! A log that no one reads and a shortage of file descriptors: requests are answered, and what was not logged is counted.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::browser::Browser;
use crate::support::outage::report;
use crate::support::process::free_port;
use crate::support::production::{PUBLIC, Production};
use crate::support::program::Program;
use crate::support::wait::{until, until_true};

async fn installation() -> Production {
    let folder = tempfile::tempdir().unwrap().keep();
    let database = format!("sqlite:{}", folder.join("broker.sqlite").display());
    Production::new(&database, "memory:", "https://provider.invalid").await
}

/// A running `serve` whose standard error is a pipe.
struct Piped {
    child: std::process::Child,
    url: String,
    admin_url: String,
}

impl Piped {
    fn start(production: &Production) -> Self {
        let (port, admin) = (free_port(), free_port());
        let child = Command::new(env!("CARGO_BIN_EXE_token-broker"))
            .args(["serve", "--config", "token-broker.toml"])
            .current_dir(production.folder())
            .env_clear()
            .env("TOKEN_BROKER__SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .env("TOKEN_BROKER__SERVER__ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            admin_url: format!("http://127.0.0.1:{admin}"),
        }
    }

    fn browser(&self) -> Browser {
        let browser = Browser::new();
        browser.route(PUBLIC, &self.url);
        browser
    }

    /// How many lines were dropped for this reason.
    async fn dropped(&self, reason: &str) -> u64 {
        let metrics = Browser::new().get(&format!("{}/metrics", self.admin_url), &[]).await;
        let name = format!("token_broker_log_lines_dropped_total{{reason=\"{reason}\"}} ");
        let line = metrics.body.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |number| number.parse().unwrap())
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Requests until so many lines were dropped; all are answered.
async fn ask_until_dropped(instance: &Piped, reason: &str) {
    let browser = instance.browser();
    until_true("lines are dropped", async || {
        let address = format!("{PUBLIC}/nothing");
        let answers = (0..500).map(|_| browser.get(&address, &[]));
        let answers = tokio::time::timeout(Duration::from_secs(20), join_all(answers)).await;
        assert!(answers.expect("it answers").iter().all(|answer| answer.status == 404));
        instance.dropped(reason).await > 0
    })
    .await;
}

#[actix_web::test]
async fn a_log_that_no_one_reads_stops_no_request() {
    let production = installation().await;
    let mut instance = Piped::start(&production);
    let ready = instance.browser();
    until_true("it listens", async || {
        TcpStream::connect(instance.url.strip_prefix("http://").unwrap()).await.is_ok()
    })
    .await;
    ask_until_dropped(&instance, "reader").await;

    // Someone reads again: the lines that waited come first, then the number of those that did not.
    let pipe = BufReader::new(instance.child.stderr.take().unwrap());
    let (lines, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || pipe.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let said = until(async || {
        let found = received.try_iter().find(|line| line.contains("log lines were dropped"));
        ready.get(&format!("{PUBLIC}/nothing"), &[]).await;
        found.ok_or("no report")
    })
    .await;
    let said: Value = serde_json::from_str(&said).unwrap();
    report(&format!("{said}"));
    assert!(said["lines"].as_u64().unwrap() > 0 && said["reason"] == "reader" && said["level"] == "WARN");
}

#[actix_web::test]
async fn a_flood_of_requests_is_logged_up_to_the_limit_per_second() {
    let production = installation().await;
    production.write(&format!("{}\n[log]\nlines_per_second = 50\n", production.config()));
    let mut instance = production.serve("first");
    instance.listens().await;
    let (browser, address) = (instance.browser(), format!("{PUBLIC}/nothing"));
    for _ in 0..4 {
        join_all((0..100).map(|_| browser.get(&address, &[]))).await;
    }
    let line = instance.program.line("log lines were dropped").await;
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["reason"], "rate");
    for probe in ["/healthz", "/readyz"] {
        browser.get(&format!("{PUBLIC}{probe}"), &[]).await;
    }
    let said = instance.program.said();
    assert!(said.matches("\"status\":404").count() < 400);
    assert!(!said.contains("/healthz") && !said.contains("/readyz"), "probes are not logged");
}

/// A limit of 80 files, and more connections than that: those that are accepted are answered, the keys are not reported as
/// unusable, and everything works again afterwards.
#[actix_web::test]
async fn a_shortage_of_descriptors_raises_no_alarm_about_keys() {
    let production = installation().await;
    let (listen, admin) = (free_port(), free_port());
    let few = r#"ulimit -n 120; exec "$0" "$@""#;
    let (own, other) = (format!("127.0.0.1:{listen}"), format!("127.0.0.1:{admin}"));
    let settings = [("TOKEN_BROKER__SERVER__LISTEN", &*own), ("TOKEN_BROKER__SERVER__ADMIN_LISTEN", &*other)];
    let mut program = Program::start_by(
        &["sh", "-c", few],
        production.folder(),
        "few",
        &["serve", "--config", "token-broker.toml"],
        &settings,
    );
    program.line("\"ready\"").await;
    program.line("the limit on open files is lower").await;
    // The listeners start one after the other, and need descriptors for it.
    until_true("the admin listener works", async || TcpStream::connect(&other).await.is_ok()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let open = join_all((0..160).map(|_| TcpStream::connect(&own))).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    drop(open);
    let browser = Browser::new();
    browser.route(PUBLIC, &format!("http://{own}"));
    until(async || {
        let answer = browser.get(&format!("{PUBLIC}/readyz?require=verify"), &[]).await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
    let health = browser.get(&format!("http://{other}/healthz"), &[]).await.json();
    let keys = health["parts"].as_array().unwrap().iter().find(|part| part["name"] == "server keys").unwrap();
    assert_eq!(keys["works"], true, "{health}");
    let said = program.said();
    assert!(!said.contains("server_keys_refused"), "{said}");
}

/// The soft limit is raised to the hard one.
#[actix_web::test]
async fn the_limit_on_descriptors_is_raised() {
    let production = installation().await;
    let (listen, admin) = (free_port(), free_port());
    let (own, other) = (format!("127.0.0.1:{listen}"), format!("127.0.0.1:{admin}"));
    let settings = [
        ("TOKEN_BROKER__SERVER__LISTEN", &*own),
        ("TOKEN_BROKER__SERVER__ADMIN_LISTEN", &*other),
        ("TOKEN_BROKER__SERVER__MAX_CONNECTIONS", "100"),
        ("TOKEN_BROKER__LOG__FILTER", "debug"),
    ];
    let low = r#"ulimit -Sn 200; ulimit -Hn 1000; exec "$0" "$@""#;
    let mut program = Program::start_by(
        &["sh", "-c", low],
        production.folder(),
        "low",
        &["serve", "--config", "token-broker.toml"],
        &settings,
    );
    let line = program.line("the limit on open files").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["limit"], &line["level"]), (&1000.into(), &"DEBUG".into()), "{line}");
}
