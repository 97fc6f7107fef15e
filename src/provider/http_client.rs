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
use reqwest::{Client, RequestBuilder, Response, StatusCode, retry, tls};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use url::Url;
use zeroize::Zeroizing;

use super::ProviderError;
use super::json::{self, JsonError, Object};
use super::settings::{CaCertificates, Timeouts};
use crate::domain::clock::monotonic;

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
    /// The same, but no later than `time` from now.
    pub(super) fn at_most(self, time: Duration) -> Self {
        Self(self.0.min(Instant::from_std(monotonic()) + time))
    }

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
        ca_certificates: &CaCertificates,
        addresses: &[&Url],
    ) -> Result<Self, &'static str> {
        let own = ca_certificates.0.clone();
        let has = |scheme: &str| addresses.iter().any(|address| address.scheme() == scheme);
        let builder = builder(timeouts).https_only(!has("http"));
        let builder = if has("https") { builder.tls_certs_merge(own) } else { builder.tls_certs_only(own) };
        let client = builder.build().map_err(|_| {
            "no HTTPS client: this machine has no CA certificates; install ca-certificates or set ca_file"
        })?;
        Ok(Self { client, total: timeouts.total, calls: Semaphore::new(CALLS_IN_FLIGHT) })
    }

    /// The deadline of a step that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline(Instant::from_std(monotonic()) + self.total)
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
mod tests;
