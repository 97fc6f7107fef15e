//! Slashes that say nothing are taken away before routing: one at the end, and all but one of several.
//!
//! One stays: `DELETE /api/sessions/` is `DELETE /api/sessions/{id}` of a caller whose id is empty. It must not
//! become `DELETE /api/sessions`, which ends them all, and so is not found.

use std::borrow::Cow;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{Path, ServiceRequest, ServiceResponse, Url};
use actix_web::http::Uri;
use actix_web::middleware::Next;

use crate::http::routes::Methods;

/// Lets the request be routed without those slashes.
pub async fn trim<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if let Cow::Owned(path) = trimmed(request.path())
        && !leaves_an_id_out(&request)
        && let Some(uri) = with_path(request.uri(), &path)
    {
        *request.match_info_mut() = Path::new(Url::new(uri.clone()));
        request.head_mut().uri = uri;
    }
    next.call(request).await
}

fn trimmed(path: &str) -> Cow<'_, str> {
    if !path.starts_with('/') {
        return path.into();
    }
    let mut text = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        text.push('/');
        text.push_str(part);
    }
    match text.as_str() {
        "" => "/".into(),
        _ if text == path => path.into(),
        _ => text.into(),
    }
}

/// Whether an id would make the path, as routing reads it, one of a route that changes something.
fn leaves_an_id_out(request: &ServiceRequest) -> bool {
    let path = request.match_info().as_str();
    let Some(methods) = request.app_data::<Methods>().filter(|_| path.ends_with('/')) else { return false };
    let with_id = format!("{}/id", trimmed(path));
    !request.method().is_safe()
        && methods.at(&with_id).is_some_and(|methods| methods.contains(request.method()))
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    parts.path_and_query = Some(format!("{path}{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slashes_that_say_nothing_are_taken_away() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("", ""),
            ("*", "*"),
            ("/login", "/login"),
            ("/login/", "/login"),
            ("//api///me//", "/api/me"),
            ("/api/%2F", "/api/%2F"),
            ("/a%20b/", "/a%20b"),
        ] {
            assert_eq!(trimmed(path), expected, "{path}");
        }
    }

    #[test]
    fn the_query_stays() {
        let uri: Uri = "/api//me/?a=b/&c=%2F//".parse().unwrap();
        assert_eq!(with_path(&uri, "/api/me").unwrap(), "/api/me?a=b/&c=%2F//");
        let whole: Uri = "http://host:1/api/me/".parse().unwrap();
        assert_eq!(with_path(&whole, "/api/me").unwrap(), "http://host:1/api/me");
    }
}
