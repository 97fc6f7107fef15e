//! Request bodies: bounded in size and time, of a known media type, strictly parsed.

use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest, web};
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorCode, Result};

/// The largest body, in bytes.
pub const LIMIT: usize = 16 * 1024;

/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(10);

/// The deepest nesting of a JSON body.
const JSON_DEPTH: usize = 16;

/// The media types that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

impl MediaType {
    /// The media type that the request names; every other is refused.
    pub fn of(request: &HttpRequest) -> Result<Self> {
        let named = request.content_type();
        if named.eq_ignore_ascii_case("application/json") {
            Ok(Self::Json)
        } else if named.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Ok(Self::Form)
        } else {
            Err(ErrorCode::UnsupportedMediaType.into())
        }
    }
}

/// Reads the whole body.
pub async fn read(payload: web::Payload) -> Result<web::Bytes> {
    read_within(DEADLINE, payload).await
}

async fn read_within(deadline: Duration, payload: web::Payload) -> Result<web::Bytes> {
    tokio::time::timeout(deadline, payload.to_bytes_limited(LIMIT))
        .await
        .map_err(|_| Error::new(ErrorCode::RequestTimeout))?
        .map_err(|_| Error::new(ErrorCode::ContentTooLarge))?
        .map_err(|_| Error::invalid_request("The request body could not be read."))
}

/// Parses a JSON object. A known member given twice, a wrong type and anything after the object are refused.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Error::invalid_request("The body is not a JSON object."));
    }
    if depth(body) > JSON_DEPTH {
        return Err(Error::invalid_request("The JSON body is nested too deeply."));
    }
    serde_json::from_slice(body).map_err(|error| {
        Error::invalid_request(
            "The JSON body is malformed, repeats a member, or has a member of the wrong type.",
        )
        .caused_by(Place(error.line(), error.column()))
    })
}

/// Where a JSON body is wrong. The parser's own text is not kept, because it quotes the input.
#[derive(Debug, thiserror::Error)]
#[error("JSON error at line {0}, column {1}")]
struct Place(usize, usize);

/// The deepest nesting, counted outside of strings.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::dev::Payload;
    use actix_web::test::TestRequest;

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    struct Body {
        key: Option<String>,
    }

    async fn read_bytes(body: Vec<u8>) -> Result<web::Bytes> {
        let (request, mut payload) = TestRequest::post().set_payload(body).to_http_parts();
        read(web::Payload::from_request(&request, &mut payload).await.unwrap()).await
    }

    #[actix_web::test]
    async fn a_body_over_16_kib_is_refused() {
        assert_eq!(read_bytes(vec![b' '; LIMIT]).await.unwrap().len(), LIMIT);
        let error = read_bytes(vec![b' '; LIMIT + 1]).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ContentTooLarge);
    }

    #[actix_web::test]
    async fn a_body_that_does_not_arrive_in_time_is_given_up() {
        let mut never: Payload = Payload::Stream { payload: Box::pin(futures_util::stream::pending()) };
        let request = TestRequest::post().to_http_request();
        let payload = web::Payload::from_request(&request, &mut never).await.unwrap();
        let error = read_within(Duration::ZERO, payload).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::RequestTimeout);
    }

    #[test]
    fn json_nested_over_16_levels_is_refused() {
        let nested = |levels: usize| {
            format!(r#"{{"x":{}{},"key":"a"}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        assert_eq!(json::<Body>(nested(16).as_bytes()).unwrap().key.as_deref(), Some("a"));
        assert_eq!(
            json::<Body>(nested(17).as_bytes()).unwrap_err().public_text(),
            "The JSON body is nested too deeply."
        );
        let brackets_in_text = format!(r#"{{"key":"\"{}"}}"#, "[".repeat(40));
        assert!(json::<Body>(brackets_in_text.as_bytes()).is_ok());
    }

    #[test]
    fn bodies_that_are_not_one_plain_object_are_refused() {
        for bad in [
            "",
            "null",
            r#"["a"]"#,
            r#"{"key":1}"#,
            r#"{"key":"a","key":"b"}"#,
            r#"{"key":"a"} {}"#,
            r#"{"key":"a""#,
            "{\"key\":\"\u{0}\"}",
        ] {
            let error = json::<Body>(bad.as_bytes()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRequest, "{bad}");
        }
        assert!(json::<Body>(b"{\"key\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_bad_body_is_not_quoted_in_the_cause() {
        let error = json::<Body>(br#"{"key":["tbo_secret"]}"#).unwrap_err();
        let cause = error.cause_chain().unwrap();
        assert!(cause.starts_with("JSON error at line 1") && !cause.contains("secret"), "{cause}");
    }

    #[test]
    fn other_media_types_are_refused() {
        for (named, expected) in [
            ("application/json", Some(MediaType::Json)),
            ("Application/JSON; charset=utf-8", Some(MediaType::Json)),
            ("application/x-www-form-urlencoded", Some(MediaType::Form)),
            ("text/plain", None),
            ("application/jsonp", None),
            ("multipart/form-data; boundary=x", None),
            ("", None),
        ] {
            let request = TestRequest::post().insert_header(("content-type", named)).to_http_request();
            assert_eq!(MediaType::of(&request).ok(), expected, "{named}");
        }
        let error = MediaType::of(&TestRequest::post().to_http_request()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnsupportedMediaType);
    }
}
