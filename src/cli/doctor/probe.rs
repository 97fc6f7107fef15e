//! The requests of the check, and what has arrived at the echo service.

use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::Value;
use url::Url;

/// The time for one request.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The most that is read of an answer, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;

/// Sends requests and follows no redirect. With HTTP/1.1, names of headers are sent as `x-auth-user` by one client and as
/// `X-Auth-User` by the other.
pub(super) struct Probe {
    lower: Client,
    title: Client,
}

/// One request.
#[derive(Clone)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) title_case: bool,
}

impl<'a> Request<'a> {
    /// `GET` of this address with these headers.
    pub(super) fn get(url: &Url, headers: &[(&'a str, &'a str)]) -> Self {
        Self { method: Method::GET, url: url.clone(), headers: headers.to_vec(), title_case: false }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Probe {
    /// A probe that trusts the system's certificate authorities.
    ///
    /// # Errors
    /// They cannot be read.
    #[expect(
        clippy::disallowed_methods,
        reason = "a command that plays a visitor is not the broker's HTTP client"
    )]
    pub(super) fn new() -> reqwest::Result<Self> {
        let builder = || Client::builder().redirect(Policy::none()).timeout(TIMEOUT).no_proxy();
        Ok(Self { lower: builder().build()?, title: builder().http1_title_case_headers().build()? })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// There was no answer.
    pub(super) async fn send(&self, request: Request<'_>) -> reqwest::Result<Answer> {
        let client = if request.title_case { &self.title } else { &self.lower };
        let mut sent = client.request(request.method, request.url);
        for (name, value) in request.headers {
            // Both are made by the check itself, or by the operator: an unusable one is left out.
            let pair = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
            if let Some((_, value)) = pair {
                sent = sent.header(name, value.as_bytes());
            }
        }
        let mut answer = sent.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                break;
            }
        }
        Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl Answer {
    /// Whether the request was let through.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header's text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The headers that have arrived at the API, if the body says so: as a list of pairs, as of `doctor --echo`, or as an
    /// object.
    pub(super) fn arrived(&self) -> Option<Vec<(String, String)>> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match body.get("headers")? {
            Value::Array(pairs) => {
                pairs.iter().map(|pair| Some((text(pair.get(0)?), text(pair.get(1)?)))).collect()
            }
            Value::Object(map) => Some(map.iter().map(|(name, value)| (name.clone(), text(value))).collect()),
            _ => None,
        }
    }
}

/// A header's name as programs may read it: in lower case, with every separator as a hyphen.
pub(super) fn as_read(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// Every spelling of a header's name that programs may read as that name.
pub(super) fn spellings(name: &str) -> Vec<String> {
    let mut spellings = vec![String::new()];
    for (at, part) in name.split('-').enumerate() {
        let separators: &[&str] = if at == 0 { &[""] } else { &["-", "_", "."] };
        let with = |start: &String| {
            separators.iter().map(|separator| format!("{start}{separator}{part}")).collect::<Vec<_>>()
        };
        spellings = spellings.iter().flat_map(with).collect();
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_spelling_for_every_separator() {
        assert_eq!(spellings("remote-user"), ["remote-user", "remote_user", "remote.user"]);
        let all = spellings("x-auth-user");
        assert_eq!(all.len(), 9);
        assert!(all.iter().all(|spelling| as_read(spelling) == "x-auth-user"));
    }

    #[test]
    fn what_has_arrived_is_read_from_pairs_and_from_objects() {
        let answer = |body: &str| Answer { status: 200, headers: HeaderMap::new(), body: body.to_owned() };
        let expected = Some(vec![("X-A".to_owned(), "b".to_owned())]);
        assert_eq!(answer(r#"{"headers":[["X-A","b"]]}"#).arrived(), expected);
        assert_eq!(answer(r#"{"headers":{"X-A":"b"}}"#).arrived(), expected);
        for other in ["", "[]", "{}", r#"{"headers":1}"#, r#"{"headers":["a"]}"#] {
            assert_eq!(answer(other).arrived(), None, "{other}");
        }
    }
}
