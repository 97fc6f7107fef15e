//! `/openapi.json` and `/docs`: the API's description, with a viewer that sends no request to another host.
//!
//! The viewer's files come from a package when the program is built (`build.rs`); the page and its initialiser are our
//! own, because the package's page has inline parts that the Content-Security-Policy forbids.

use std::io::Read;

use actix_web::http::header::{CONTENT_ENCODING, ContentType, HeaderValue, VARY};
use actix_web::{HttpRequest, HttpResponse, route, web};
use flate2::read::GzDecoder;
use maud::{DOCTYPE, html};

use super::pages;
use super::sample::takes_gzip;
use crate::error::{Error, ErrorCode, Result};

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
pub async fn docs_file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse> {
    if let Some((_, kind, text)) = OWN_FILES.iter().find(|(own, ..)| *own == *name) {
        return Ok(HttpResponse::Ok().content_type(*kind).body(*text));
    }
    let file = FILES.iter().find(|file| file.name == *name).ok_or(ErrorCode::NotFound)?;
    viewer_file(&request, file)
}

/// The viewer's files, compressed when the program was built.
const FILES: &[ViewerFile] = include!(concat!(env!("OUT_DIR"), "/docs.rs"));

struct ViewerFile {
    name: &'static str,
    media_type: &'static str,
    gzip: &'static [u8],
}

/// Sends a file as it is embedded; only a client that does not accept gzip gets it unpacked.
fn viewer_file(request: &HttpRequest, file: &ViewerFile) -> Result<HttpResponse> {
    let mut response = HttpResponse::Ok();
    response.content_type(file.media_type).insert_header((VARY, "accept-encoding"));
    if takes_gzip(request) {
        return Ok(response.insert_header((CONTENT_ENCODING, "gzip")).body(file.gzip));
    }
    let mut plain = Vec::new();
    let unpacked = GzDecoder::new(file.gzip).read_to_end(&mut plain);
    unpacked.map_err(|error| Error::new(ErrorCode::ServerError).caused_by(error))?;
    Ok(response.body(plain))
}
