//! What a connection may send, and by when: heads, bodies and pipelined requests, on both listeners, on the first and
//! on later requests. These tests measure real deadlines; the slow ones run side by side.

use std::time::Duration;

use futures_util::future::join_all;
use token_broker::domain::clock::{Moment, monotonic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::broker::{Setup, TestBroker};
use crate::support::log::Listener;
use crate::support::raw::RawAnswer;
use crate::support::wait::until_true;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";

/// More than any deadline, and less than the time for which an idle connection is kept.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection that sends what no HTTP library would.
struct Caller {
    stream: TcpStream,
    begun: Moment,
}

impl Caller {
    async fn connect(listener: &str) -> Self {
        let address = listener.strip_prefix("http://").unwrap();
        Self { stream: TcpStream::connect(address).await.unwrap(), begun: monotonic() }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads one answer with a `Content-Length`.
    async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            assert_ne!(
                self.stream.read_buf(&mut text).await.unwrap(),
                0,
                "{}",
                String::from_utf8_lossy(&text)
            );
            let known = String::from_utf8_lossy(&text).into_owned();
            let Some((head, body)) = known.split_once("\r\n\r\n") else { continue };
            let length = head.to_lowercase();
            let length: usize =
                length.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                assert_eq!(body.len(), length, "only one answer: {known}");
                return known;
            }
        }
    }

    /// Waits for the end of the connection; returns what was answered until then, and after how long it ended.
    async fn end(mut self) -> (String, Duration) {
        let mut text = Vec::new();
        // A reset also is an end.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut text)).await.expect("the connection ends");
        (String::from_utf8_lossy(&text).into_owned(), self.begun.elapsed())
    }
}

/// Every way to leave a request unfinished, with the status of the answer, if there is one, and the time in seconds
/// within which the connection must end.
const UNFINISHED: &[(&str, &str, Option<&str>, u64)] = &[
    (
        "a chunked body that no handler reads",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        Some("200"),
        4,
    ),
    (
        "one that has begun",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        Some("200"),
        4,
    ),
    (
        "a sized body that no handler reads",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
        Some("200"),
        4,
    ),
    (
        "a body of a path that does not exist",
        "POST /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        Some("404"),
        4,
    ),
    ("a head", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow:", Some("408"), 13),
    ("nothing at all", "", Some("408"), 13),
];

#[actix_web::test]
async fn an_unfinished_request_ends_its_connection() {
    let broker = TestBroker::start();
    broker.ready().await;
    let listeners = [&broker.real_url, &broker.admin_url];
    let cases = UNFINISHED.iter().flat_map(|case| listeners.iter().map(move |listener| (case, listener)));
    join_all(cases.map(async |((what, sent, status, within), listener)| {
        let mut caller = Caller::connect(listener).await;
        caller.send(sent).await;
        let (answered, after) = caller.end().await;
        assert_eq!(answered.split(' ').nth(1), *status, "{what} at {listener}: {answered}");
        assert!(after < Duration::from_secs(*within), "{what} at {listener} ended after {after:?}");
    }))
    .await;
}

#[actix_web::test]
async fn a_body_that_a_handler_waits_for_is_answered_408() {
    let broker = TestBroker::start();
    let mut caller = Caller::connect(&broker.real_url).await;
    caller
        .send("POST /api/get_token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"\r\n")
        .await;
    let (answered, after) = caller.end().await;
    assert!(answered.starts_with("HTTP/1.1 408 ") && answered.contains("request_id"), "{answered}");
    assert!(after < Duration::from_secs(14), "ended after {after:?}");
}

/// What never becomes a request is answered like every other refusal.
#[actix_web::test]
async fn a_refusal_before_the_request_has_headers_body_and_log_line() {
    let log = Listener::start();
    let broker = TestBroker::with(Setup::https());
    broker.ready().await;
    let long = "a".repeat(17 * 1024);
    let many: String = (0..100).map(|number| format!("X-{number}: a\r\n")).collect();
    let cases: [(&str, &str, String, u16, &str); 9] = [
        ("no HTTP", "", "\u{16}\u{3}\u{1}\u{0}\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("another protocol", "", "GET / SPDY/3\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("no method", "", "/ HTTP/1.1\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("a header without a colon", "", format!("{HEALTH}x\r\n\r\n"), 400, "invalid_request"),
        ("two lengths", "", format!("{HEALTH}Content-Length: 1, 2\r\n\r\n"), 400, "invalid_request"),
        ("after an answer", HEALTH, format!("{HEALTH}x\r\n\r\n"), 400, "invalid_request"),
        ("a large head", "", format!("{HEALTH}X: {long}\r\n\r\n"), 431, "head_too_large"),
        ("many headers", "", format!("{HEALTH}{many}\r\n"), 431, "head_too_large"),
        ("a late head", "", HEALTH.to_owned(), 408, "request_timeout"),
    ];
    join_all(cases.iter().map(async |(what, earlier, sent, status, code)| {
        let mut caller = Caller::connect(&broker.real_url).await;
        if !earlier.is_empty() {
            caller.send(format!("{earlier}\r\n")).await;
            assert!(caller.answer().await.starts_with("HTTP/1.1 200 "));
        }
        caller.send(sent).await;
        let answer = RawAnswer(caller.end().await.0);
        assert_eq!(answer.status(), Some(*status), "{what}: {answer:?}");
        assert_eq!(answer.0.matches("HTTP/1.1 ").count(), 1, "{what}: {answer:?}");
        for (name, value) in [
            ("content-type", "application/problem+json"),
            ("connection", "close"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("content-length", &*answer.body().len().to_string()),
        ] {
            assert_eq!(answer.header(name), Some(value), "{what}");
        }
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"), "{what}");
        let date = answer.header("date").unwrap();
        assert!(
            chrono::DateTime::parse_from_rfc2822(date).is_ok() && date.ends_with(" GMT"),
            "{what}: {date}"
        );
        let body: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
        assert_eq!((&body["code"], &body["status"]), (&(*code).into(), &(*status).into()), "{what}");
        assert_eq!(body["request_id"], answer.header("x-request-id").unwrap(), "{what}");
        let [event] = &log.of(answer.header("x-request-id").unwrap())[..] else { panic!("{what}") };
        let logged = (&event["status"], &event["code"], &event["address"]);
        assert_eq!(logged, (&(*status).into(), &(*code).into(), &"127.0.0.1".into()), "{what}: {event}");
    }))
    .await;
}

/// A broken body of a request that is answered gets no second answer.
#[actix_web::test]
async fn a_broken_chunk_is_answered_once() {
    let broker = TestBroker::start();
    for path in ["/api/get_token", "/healthz"] {
        let mut caller = Caller::connect(&broker.real_url).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        caller.send(format!("{head}Transfer-Encoding: chunked\r\n\r\nxyz\r\n")).await;
        let (answered, _) = caller.end().await;
        assert_eq!(answered.matches("HTTP/1.1 ").count(), 1, "{path}: {answered}");
        assert!(answered.contains("x-request-id: "), "{path}: {answered}");
    }
}

/// A caller that waits for permission to send its body is told at once that it is too large.
#[actix_web::test]
async fn a_caller_that_asks_before_it_sends_gets_the_answer_that_is_known() {
    let broker = TestBroker::start();
    let head = "POST /api/get_token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n";
    let mut caller = Caller::connect(&broker.real_url).await;
    caller.send(format!("{head}Content-Length: 100000\r\n\r\n")).await;
    let (answered, after) = caller.end().await;
    assert!(answered.starts_with("HTTP/1.1 413 ") && answered.contains("content_too_large"), "{answered}");
    assert!(after < Duration::from_secs(4), "{after:?}");
    // A body that is welcome still gets its 100.
    let mut caller = Caller::connect(&broker.real_url).await;
    let body = r#"{"one_time_key":"tbo_unknown","code_verifier":"x"}"#;
    caller.send(format!("{head}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    let mut permission = [0; 25];
    caller.stream.read_exact(&mut permission).await.unwrap();
    assert_eq!(&permission, b"HTTP/1.1 100 Continue\r\n\r\n");
    caller.send(body).await;
    assert!(caller.end().await.0.starts_with("HTTP/1.1 400 "));
}

/// A byte each second does not hold a connection any longer, neither in the first nor in a later request.
#[actix_web::test]
async fn trickling_bytes_do_not_keep_a_connection() {
    let broker = TestBroker::start();
    let begin = ["", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"];
    join_all(begin.iter().map(async |earlier| {
        let mut caller = Caller::connect(&broker.real_url).await;
        if !earlier.is_empty() {
            caller.send(earlier).await;
            assert!(caller.answer().await.starts_with("HTTP/1.1 200 "));
        }
        caller.send(HEALTH).await;
        let begun = monotonic();
        while caller.stream.write_all(b"X").await.is_ok() && begun.elapsed() < PATIENCE {
            if timeout(Duration::from_millis(500), caller.stream.read_u8())
                .await
                .is_ok_and(|read| read.is_err())
            {
                break;
            }
        }
        let after = begun.elapsed();
        assert!(after < Duration::from_secs(14), "after {earlier:?} it ended after {after:?}");
    }))
    .await;
}

#[actix_web::test]
async fn a_head_over_16_kib_is_refused() {
    let broker = TestBroker::start();
    broker.ready().await;
    let head = |value: usize| format!("{HEALTH}X-Long: {}\r\n\r\n", "a".repeat(value));
    let small = head(15 * 1024);
    for listener in [&broker.real_url, &broker.admin_url] {
        for earlier in [0, 2] {
            let mut caller = Caller::connect(listener).await;
            for _ in 0..earlier {
                caller.send(&small).await;
                assert!(caller.answer().await.starts_with("HTTP/1.1 200 "));
            }
            caller.send(head(17 * 1024)).await;
            let (answered, _) = caller.end().await;
            assert!(answered.starts_with("HTTP/1.1 431 "), "after {earlier} at {listener}: {answered}");
        }
    }
}

#[actix_web::test]
async fn a_declared_body_over_16_kib_is_refused_before_it_is_sent() {
    let broker = TestBroker::start();
    for path in ["/api/get_token", "/api/logout", "/oauth2/backchannel_logout", "/logout"] {
        let mut caller = Caller::connect(&broker.real_url).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        caller.send(format!("{head}Content-Length: 16385\r\n\r\n")).await;
        let (answered, after) = caller.end().await;
        assert!(answered.starts_with("HTTP/1.1 413 "), "{path}: {answered}");
        assert!(after < Duration::from_secs(4), "{path}: {after:?}");
    }
}

#[actix_web::test]
async fn an_endless_body_is_not_swallowed() {
    let broker = TestBroker::start();
    let chunk = format!("4000\r\n{}\r\n", "a".repeat(0x4000));
    for (method, path) in [("POST", "/api/get_token"), ("GET", "/healthz"), ("POST", "/nothing")] {
        let mut caller = Caller::connect(&broker.real_url).await;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        caller.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
        let mut sent = 0;
        let sending = async {
            while caller.stream.write_all(chunk.as_bytes()).await.is_ok() {
                sent += chunk.len();
            }
        };
        timeout(Duration::from_secs(14), sending).await.expect("the connection ends");
        // What the sockets' buffers hold is on top of what the broker reads.
        assert!(sent < 8 * 1024 * 1024, "{path} took {sent} bytes");
    }
}

#[actix_web::test]
async fn a_connection_serves_many_requests_in_order() {
    let broker = TestBroker::start();
    let mut caller = Caller::connect(&broker.real_url).await;
    for _ in 0..3 {
        caller.send(format!("{HEALTH}\r\n")).await;
        assert!(caller.answer().await.starts_with("HTTP/1.1 200 "));
        // A body that is read leaves the connection in step.
        let body = r#"{"one_time_key":"tbo_unknown"}"#;
        let head = "POST /api/get_token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        caller.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        assert!(caller.answer().await.starts_with("HTTP/1.1 400 "));
    }
    let pipelined = format!(
        "{HEALTH}\r\nGET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n{HEALTH}Connection: close\r\n\r\n"
    );
    caller.send(pipelined).await;
    let (answered, _) = caller.end().await;
    let statuses: Vec<_> = answered.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200"], "{answered}");
}

/// A large answer that its caller reads slowly is not cut off by the deadlines for what the caller sends.
#[actix_web::test]
async fn a_slow_reader_gets_the_whole_answer() {
    let broker = TestBroker::start();
    let mut caller = Caller::connect(&broker.real_url).await;
    let bundle = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // More than one head's worth of further requests waits behind the large answers.
    let waiting = format!("{HEALTH}\r\n").repeat(400);
    caller.send(format!("{}{waiting}{HEALTH}Connection: close\r\n\r\n", bundle.repeat(6))).await;
    sleep(Duration::from_secs(12)).await;
    let (answered, _) = caller.end().await;
    assert_eq!(answered.matches("HTTP/1.1 ").count(), 6 + 400 + 1, "{} bytes", answered.len());
}

#[actix_web::test]
async fn http_1_0_can_keep_its_connection() {
    let broker = TestBroker::start();
    let mut caller = Caller::connect(&broker.real_url).await;
    for _ in 0..3 {
        caller.send("GET /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n").await;
        assert!(caller.answer().await.contains(" 200 "));
    }
}

#[actix_web::test]
async fn a_large_chunk_sent_at_once_gets_its_answer() {
    let broker = TestBroker::start();
    for size in [17_000, 100_000] {
        let mut caller = Caller::connect(&broker.real_url).await;
        let head = "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let body = format!("{size:x}\r\n{}", "a".repeat(size));
        caller.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
        // The broker may close before all of it is sent.
        let _ = caller.stream.write_all(body.as_bytes()).await;
        let mut first = [0; 12];
        caller.stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 413", "{size}");
    }
}

#[actix_web::test]
async fn a_request_after_connection_close_is_not_answered() {
    let broker = TestBroker::start();
    let last = format!("{HEALTH}Connection: close\r\n\r\n");
    for (what, sent) in [
        ("close", format!("{last}{HEALTH}\r\n")),
        ("HTTP/1.0", format!("GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n{HEALTH}\r\n")),
        ("an unread body", format!("{HEALTH}Content-Length: 3\r\n\r\nabc{HEALTH}\r\n")),
    ] {
        let mut caller = Caller::connect(&broker.real_url).await;
        caller.send(sent).await;
        let (answered, _) = caller.end().await;
        assert_eq!(answered.matches("HTTP/1.").count(), 1, "{what}: {answered}");
        assert!(answered.contains(" 200 ") && answered.ends_with('}'), "{what}: {answered}");
    }
}

/// Silent connections up to the limit end by themselves, so that others get in again.
#[actix_web::test]
async fn callers_that_say_nothing_lock_no_one_out_for_long() {
    let broker = TestBroker::start();
    broker.ready().await;
    let callers = join_all((0..300).map(|_| Caller::connect(&broker.real_url))).await;
    let chunked = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let ends = join_all(callers.into_iter().map(async |mut caller| {
        caller.send(chunked).await;
        caller.end().await.1
    }));
    let checks = async {
        sleep(Duration::from_millis(200)).await;
        broker.browser().get(&broker.at("/readyz"), &[]).await
    };
    let (ends, check) = futures_util::future::join(ends, checks).await;
    assert_eq!(check.status, 200);
    assert!(ends.iter().all(|after| *after < Duration::from_secs(10)), "{:?}", ends.iter().max());
}

/// Connections that one address leaves open do not take those of others. A trusted proxy has no share: its connections are
/// those of all users.
#[actix_web::test]
async fn one_address_gets_a_share_of_the_connections() {
    for (proxies, served) in [(Vec::new(), 20), (vec!["127.0.0.0/8".parse().unwrap()], 30)] {
        let broker = TestBroker::with(Setup::default().adjust(move |config| {
            config.server.max_connections_per_address = 20;
            config.http.trusted_proxies.clone_from(&proxies);
        }));
        let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut open = Vec::new();
        for _ in 0..30 {
            let mut caller = Caller::connect(&broker.real_url).await;
            let _ = caller.stream.write_all(request.as_bytes()).await;
            let mut bytes = [0; 1_024];
            let read = caller.stream.read(&mut bytes).await.unwrap_or(0);
            open.extend((read > 0).then_some(caller));
        }
        assert_eq!(open.len(), served);
        drop(open);
        until_true("the share is free again", async || {
            let mut caller = Caller::connect(&broker.real_url).await;
            let sent = caller.stream.write_all(request.as_bytes()).await.is_ok();
            sent && caller.stream.read(&mut [0; 1_024]).await.is_ok_and(|read| read > 0)
        })
        .await;
    }
}
