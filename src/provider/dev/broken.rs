//! Answers that are wrong as a whole: the same breakages for tokens, profiles, keys and discovery.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{Error, HttpResponse, error};
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::Value;

use super::faults::{Fault, FaultSwitch};
use super::shared::Shared;
use super::{TRAP, web};

/// What "slow" means: longer than any caller should wait.
const SLOW: Duration = Duration::from_secs(30);

/// What "huge" means, in KiB: more than any caller should read.
const HUGE_KIB: usize = 1024;

/// How an answer is broken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Broken {
    /// A web page instead.
    Html,
    /// The right document as `text/plain`.
    TextPlain,
    /// The right document in a list.
    Array,
    /// Half of the right document.
    NotJson,
    /// The right document with its first member once more, and another value.
    DuplicateMember,
    /// Lists in lists.
    Deep,
    /// The right document with another status.
    Status(StatusCode),
    /// An error and no document.
    Failure(StatusCode),
    /// 307: the method, the body and, with careless clients, the secret go on to the trap.
    Redirect,
    /// The right document after a megabyte of padding, streamed: only its length speaks against it.
    Huge,
    /// The right document, much too late.
    Slow,
    /// A byte a second.
    Drip,
    /// The connection breaks after half of the announced length.
    Cut,
}

impl Broken {
    /// How the fault breaks the token endpoint's answer, if it breaks it as a whole.
    pub(super) fn token_answer(fault: Fault) -> Option<Self> {
        Some(match fault {
            Fault::TokenHtml => Self::Html,
            Fault::TokenTextPlain => Self::TextPlain,
            Fault::TokenArray => Self::Array,
            Fault::TokenNotJson => Self::NotJson,
            Fault::TokenDeep => Self::Deep,
            Fault::TokenDuplicateMember => Self::DuplicateMember,
            Fault::Token201 => Self::Status(StatusCode::CREATED),
            Fault::Token500 => Self::Failure(StatusCode::INTERNAL_SERVER_ERROR),
            Fault::Token503 => Self::Failure(StatusCode::SERVICE_UNAVAILABLE),
            Fault::TokenRedirect => Self::Redirect,
            Fault::TokenHuge => Self::Huge,
            Fault::TokenSlow => Self::Slow,
            Fault::TokenDrip => Self::Drip,
            Fault::TokenCut => Self::Cut,
            _ => return None,
        })
    }

    /// How the fault breaks the answers of the profile endpoints.
    pub(super) fn profile_answer(fault: Fault) -> Option<Self> {
        Some(match fault {
            Fault::ProfileHtml => Self::Html,
            Fault::ProfileTextPlain => Self::TextPlain,
            Fault::ProfileArray => Self::Array,
            Fault::ProfileNotJson => Self::NotJson,
            Fault::ProfileDuplicateMember => Self::DuplicateMember,
            Fault::Profile401 => Self::Failure(StatusCode::UNAUTHORIZED),
            Fault::Profile500 => Self::Failure(StatusCode::INTERNAL_SERVER_ERROR),
            Fault::ProfileRedirect => Self::Redirect,
            Fault::ProfileHuge => Self::Huge,
            Fault::ProfileSlow => Self::Slow,
            Fault::ProfileDrip => Self::Drip,
            _ => return None,
        })
    }

    /// How the switches break the discovery document.
    pub(super) fn discovery(shared: &Shared) -> Option<Self> {
        let breakages = [
            (FaultSwitch::Discovery500, Self::Failure(StatusCode::INTERNAL_SERVER_ERROR)),
            (FaultSwitch::DiscoverySlow, Self::Slow),
            (FaultSwitch::DiscoveryRedirect, Self::Redirect),
            (FaultSwitch::DiscoveryHuge, Self::Huge),
            (FaultSwitch::DiscoveryNotJson, Self::NotJson),
        ];
        breakages.into_iter().find(|(switch, _)| shared.is_on(*switch)).map(|(_, broken)| broken)
    }

    /// How the switches break the key set.
    pub(super) fn jwks(shared: &Shared) -> Option<Self> {
        let breakages = [
            (FaultSwitch::Jwks500, Self::Failure(StatusCode::INTERNAL_SERVER_ERROR)),
            (FaultSwitch::JwksSlow, Self::Slow),
            (FaultSwitch::JwksHuge, Self::Huge),
        ];
        breakages.into_iter().find(|(switch, _)| shared.is_on(*switch)).map(|(_, broken)| broken)
    }
}

/// Answers with `document`, or with what is left of it.
pub(super) async fn answer(shared: &Shared, broken: Option<Broken>, document: &Value) -> HttpResponse {
    let Some(broken) = broken else { return web::json(StatusCode::OK, document) };
    let text = document.to_string();
    let ok = |media_type: &'static str, body: String| {
        web::uncached(StatusCode::OK).insert_header((header::CONTENT_TYPE, media_type)).body(body)
    };
    const JSON: &str = "application/json";
    match broken {
        Broken::Html => ok("text/html; charset=utf-8", "<!doctype html><title>Sign in</title>".into()),
        Broken::TextPlain => ok("text/plain", text),
        Broken::Array => ok(JSON, format!("[{text}]")),
        Broken::NotJson => ok(JSON, first_half(&text).into()),
        Broken::DuplicateMember => ok(JSON, with_first_member_repeated(document, &text)),
        Broken::Deep => ok(JSON, format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
        Broken::Status(status) => web::json(status, document),
        Broken::Failure(status) => {
            web::uncached(status).body("the development provider fails as it was asked to")
        }
        Broken::Redirect => web::uncached(StatusCode::TEMPORARY_REDIRECT)
            .insert_header((header::LOCATION, format!("{}{TRAP}", shared.url)))
            .finish(),
        Broken::Huge => web::uncached(StatusCode::OK).content_type(JSON).streaming(huge(&text)),
        Broken::Slow => {
            tokio::time::sleep(SLOW).await;
            web::json(StatusCode::OK, document)
        }
        Broken::Drip => web::uncached(StatusCode::OK).content_type(JSON).streaming(drip(text)),
        Broken::Cut => web::uncached(StatusCode::OK).content_type(JSON).streaming(cut(&text)),
    }
}

fn first_half(text: &str) -> &str {
    text.split_at_checked(text.len() / 2).map_or("{", |(half, _)| half)
}

fn with_first_member_repeated(document: &Value, text: &str) -> String {
    let name = document.as_object().and_then(|members| members.keys().next());
    let name = name.map_or("member", String::as_str);
    format!("{{{}:\"another value\",{}", Value::from(name), text.trim_start_matches('{'))
}

fn huge(text: &str) -> impl Stream<Item = Result<Bytes, Error>> + use<> {
    let begin = stream::once(async { Bytes::from_static(b"{\"padding\":\"") });
    let padding = stream::repeat(Bytes::from_static(&[b'x'; 1024])).take(HUGE_KIB);
    let end = Bytes::from(format!("\",{}", text.trim_start_matches('{')));
    begin.chain(padding).chain(stream::once(async { end })).map(Ok)
}

fn drip(text: String) -> impl Stream<Item = Result<Bytes, Error>> {
    stream::unfold(text.into_bytes().into_iter(), |mut rest| async move {
        let byte = rest.next()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(Bytes::from(vec![byte])), rest))
    })
}

fn cut(text: &str) -> impl Stream<Item = Result<Bytes, Error>> + use<> {
    let half = Bytes::copy_from_slice(first_half(text).as_bytes());
    stream::iter([Ok(half), Err(error::ErrorInternalServerError("cut as it was asked to"))])
}
