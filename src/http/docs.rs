//! `/openapi.json` and `/docs`: the API's description, with a viewer that sends no request to another host.
//!
//! The viewer's files come from a package at build time; the page and its initialiser are ours, because the
//! package's own page has inline parts that the Content-Security-Policy refuses.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use actix_web::http::header::{ContentType, HeaderValue};
use actix_web::{HttpResponse, route, web};
use maud::{DOCTYPE, html};
use utoipa_swagger_ui::Config;

use super::pages;
use crate::error::{Error, ErrorCode, Result};

/// The viewer's own files that the page needs.
const FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// Our own files: name, media type and text.
const OWN_FILES: [(&str, &str, &str); 2] = [
    ("initialiser.js", "text/javascript", include_str!("assets/docs.js")),
    ("own.css", "text/css", include_str!("assets/docs.css")),
];

/// The OpenAPI document as it is served, in JSON.
#[derive(Debug, Clone)]
pub struct ServedDocument(pub web::Bytes);

static POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// The description of this API
///
/// OpenAPI 3.1. In production only if the configuration enables it, and always on the admin listener.
#[utoipa::path(
    method(get, head),
    path = "/openapi.json",
    tag = "Service",
    responses(
        (
            status = 200, description = "The OpenAPI document.", content_type = "application/json", body = Object,
            example = json!({ "openapi": "3.1.0", "info": { "title": "token-broker" }, "paths": {} }),
        ),
    ),
)]
#[route("/openapi.json", method = "GET", method = "HEAD")]
pub async fn openapi_json(document: web::Data<ServedDocument>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(document.0.clone())
}

/// The description of this API, to read and try: without any request to another host.
#[utoipa::path(method(get, head), path = "/docs")]
#[route("/docs", method = "GET", method = "HEAD")]
pub async fn docs() -> HttpResponse {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "token-broker API" }
                link rel="icon" type="image/png" href="/docs/favicon-32x32.png";
                link rel="stylesheet" href="/docs/swagger-ui.css";
                link rel="stylesheet" href="/docs/own.css";
            }
            body {
                main id="swagger-ui" {}
                script src="/docs/swagger-ui-bundle.js" {}
                script src="/docs/initialiser.js" {}
            }
        }
    };
    pages::answer(page, &POLICY)
}

/// A file of the page at `/docs`.
#[utoipa::path(method(get, head), path = "/docs/{file}")]
#[route("/docs/{file}", method = "GET", method = "HEAD")]
pub async fn docs_file(name: web::Path<String>) -> Result<HttpResponse> {
    if let Some((_, kind, text)) = OWN_FILES.iter().find(|(own, ..)| *own == *name) {
        return Ok(HttpResponse::Ok().content_type(*kind).body(*text));
    }
    let known = FILES.iter().find(|file| **file == *name).ok_or(ErrorCode::NotFound)?;
    viewer_file(known)
}

fn viewer_file(name: &str) -> Result<HttpResponse> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(Arc::default);
    let found = utoipa_swagger_ui::serve(name, CONFIG.clone())
        .map_err(|error| Error::new(ErrorCode::ServerError).caused_by(error.to_string()))?
        .ok_or(ErrorCode::NotFound)?;
    let bytes = match found.bytes {
        Cow::Borrowed(embedded) => web::Bytes::from_static(embedded),
        Cow::Owned(read) => web::Bytes::from(read),
    };
    Ok(HttpResponse::Ok().content_type(found.content_type).body(bytes))
}
