//! The HTTP client for calls to a provider. Calls are limited in time and size, and the client never follows redirects.
//! No other part of the server builds a `reqwest` client.
//!
//! A provider, or a load balancer before it, can close an idle connection at the moment at which it is used again. A
//! request whose connection is lost is therefore sent once more, on a new connection. A token request redeems a code and
//! must not be sent twice, so each has a connection of its own.
//!
//! All calls of one step (for example token request, keys and UserInfo of one callback) share a [`Deadline`], so that a
//! login at a slow provider ends in time, however many calls it needs.

use std::error::Error as StdError;
use std::fmt::Write;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Client, Request, RequestBuilder, Response, StatusCode, retry, tls};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use url::Url;
use zeroize::Zeroizing;

use super::ProviderError;
use super::json::{self, JsonError, Object};
use super::settings::{CaCertificates, Timeouts};
use crate::domain::clock::monotonic;
use crate::domain::ids::ProviderId;
use crate::domain::metric;

/// The maximum size of a response of a token, UserInfo or profile endpoint, in bytes.
pub(super) const RESPONSE_LIMIT: usize = 64 * 1024;

/// The maximum size of a metadata document or key set, in bytes.
pub(super) const METADATA_LIMIT: usize = 256 * 1024;

/// The maximum number of concurrent calls to one provider.
const CALLS_IN_FLIGHT: usize = 64;

/// How long idle connections are kept. Longer than the time between the calls of one login, and shorter than servers keep
/// idle connections.
const IDLE_CONNECTION: Duration = Duration::from_secs(3);

/// The maximum length of the logged text of a transport error, in characters.
const ERROR_TEXT_LIMIT: usize = 200;

// The results of a call in metrics.
const OK: &str = "ok";
const REFUSED: &str = "refused";
const UNAVAILABLE: &str = "unavailable";
const TIMEOUT: &str = "timeout";
const UNUSABLE: &str = "unusable";

/// When all calls of one step must have finished.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// This deadline, but no later than `time` from now.
    pub(super) fn at_most(self, time: Duration) -> Self {
        Self(self.0.min(Instant::from_std(monotonic()) + time))
    }

    /// Waits for `work` until the deadline. `what` names the work in the error.
    pub(super) async fn bound<T>(
        self,
        what: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, ProviderError> {
        timeout_at(self.0, work).await.map_err(|_| ProviderError::Timeout(what.to_owned()))
    }
}

/// The HTTP client of one provider.
pub(super) struct HttpClient {
    /// The name of the provider in metrics.
    provider: String,
    /// Keeps connections.
    client: Client,
    /// Opens a connection for each call.
    fresh: Client,
    total: Duration,
    calls: Semaphore,
}

impl HttpClient {
    /// A client for the configured `addresses`. Does not use the network.
    ///
    /// System certificates are loaded only if an address is https, so that a broker whose provider runs on the same
    /// machine does not need them. Plain http is possible only if an address is http.
    ///
    /// # Errors
    ///
    /// The certificates cannot be used, and how to fix that.
    pub(super) fn new(
        provider: &ProviderId,
        timeouts: Timeouts,
        ca_certificates: &CaCertificates,
        addresses: &[&Url],
    ) -> Result<Self, &'static str> {
        let configured = ca_certificates.0.clone();
        let has = |scheme: &str| addresses.iter().any(|address| address.scheme() == scheme);
        let build = |idle_connections: usize| {
            let builder = builder(timeouts).https_only(!has("http")).pool_max_idle_per_host(idle_connections);
            let builder = if has("https") {
                builder.tls_certs_merge(configured.clone())
            } else {
                builder.tls_certs_only(configured.clone())
            };
            builder.build().map_err(|_| {
                "cannot create an HTTPS client: this machine has no CA certificates. Install the package \
                 ca-certificates or set ca_file"
            })
        };
        let (client, fresh) = (build(CALLS_IN_FLIGHT)?, build(0)?);
        let provider = provider.to_string();
        Ok(Self { provider, client, fresh, total: timeouts.total, calls: Semaphore::new(CALLS_IN_FLIGHT) })
    }

    /// Makes `/metrics` report these calls from the start.
    pub(super) fn register(&self, calls: &[&str]) {
        for call in calls {
            for result in [OK, REFUSED, UNAVAILABLE, TIMEOUT, UNUSABLE] {
                let _ = self.duration(call, result);
            }
        }
    }

    fn duration(&self, call: &str, result: &'static str) -> metrics::Histogram {
        // "token endpoint" is token_endpoint.
        let call = call.to_ascii_lowercase().replace(' ', "_");
        let provider = self.provider.clone();
        metrics::histogram!(metric::PROVIDER_DURATION.name, "provider" => provider, "call" => call, "result" => result)
    }

    /// The deadline of a step that starts now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline(Instant::from_std(monotonic()) + self.total)
    }

    /// A GET request, to be sent by [`Self::send`] or [`Self::send_once`].
    pub(super) fn get(&self, url: &Url) -> RequestBuilder {
        self.client.get(url.clone())
    }

    /// A POST request, to be sent by [`Self::send_once`].
    pub(super) fn post(&self, url: &Url) -> RequestBuilder {
        self.fresh.post(url.clone())
    }

    /// Sends a request that may be repeated, and reads at most `limit` bytes of the response. If the connection is lost, it
    /// is sent once more. `what` names the call in errors.
    ///
    /// # Errors
    ///
    /// Unavailable if the provider cannot be reached, closes the connection, or responds with 5xx or 429; Timeout after
    /// the deadline; Unusable if the response is longer than `limit`.
    pub(super) async fn send(
        &self,
        what: &'static str,
        request: RequestBuilder,
        limit: usize,
        deadline: Deadline,
    ) -> Result<CompleteResponse, ProviderError> {
        self.call(what, request, limit, deadline, Repeat::IfLost).await
    }

    /// The same for a request that must not be sent twice, whatever its method.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub(super) async fn send_once(
        &self,
        what: &'static str,
        request: RequestBuilder,
        limit: usize,
        deadline: Deadline,
    ) -> Result<CompleteResponse, ProviderError> {
        self.call(what, request, limit, deadline, Repeat::Never).await
    }

    async fn call(
        &self,
        what: &'static str,
        request: RequestBuilder,
        limit: usize,
        deadline: Deadline,
        repeat: Repeat,
    ) -> Result<CompleteResponse, ProviderError> {
        let call = async {
            let _permit = self.calls.acquire().await;
            let request = request.header(ACCEPT, "application/json").build();
            let request = request.map_err(|error| Failed::Transport(error).report(what))?;
            let once_more = if repeat == Repeat::IfLost { request.try_clone() } else { None };
            let client = if once_more.is_some() { &self.client } else { &self.fresh };
            let mut outcome = exchange(what, client, request, limit).await;
            if let (Err(failed), Some(request)) = (&outcome, once_more)
                && failed.is_lost_connection()
            {
                tracing::debug!(what, "the connection was lost; trying once more on a new one");
                outcome = exchange(what, &self.fresh, request, limit).await;
            }
            outcome.map_err(|failed| failed.report(what))
        };
        let started = monotonic();
        let answer = deadline.bound(what, call).await.flatten();
        self.duration(what, result(&answer)).record(started.elapsed().as_secs_f64());
        answer
    }
}

/// The value of the label `result`.
fn result(answer: &Result<CompleteResponse, ProviderError>) -> &'static str {
    match answer {
        Ok(response) if response.status.is_client_error() => REFUSED,
        Ok(_) => OK,
        Err(ProviderError::Timeout(_)) => TIMEOUT,
        Err(ProviderError::Unavailable(_)) => UNAVAILABLE,
        Err(_) => UNUSABLE,
    }
}

/// Whether a request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Once, if its connection is lost.
    IfLost,
    /// Never.
    Never,
}

/// Why there is no complete response.
enum Failed {
    /// The request or its response was not transported.
    Transport(reqwest::Error),
    /// The provider responded.
    Response(ProviderError),
}

impl Failed {
    /// Whether the connection was open and ended before the response was complete.
    fn is_lost_connection(&self) -> bool {
        match self {
            Self::Transport(error) => !error.is_connect() && !error.is_timeout() && !error.is_builder(),
            Self::Response(_) => false,
        }
    }

    fn report(self, what: &str) -> ProviderError {
        match self {
            Self::Transport(error) => failure(what, error),
            Self::Response(error) => error,
        }
    }
}

/// Sends a request once.
async fn exchange(
    what: &'static str,
    client: &Client,
    request: Request,
    limit: usize,
) -> Result<CompleteResponse, Failed> {
    let response = client.execute(request).await.map_err(Failed::Transport)?;
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let error = ProviderError::Unavailable(format!("{what}: status {}", status.as_u16()));
        return Err(Failed::Response(error));
    }
    let is_json = has_json_media_type(response.headers());
    Ok(CompleteResponse { what, status, is_json, body: body(what, response, limit).await? })
}

#[expect(clippy::disallowed_methods, reason = "this is the only place that builds HTTP clients")]
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

async fn body(what: &str, mut response: Response, limit: usize) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(Failed::Transport)? {
        if body.len() + chunk.len() > limit {
            let text = format!("{what}: the response is longer than {limit} bytes");
            return Err(Failed::Response(ProviderError::Unusable(text)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether the media type is `application/json` or another JSON type (RFC 6839), with any parameters.
fn has_json_media_type(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Converts a transport error. The text contains the causes but not the URL, which can contain secrets.
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

/// A response that was received completely. It has no `Debug`, because it can contain tokens.
pub(super) struct CompleteResponse {
    what: &'static str,
    status: StatusCode,
    is_json: bool,
    body: Zeroizing<Vec<u8>>,
}

impl CompleteResponse {
    /// The JSON object of a successful response.
    pub(super) fn object(&self) -> Result<Object, ProviderError> {
        self.check_success()?;
        json::object(&self.body).map_err(|error| self.unusable(error))
    }

    /// The JSON value of a successful response.
    pub(super) fn value(&self) -> Result<Value, ProviderError> {
        self.check_success()?;
        json::value(&self.body).map_err(|error| self.unusable(error))
    }

    /// The same response, with a body that counts as JSON whatever its media type says.
    pub(super) fn into_json(self) -> Self {
        Self { is_json: true, ..self }
    }

    /// The parameters of a successful response that is a form, as the members of an object.
    pub(super) fn form(&self) -> Result<Object, ProviderError> {
        self.check_status()?;
        let mut members = Object::new();
        for (name, value) in url::form_urlencoded::parse(&self.body) {
            if members.insert(name.into_owned(), value.into_owned().into()).is_some() {
                return Err(ProviderError::Unusable(format!(
                    "{}: the response repeats a parameter",
                    self.what
                )));
            }
        }
        Ok(members)
    }

    /// The status, and the JSON object if the response contains one, whatever the status is.
    pub(super) fn into_parts(self) -> (StatusCode, Option<Object>) {
        let object = if self.is_json { json::object(&self.body).ok() } else { None };
        (self.status, object)
    }

    /// Only status 200 with a JSON media type is a success. In particular, a redirect is not.
    fn check_success(&self) -> Result<(), ProviderError> {
        self.check_status()?;
        if self.is_json {
            return Ok(());
        }
        Err(ProviderError::Unusable(format!("{}: the media type is not JSON", self.what)))
    }

    fn check_status(&self) -> Result<(), ProviderError> {
        if self.status == StatusCode::OK {
            return Ok(());
        }
        Err(ProviderError::Unusable(format!("{}: status {}", self.what, self.status.as_u16())))
    }

    fn unusable(&self, error: JsonError) -> ProviderError {
        ProviderError::Unusable(format!("{}: the response {error}", self.what))
    }
}

#[cfg(test)]
mod tests;
