//! Answers to what never becomes a request: bytes that are no HTTP, and heads that are too large or too late.
//!
//! The framework answers some of these itself, before any of the broker's code runs, with an empty body and without a
//! header. [`framework_answer`] recognises such an answer among the bytes that are to be sent, so that the stream can send
//! the one of [`Refusals`] in its place, with the headers, the body, the log line and the count of every other answer.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tracing::info;

use crate::domain::clock::Clock;
use crate::domain::entropy::Entropy;
use crate::domain::request_id::RequestId;
use crate::error::ErrorCode;
use crate::http::error_response::{Problem, Shape};
use crate::http::middleware::measure::{self, Listener, NO_ROUTE};
use crate::http::middleware::security_headers;
use crate::state::Broker;

/// More than the framework's longest answer, and less than the shortest of the broker's own.
const LONGEST_FRAMEWORK_ANSWER: usize = 200;

/// Writes the answers of one listener.
#[derive(Clone)]
pub struct Refusals {
    https: bool,
    listener: Listener,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Refusals").field("https", &self.https).finish_non_exhaustive()
    }
}

impl Refusals {
    /// The answers of a listener of this broker.
    pub fn new(broker: &Broker, listener: Listener) -> Self {
        let https = broker.public_url.scheme() == "https";
        Self { https, listener, clock: broker.clock.clone(), entropy: broker.entropy.clone() }
    }

    /// The whole answer; the connection ends after it. Notes the refusal in the log and in the metrics.
    pub(super) fn answer(&self, code: ErrorCode, peer: Option<SocketAddr>) -> Vec<u8> {
        let id = RequestId::random(&*self.entropy);
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let address = peer.map(|peer| peer.ip().to_string());
        info!(
            request_id = id.as_str(),
            address,
            status = status.as_u16(),
            code = code.as_str(),
            "request refused before it was read"
        );
        measure::record(
            self.listener,
            ("other", NO_ROUTE),
            status.as_u16(),
            Some(code.as_str()),
            Duration::ZERO,
        );
        self.write(status, code, id.as_str())
    }

    fn write(&self, status: StatusCode, code: ErrorCode, id: &str) -> Vec<u8> {
        let text = match code {
            ErrorCode::InvalidRequest => {
                "The request is not valid HTTP. Check its first line and its headers."
            }
            code => code.public_text(),
        };
        let body = serde_json::to_string(&Problem::new(code, text, id)).unwrap_or_default();
        let mut headers = HeaderMap::new();
        security_headers::add(&mut headers, self.https);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Shape::Problem.media_type()));
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let date = self.clock.now().format("%a, %d %b %Y %H:%M:%S GMT");
        let length = body.len();
        let mut answer = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-length: {length}\r\nconnection: close\r\ndate: {date}\r\n",
            status.as_u16()
        )
        .into_bytes();
        for (name, value) in &headers {
            answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        answer.extend(b"\r\n");
        answer.extend(body.into_bytes());
        answer
    }
}

/// The answer that the framework has written by itself at the end of `bytes`: where it begins, and its code.
///
/// It has a status of a few, no body and no request id, and nothing follows it, because the connection ends with it.
pub(super) fn framework_answer(bytes: &[u8]) -> Option<(usize, ErrorCode)> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let tail = bytes.len().saturating_sub(LONGEST_FRAMEWORK_ANSWER);
    let begin = bytes[tail..].windows(7).rposition(|window| window == b"HTTP/1.")? + tail;
    let head = std::str::from_utf8(&bytes[begin..]).ok()?;
    let code = match head.get(9..12)? {
        "400" => ErrorCode::InvalidRequest,
        "408" => ErrorCode::RequestTimeout,
        "431" => ErrorCode::HeadTooLarge,
        _ => return None,
    };
    let is_empty = head.contains("\r\ncontent-length: 0\r\n") && head.matches("\r\n\r\n").count() == 1;
    (is_empty && !head.contains("\r\nx-request-id: ")).then_some((begin, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";

    #[test]
    fn the_frameworks_own_answers_are_recognised_also_behind_another_answer() {
        let late = BAD.replace("400 Bad Request", "408 Request Timeout");
        let large = BAD.replace("400 Bad Request", "431 Request Header Fields Too Large");
        let code = |text: &str| framework_answer(text.as_bytes()).map(|(begin, code)| (begin, code.status()));
        assert_eq!([code(BAD), code(&late), code(&large)], [Some((0, 400)), Some((0, 408)), Some((0, 431))]);
        let first = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(code(&format!("{first}{BAD}")), Some((first.len(), 400)));
    }

    #[test]
    fn no_answer_of_the_broker_is_taken_for_one() {
        let refusals = Refusals {
            listener: Listener::Public,
            https: true,
            clock: Arc::new(crate::domain::clock::SystemClock),
            entropy: Arc::new(crate::domain::entropy::SystemEntropy),
        };
        let own = refusals.answer(ErrorCode::InvalidRequest, None);
        assert_eq!(framework_answer(&own), None);
        let without_body = own.split(|byte| *byte == b'{').next().unwrap().to_vec();
        for text in [
            &*String::from_utf8(without_body).unwrap(),
            &BAD.replace("date", "x-request-id"),
            &BAD.replace("content-length: 0", "content-length: 4"),
            &BAD.replace("400", "401"),
            &BAD.replace("400", "200"),
            &format!("{BAD}x"),
            &BAD[1..],
            "",
        ] {
            assert_eq!(framework_answer(text.as_bytes()), None, "{text}");
        }
    }
}
