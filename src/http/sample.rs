//! The sample app: a few files embedded in the program, compressed at build time.
//!
//! They hold no secrets and change only with the program, so browsers may cache and revalidate them. In development
//! they can be read from the folder instead, so that an edit is visible after a reload.

use std::path::PathBuf;

use actix_web::http::header::{
    AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, ETAG, Encoding, EntityTag, Header, HeaderValue,
    IfNoneMatch, LOCATION, VARY,
};
use actix_web::{HttpRequest, HttpResponse, route, web};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use super::pages;
use crate::domain::ids::ClientId;
use crate::error::{Error, ErrorCode, Result};
use crate::state::Broker;

/// A file as `build.rs` embedded it.
struct Embedded {
    name: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

const FILES: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/sample.rs"));

/// The file that depends on the installation; the broker generates it.
const CONFIG: &str = "config.js";

/// Everything from this origin, and nothing written into the page.
static POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
);

/// The sample app of this broker.
#[derive(Debug, Clone)]
pub struct Sample {
    config: String,
    folder: Option<PathBuf>,
}

impl Sample {
    /// The sample that signs in as `client`, with a button for each of `providers` (id and name). `demo_users` says
    /// whether the first of them is the development provider, and `folder` where its files are instead of in the
    /// program.
    pub fn new<'a>(
        client: &ClientId,
        providers: impl Iterator<Item = (&'a str, &'a str)>,
        demo_users: bool,
        folder: Option<PathBuf>,
    ) -> Self {
        let providers: Vec<_> =
            providers.map(|(id, name)| json!({ "id": id, "displayName": name })).collect();
        let config = json!({ "clientId": client, "providers": providers, "demoUsers": demo_users });
        Self { config: format!("export default {config};\n"), folder }
    }

    /// The page itself.
    pub(super) async fn page(&self, request: &HttpRequest) -> Result<HttpResponse> {
        let mut response = self.file(request, "index.html").await?;
        pages::add_headers(response.headers_mut(), &POLICY);
        Ok(response)
    }

    async fn file(&self, request: &HttpRequest, name: &str) -> Result<HttpResponse> {
        if name == CONFIG {
            return Ok(answer(request, name, self.config.clone().into(), None));
        }
        // Only listed names are looked up in the folder.
        let embedded = FILES.iter().find(|file| file.name == name).ok_or(ErrorCode::NotFound)?;
        let Some(folder) = &self.folder else {
            let [plain, gzip] = [embedded.plain, embedded.gzip].map(web::Bytes::from_static);
            return Ok(answer(request, name, plain, Some(gzip)));
        };
        let path = folder.join(name);
        match web::block(move || std::fs::read(path)).await {
            Ok(Ok(bytes)) => Ok(answer(request, name, bytes.into(), None)),
            _ => Err(Error::new(ErrorCode::NotFound).caused_by("the sample's folder does not have it")),
        }
    }
}

/// The file in an encoding that the browser accepts, or 304 if it has that version already.
fn answer(request: &HttpRequest, name: &str, plain: web::Bytes, gzip: Option<web::Bytes>) -> HttpResponse {
    let hash = BASE64_URL_SAFE_NO_PAD.encode(&digest(&SHA256, &plain).as_ref()[..15]);
    let gzip = gzip.filter(|_| takes_gzip(request));
    let tag = EntityTag::new_strong(if gzip.is_some() { format!("{hash}.gzip") } else { hash });
    let same = has(request, &tag);
    let mut response = if same { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, tag));
    response.insert_header((CACHE_CONTROL, "no-cache"));
    response.insert_header((VARY, "Accept-Encoding"));
    if same {
        return response.finish();
    }
    response.content_type(media_type(name));
    match gzip {
        Some(gzip) => response.insert_header((CONTENT_ENCODING, "gzip")).body(gzip),
        None => response.body(plain),
    }
}

/// Whether the client prefers gzip to the plain form.
pub(super) fn takes_gzip(request: &HttpRequest) -> bool {
    let forms = [Encoding::gzip(), Encoding::identity()];
    AcceptEncoding::parse(request)
        .is_ok_and(|accepted| accepted.negotiate(forms.iter()) == Some(Encoding::gzip()))
}

fn has(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

/// `build.rs` takes no other kinds of files.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}

/// Redirects to the page, which is at `/`.
#[utoipa::path(method(get, head), path = "/sample")]
#[route("/sample", method = "GET", method = "HEAD")]
pub async fn sample_folder(broker: web::Data<Broker>) -> HttpResponse {
    to_public_address(&broker)
}

/// A file of the sample app.
#[utoipa::path(method(get, head), path = "/sample/{file}")]
#[route("/sample/{file}", method = "GET", method = "HEAD")]
pub async fn sample_file(
    request: HttpRequest,
    name: web::Path<String>,
    sample: web::Data<Sample>,
) -> Result<HttpResponse> {
    sample.file(&request, &name).await
}

/// A file in a folder of the sample app.
#[utoipa::path(method(get, head), path = "/sample/{folder}/{file}")]
#[route("/sample/{folder}/{file}", method = "GET", method = "HEAD")]
pub async fn sample_file_in_folder(
    request: HttpRequest,
    name: web::Path<(String, String)>,
    sample: web::Data<Sample>,
) -> Result<HttpResponse> {
    let (folder, file) = name.into_inner();
    sample.file(&request, &format!("{folder}/{file}")).await
}

/// Redirects the browser to the public address; nothing of the request is carried over.
pub(super) fn to_public_address(broker: &Broker) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, broker.public_url.as_str())).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_small() {
        let size = |form: fn(&Embedded) -> usize| FILES.iter().map(form).sum::<usize>();
        let (plain, gzip) = (size(|file| file.plain.len()), size(|file| file.gzip.len()));
        assert!(plain < 100_000 && gzip < 35_000, "{plain} bytes, {gzip} compressed");
    }

    #[test]
    fn what_is_for_developers_only_stays_out() {
        let names: Vec<_> = FILES.iter().map(|file| file.name).collect();
        for needed in
            ["index.html", "app.js", "app.css", "icon.svg", "client/token-broker.js", "views/token.js"]
        {
            assert!(names.contains(&needed), "{needed} is not in {names:?}");
        }
        for name in &names {
            let foreign = ["test", "e2e", "node_modules", "examples", "adapters", ".d.ts", "config"];
            assert!(!foreign.iter().any(|part| name.contains(part)), "{name}");
        }
    }
}
