//! The one HTTP client for calls to a provider: bounded in time and size, never redirected, never repeated by
//! itself. Nothing else in the program builds a `reqwest` client.
//!
//! All calls of one step (say, token request, keys and UserInfo of one callback) share a [`Deadline`], so that
//! a login at a slow provider ends in time however many calls it needs.

use std::error::Error as StdError;
use std::fmt::Write;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, retry, tls};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use url::Url;
use zeroize::Zeroizing;

use super::ProviderError;
use super::json::{self, JsonError, Object};
use super::settings::Timeouts;

/// The longest answer of a token, UserInfo or profile endpoint, in bytes.
pub(super) const ANSWER_LIMIT: usize = 64 * 1024;

/// The longest metadata document or key set, in bytes.
pub(super) const METADATA_LIMIT: usize = 256 * 1024;

/// Calls to one provider that may be under way at a time.
const CALLS_IN_FLIGHT: usize = 64;

/// Longer than one login's calls are apart, shorter than any server keeps an idle connection: a token request
/// that is lost on a connection which the provider was just closing could not be repeated.
const IDLE_CONNECTION: Duration = Duration::from_secs(3);

/// The longest text of a transport error that goes to the log, in characters.
const ERROR_TEXT_LIMIT: usize = 200;

/// When the calls of one step must be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// Waits for `work`, but not beyond the deadline; `what` names it in the error.
    pub(super) async fn bound<T>(
        self,
        what: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, ProviderError> {
        timeout_at(self.0, work).await.map_err(|_| ProviderError::Timeout(what.to_owned()))
    }
}

/// The client of one provider.
pub(super) struct HttpClient {
    client: Client,
    total: Duration,
    calls: Semaphore,
}

impl HttpClient {
    /// A client for the configured `addresses`, without touching the network.
    ///
    /// Certificates of the system are loaded only where an address is https, so that a broker whose provider
    /// is on this machine runs without any; plain http is possible only where an address is http.
    pub(super) fn new(
        timeouts: Timeouts,
        ca_certificates: &[u8],
        addresses: &[&Url],
    ) -> Result<Self, &'static str> {
        let own = Certificate::from_pem_bundle(ca_certificates)
            .map_err(|_| "ca_certificates must be certificates in PEM form")?;
        if own.is_empty() && !ca_certificates.is_empty() {
            return Err("ca_certificates holds no certificate in PEM form");
        }
        let has = |scheme: &str| addresses.iter().any(|address| address.scheme() == scheme);
        let builder = builder(timeouts).https_only(!has("http"));
        let builder = if has("https") { builder.tls_certs_merge(own) } else { builder.tls_certs_only(own) };
        let client = builder.build().map_err(|_| {
            "no HTTPS client: this machine has no CA certificates (install ca-certificates or configure \
             ca_certificates), or one of those configured is broken"
        })?;
        Ok(Self { client, total: timeouts.total, calls: Semaphore::new(CALLS_IN_FLIGHT) })
    }

    /// The deadline of a step that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline(Instant::now() + self.total)
    }

    /// A GET request, to be sent by [`Self::send`].
    pub(super) fn get(&self, url: &Url) -> RequestBuilder {
        self.client.get(url.clone())
    }

    /// A POST request, to be sent by [`Self::send`].
    pub(super) fn post(&self, url: &Url) -> RequestBuilder {
        self.client.post(url.clone())
    }

    /// Sends a request once and reads at most `limit` bytes of the answer. `what` names the call in errors.
    ///
    /// # Errors
    ///
    /// Unavailable for a provider that cannot be reached, breaks off, answers 5xx or 429; Timeout after the
    /// deadline; Unusable for a longer answer.
    pub(super) async fn send(
        &self,
        what: &'static str,
        request: RequestBuilder,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Answer, ProviderError> {
        let call = async {
            let _permit = self.calls.acquire().await;
            let request = request.header(ACCEPT, "application/json");
            let response = request.send().await.map_err(|error| failure(what, error))?;
            let status = response.status();
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(ProviderError::Unavailable(format!("{what}: status {}", status.as_u16())));
            }
            let is_json = has_json_media_type(response.headers());
            Ok(Answer { what, status, is_json, body: body(what, response, limit).await? })
        };
        deadline.bound(what, call).await?
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that builds HTTP clients")]
fn builder(timeouts: Timeouts) -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent("token-broker")
        .redirect(Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.total)
        .pool_idle_timeout(IDLE_CONNECTION)
        .tls_version_min(tls::Version::TLS_1_2)
}

async fn body(what: &str, mut response: Response, limit: usize) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(what, error))? {
        if body.len() + chunk.len() > limit {
            return Err(ProviderError::Unusable(format!("{what}: longer than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `application/json` or another JSON type (RFC 6839), with any parameters.
fn has_json_media_type(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Names a transport error by its causes, without the URL, which may hold what nobody may read.
fn failure(what: &str, error: reqwest::Error) -> ProviderError {
    let error = error.without_url();
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        let _ = write!(text, ": {source}");
        cause = source.source();
    }
    let text = text.chars().filter(|c| !c.is_control()).take(ERROR_TEXT_LIMIT).collect();
    match error {
        error if error.is_timeout() => ProviderError::Timeout(text),
        error if error.is_builder() => ProviderError::Unusable(text),
        _ => ProviderError::Unavailable(text),
    }
}

/// An answer that arrived whole. Never printed: it may hold tokens.
pub(super) struct Answer {
    what: &'static str,
    status: StatusCode,
    is_json: bool,
    body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The JSON object of a successful answer.
    pub(super) fn object(&self) -> Result<Object, ProviderError> {
        self.check_success()?;
        json::object(&self.body).map_err(|error| self.unusable(error))
    }

    /// The JSON value of a successful answer.
    pub(super) fn value(&self) -> Result<Value, ProviderError> {
        self.check_success()?;
        json::value(&self.body).map_err(|error| self.unusable(error))
    }

    /// The status, and the JSON object where there is one, whatever the status.
    pub(super) fn into_parts(self) -> (StatusCode, Option<Object>) {
        let object = if self.is_json { json::object(&self.body).ok() } else { None };
        (self.status, object)
    }

    /// Status 200 with a JSON media type: nothing else is success, a redirect least of all.
    fn check_success(&self) -> Result<(), ProviderError> {
        let problem = match self.status {
            StatusCode::OK if self.is_json => return Ok(()),
            StatusCode::OK => "the media type is not JSON".to_owned(),
            status => format!("status {}", status.as_u16()),
        };
        Err(ProviderError::Unusable(format!("{}: {problem}", self.what)))
    }

    fn unusable(&self, error: JsonError) -> ProviderError {
        ProviderError::Unusable(format!("{}: the answer {error}", self.what))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use serde_json::json;

    use super::super::fake::server::{Reply, Server, read};
    use super::super::fake::{kind, url};
    use super::*;

    const LIMIT: usize = 1024;
    const SHORT: Timeouts =
        Timeouts { connect: Duration::from_millis(300), total: Duration::from_millis(300) };

    fn client(timeouts: Timeouts, ca: &[u8], address: &Url) -> Result<HttpClient, &'static str> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        HttpClient::new(timeouts, ca, &[address])
    }

    async fn fetched_within(timeouts: Timeouts, url: &Url, ca: &[u8]) -> Result<Object, ProviderError> {
        let http = client(timeouts, ca, url).unwrap();
        http.send("test", http.get(url), LIMIT, http.deadline()).await?.object()
    }

    async fn fetched(server: &Server) -> Result<Object, ProviderError> {
        fetched_within(Timeouts::default(), &server.url("/secret?code=1"), &[]).await
    }

    #[tokio::test]
    async fn a_good_answer_is_read() {
        for media_type in ["application/json", "Application/JSON; charset=utf-8", "application/jwk-set+json"]
        {
            let head = format!("content-type: {media_type}\r\n");
            let server = Server::start(move |_| Reply::new(200, &head, r#"{"a":1}"#));
            assert_eq!(fetched(&server).await.unwrap()["a"], 1, "{media_type}");
            assert_eq!(server.received()[0].header("user-agent"), Some("token-broker"));
        }
    }

    #[tokio::test]
    async fn pr_03_no_redirect_is_followed() {
        for status in [301, 302, 303, 307, 308] {
            let target = Arc::new(Server::start(|_| Reply::json(&json!({}))));
            let head = format!("location: {}\r\ncontent-type: application/json\r\n", target.url("/"));
            let server = Server::start(move |_| Reply::new(status, &head, "{}"));
            assert_eq!(kind(fetched(&server).await), "unusable", "{status}");
            assert_eq!(target.received().len(), 0, "{status}");
        }
    }

    #[tokio::test]
    async fn pr_04_a_slow_answer_ends_in_time() {
        let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
        for sent in ["", "HTTP/1.1 200", head] {
            let server = Server::start(move |_| Reply::Hang(sent.into()));
            let outcome = fetched_within(SHORT, &server.url("/"), &[]).await;
            assert_eq!(kind(outcome), "timeout", "{sent:?}");
        }
    }

    #[tokio::test]
    async fn pr_04_all_calls_of_a_step_share_one_deadline() {
        let server = Server::start(|_| Reply::Hang(Vec::new()));
        let http = client(SHORT, &[], &server.url("/")).unwrap();
        let deadline = http.deadline();
        let began = Instant::now();
        for _ in 0..3 {
            let outcome = http.send("test", http.get(&server.url("/")), LIMIT, deadline).await;
            assert_eq!(kind(outcome), "timeout");
        }
        assert!(began.elapsed() < 2 * SHORT.total, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn pr_04_the_body_is_cut_while_it_streams() {
        let json = "content-type: application/json\r\n";
        let exact = format!("\"{}\"", "x".repeat(LIMIT - 2));
        let longer = format!("\"{}\"", "x".repeat(LIMIT - 1));
        let endless = format!("HTTP/1.1 200 X\r\n{json}transfer-encoding: chunked\r\n\r\n");
        let server = Server::start(move |request| match request.target.as_str() {
            "/exact" => Reply::new(200, json, &exact),
            "/longer" => Reply::new(200, json, &longer),
            _ => Reply::Flood(endless.clone().into(), b"8\r\nxxxxxxxx\r\n".into()),
        });
        let http = client(Timeouts::default(), &[], &server.url("/")).unwrap();
        for (path, expected) in [("/exact", "ok"), ("/longer", "unusable"), ("/endless", "unusable")] {
            let outcome = http.send("test", http.get(&server.url(path)), LIMIT, http.deadline()).await;
            assert_eq!(kind(outcome), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn pr_05_only_json_of_status_200_counts() {
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
        let outcome = fetched_within(Timeouts::default(), &url(&format!("http://{closed}/")), &[]).await;
        assert_eq!(kind(outcome), "unavailable");
    }

    #[tokio::test]
    async fn er_04_errors_hold_no_url() {
        for reply in [Reply::status(500), Reply::status(302), Reply::Raw(Vec::new())] {
            let server = Server::start(move |_| reply.clone());
            let text = fetched(&server).await.unwrap_err().to_string();
            assert!(!text.contains("secret") && !text.contains("code"), "{text}");
        }
    }

    #[tokio::test]
    async fn pr_02_plain_http_is_refused_where_https_is_configured() {
        let server = Server::start(|_| Reply::json(&json!({})));
        let http = client(Timeouts::default(), &[], &url("https://login.example.com")).unwrap();
        let outcome = http.send("test", http.get(&server.url("/")), LIMIT, http.deadline()).await;
        assert_eq!(kind(outcome), "unusable");
        assert_eq!(server.received().len(), 0);
    }

    /// A TLS server for `name`, and the certificate authority that vouches for it, as PEM.
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
                // A client that does not trust the certificate ends the connection before it asks.
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
    async fn pr_02_certificate_and_host_name_are_verified() {
        let (port, ca) = tls_server("localhost");
        let (_, other_ca) = tls_server("localhost");
        let right = url(&format!("https://localhost:{port}/"));
        let other_name = url(&format!("https://127.0.0.1:{port}/"));
        let fetch = |url: Url, ca: String| async move {
            fetched_within(Timeouts::default(), &url, ca.as_bytes()).await
        };
        assert_eq!(kind(fetch(right.clone(), ca.clone()).await), "ok");
        assert_eq!(kind(fetch(other_name, ca).await), "unavailable");
        assert_eq!(kind(fetch(right.clone(), other_ca).await), "unavailable");
        let error = fetch(right, String::new()).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }

    #[test]
    fn a_broken_ca_is_refused_at_the_start() {
        let address = url("https://login.example.com");
        let truncated = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for bad in [&b"no certificate"[..], b"-----BEGIN CERTIFICATE-----\n", truncated] {
            assert!(client(SHORT, bad, &address).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    /// Runs itself again on a "machine" without certificates: only a process of its own can have another
    /// environment.
    #[test]
    fn without_system_certificates_a_loopback_provider_still_works() {
        const MARK: &str = "TEST_WITHOUT_SYSTEM_CERTIFICATES";
        if std::env::var_os(MARK).is_some() {
            let (_, ca) = tls_server("localhost");
            let remote = url("https://login.example.com");
            assert!(client(SHORT, &[], &url("http://127.0.0.1:1/")).is_ok());
            assert!(client(SHORT, ca.as_bytes(), &remote).is_ok());
            assert!(client(SHORT, &[], &remote).err().unwrap().contains("ca_certificates"));
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
}
