//! Asking a running instance over HTTP, for the commands that look at one from outside.

use std::time::Duration;

use actix_web::rt::System;
use reqwest::redirect::Policy;
use url::Url;

use super::Failure;
use super::serve::runtime;

/// How long an answer may take. Longer than the detailed health needs if every part hangs.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const LIMIT: usize = 1024 * 1024;

/// What an instance answered.
pub(super) struct Reply {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// Sends a GET request and returns the answer, whatever its status is.
///
/// # Errors
/// The instance cannot be reached, or does not answer in time.
pub(super) fn get(url: &Url) -> Result<Reply, Failure> {
    System::new().block_on(answer(url)).map_err(|error| {
        let cause = runtime(error.without_url());
        Failure::Runtime(format!("{url} does not answer: {cause}"))
    })
}

#[expect(clippy::disallowed_methods, reason = "calls of the operator's own instance, not of a provider")]
async fn answer(url: &Url) -> reqwest::Result<Reply> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("token-broker/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .timeout(TIMEOUT);
    // Without the certificates of the system, which an image need not have, if none is checked.
    let builder = if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
    let mut response = builder.build()?.get(url.clone()).send().await?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await?
        && body.len() < LIMIT
    {
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, body })
}
