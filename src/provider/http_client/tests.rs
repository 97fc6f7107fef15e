//! Tests of the client against a server that misbehaves in many ways.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use super::super::fake::server::{Reply, Server, read};
use super::super::fake::{kind, url};
use super::*;
use crate::domain::clock::monotonic;

const LIMIT: usize = 1024;
const SHORT: Timeouts = Timeouts { connect: Duration::from_millis(300), total: Duration::from_millis(300) };

fn client(timeouts: Timeouts, ca: &str, address: &Url) -> Result<HttpClient, &'static str> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca = if ca.is_empty() { CaCertificates::default() } else { ca.parse().unwrap() };
    HttpClient::new(&"corp".parse().unwrap(), timeouts, &ca, &[address])
}

async fn fetched_within(timeouts: Timeouts, url: &Url, ca: &str) -> Result<Object, ProviderError> {
    let http = client(timeouts, ca, url).unwrap();
    http.send("test", http.get(url), LIMIT, http.deadline()).await?.object()
}

async fn fetched(server: &Server) -> Result<Object, ProviderError> {
    fetched_within(Timeouts::default(), &server.url("/secret?code=1"), "").await
}

#[tokio::test]
async fn a_good_response_is_read() {
    for media_type in ["application/json", "Application/JSON; charset=utf-8", "application/jwk-set+json"] {
        let head = format!("content-type: {media_type}\r\n");
        let server = Server::start(move |_| Reply::new(200, &head, r#"{"a":1}"#));
        assert_eq!(fetched(&server).await.unwrap()["a"], 1, "{media_type}");
        assert_eq!(server.received()[0].header("user-agent"), Some("token-broker"));
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    for status in [301, 302, 303, 307, 308] {
        let target = Arc::new(Server::start(|_| Reply::json(&json!({}))));
        let head = format!("location: {}\r\ncontent-type: application/json\r\n", target.url("/"));
        let server = Server::start(move |_| Reply::new(status, &head, "{}"));
        assert_eq!(kind(fetched(&server).await), "unusable", "{status}");
        assert_eq!(target.received().len(), 0, "{status}");
    }
}

#[tokio::test]
async fn a_slow_response_times_out() {
    let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    for sent in ["", "HTTP/1.1 200", head] {
        let server = Server::start(move |_| Reply::Hang(sent.into()));
        let outcome = fetched_within(SHORT, &server.url("/"), "").await;
        assert_eq!(kind(outcome), "timeout", "{sent:?}");
    }
}

#[tokio::test]
async fn all_calls_of_a_step_share_one_deadline() {
    let server = Server::start(|_| Reply::Hang(Vec::new()));
    let http = client(SHORT, "", &server.url("/")).unwrap();
    let deadline = http.deadline();
    let start = monotonic();
    for _ in 0..20 {
        let outcome = http.send("test", http.get(&server.url("/")), LIMIT, deadline).await;
        assert_eq!(kind(outcome), "timeout");
    }
    assert!(start.elapsed() < 10 * SHORT.total, "{:?}", start.elapsed());
}

#[tokio::test]
async fn reading_stops_when_the_body_is_too_long() {
    let json = "content-type: application/json\r\n";
    let exact = format!("\"{}\"", "x".repeat(LIMIT - 2));
    let longer = format!("\"{}\"", "x".repeat(LIMIT - 1));
    let endless = format!("HTTP/1.1 200 X\r\n{json}transfer-encoding: chunked\r\n\r\n");
    let server = Server::start(move |request| match request.target.as_str() {
        "/exact" => Reply::new(200, json, &exact),
        "/longer" => Reply::new(200, json, &longer),
        _ => Reply::Flood(endless.clone().into(), b"8\r\nxxxxxxxx\r\n".into()),
    });
    let http = client(Timeouts::default(), "", &server.url("/")).unwrap();
    for (path, expected) in [("/exact", "ok"), ("/longer", "unusable"), ("/endless", "unusable")] {
        let outcome = http.send("test", http.get(&server.url(path)), LIMIT, http.deadline()).await;
        assert_eq!(kind(outcome), expected, "{path}");
    }
}

#[tokio::test]
async fn only_status_200_with_json_is_a_success() {
    let cases = [
        (200, "text/html", "{}"),
        (200, "text/json", "{}"),
        (200, "application/jsonp", "{}"),
        (200, "", "{}"),
        (201, "application/json", "{}"),
        (204, "application/json", ""),
        (400, "application/json", "{}"),
        (404, "application/json", "{}"),
        (200, "application/json", "<html>"),
        (200, "application/json", "[]"),
        (200, "application/json", r#"{"a":1,"a":2}"#),
    ];
    for (status, media_type, body) in cases {
        let head = format!("content-type: {media_type}\r\n");
        let server = Server::start(move |_| Reply::new(status, &head, body));
        assert_eq!(kind(fetched(&server).await), "unusable", "{status} {media_type} {body}");
    }
}

#[tokio::test]
async fn an_outage_is_unavailable_and_never_invalid() {
    for status in [429, 500, 502, 503, 504] {
        let server = Server::start(move |_| Reply::status(status));
        assert_eq!(kind(fetched(&server).await), "unavailable", "{status}");
    }
    let cut = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    for sent in ["", "HTTP/1.1 200", cut] {
        let server = Server::start(move |_| Reply::Raw(sent.into()));
        assert_eq!(kind(fetched(&server).await), "unavailable", "{sent:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = fetched_within(Timeouts::default(), &url(&format!("http://{closed}/")), "").await;
    assert_eq!(kind(outcome), "unavailable");
}

/// Connections that end before, in and after the head of the response.
#[tokio::test]
async fn a_request_whose_connection_is_lost_is_sent_once_more_unless_it_must_not() {
    let cut = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    for lost in ["", "HTTP/1.1 200", cut] {
        let sent = AtomicUsize::new(0);
        let server = Server::start(move |_| match sent.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::Raw(lost.into()),
            _ => Reply::json(&json!({"a": 1})),
        });
        assert_eq!(fetched(&server).await.unwrap()["a"], 1, "{lost:?}");
        assert_eq!(server.received().len(), 2, "{lost:?}");

        let server = Server::start(move |_| Reply::Raw(lost.into()));
        assert_eq!(kind(fetched(&server).await), "unavailable", "{lost:?}");
        assert_eq!(server.received().len(), 2, "not a third time");
        let http = client(Timeouts::default(), "", &server.url("/")).unwrap();
        let outcome = http.send_once("test", http.post(&server.url("/")), LIMIT, http.deadline()).await;
        assert_eq!(kind(outcome.and_then(|answer| answer.object())), "unavailable", "{lost:?}");
        assert_eq!(server.received().len(), 3, "a POST is sent once");
        // A provider may want its token request as GET.
        let outcome = http.send_once("test", http.get(&server.url("/")), LIMIT, http.deadline()).await;
        assert_eq!(kind(outcome.and_then(|answer| answer.object())), "unavailable", "{lost:?}");
        assert_eq!(server.received().len(), 4, "nor is a GET that redeems a code");
    }
    let server = Server::start(|_| Reply::status(500));
    assert_eq!(kind(fetched(&server).await), "unavailable");
    assert_eq!(server.received().len(), 1, "an answer is an answer");
}

#[tokio::test]
async fn errors_contain_no_url() {
    for reply in [Reply::status(500), Reply::status(302), Reply::Raw(Vec::new())] {
        let server = Server::start(move |_| reply.clone());
        let text = fetched(&server).await.unwrap_err().to_string();
        assert!(!text.contains("secret") && !text.contains("code"), "{text}");
    }
}

#[tokio::test]
async fn plain_http_is_refused_if_https_is_configured() {
    let server = Server::start(|_| Reply::json(&json!({})));
    let http = client(Timeouts::default(), "", &url("https://login.example.com")).unwrap();
    let outcome = http.send("test", http.get(&server.url("/")), LIMIT, http.deadline()).await;
    assert_eq!(kind(outcome), "unusable");
    assert_eq!(server.received().len(), 0);
}

/// Starts a TLS server for `name`; returns its port and the certificate of its certificate authority in PEM format.
fn tls_server(name: &str) -> (u16, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let key = key.serialize_der().try_into().unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![leaf.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, connection.unwrap());
            let Reply::Raw(answer) = Reply::json(&json!({"a": 1})) else { panic!("raw bytes") };
            // A client that does not trust the certificate closes the connection before it sends a request.
            if read(&mut stream).is_some() {
                let _ = stream.write_all(&answer);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (port, pem)
}

#[tokio::test]
async fn certificate_and_host_name_are_verified() {
    let (port, ca) = tls_server("localhost");
    let (_, other_ca) = tls_server("localhost");
    let right = url(&format!("https://localhost:{port}/"));
    let other_name = url(&format!("https://127.0.0.1:{port}/"));
    let fetch = |url: Url, ca: String| async move { fetched_within(Timeouts::default(), &url, &ca).await };
    assert_eq!(kind(fetch(right.clone(), ca.clone()).await), "ok");
    assert_eq!(kind(fetch(other_name, ca).await), "unavailable");
    assert_eq!(kind(fetch(right.clone(), other_ca).await), "unavailable");
    let error = fetch(right, String::new()).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// Runs itself again on a "machine" without certificates: only a process of its own can have another
/// environment.
#[test]
fn without_system_certificates_a_loopback_provider_still_works() {
    const MARK: &str = "TEST_WITHOUT_SYSTEM_CERTIFICATES";
    if std::env::var_os(MARK).is_some() {
        let (_, ca) = tls_server("localhost");
        let remote = url("https://login.example.com");
        assert!(client(SHORT, "", &url("http://127.0.0.1:1/")).is_ok());
        assert!(client(SHORT, &ca, &remote).is_ok());
        assert!(client(SHORT, "", &remote).err().unwrap().contains("ca-certificates"));
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let own_name = std::thread::current().name().unwrap().to_owned();
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &own_name])
        .env(MARK, "1")
        .env("SSL_CERT_FILE", empty.path().join("none"))
        .env("SSL_CERT_DIR", empty.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}
