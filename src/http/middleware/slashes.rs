//! Redundant slashes are removed before routing: the one at the end, and repeated ones.
//!
//! One stays: `DELETE /api/sessions/` is `DELETE /api/sessions/{id}` with an empty id. It must not become
//! `DELETE /api/sessions`, which ends all other sessions; it is not found.

use std::borrow::Cow;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{Path, ServiceRequest, ServiceResponse, Url};
use actix_web::http::Uri;
use actix_web::middleware::Next;

use crate::http::route_table::{RouteTable, without_redundant_slashes};

/// Routes the request without redundant slashes.
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
    let text = without_redundant_slashes(path);
    if text == path { path.into() } else { text.into() }
}

/// Whether the path, with an id appended, belongs to a route that changes something.
fn leaves_an_id_out(request: &ServiceRequest) -> bool {
    let path = request.match_info().as_str();
    let Some(table) = request.app_data::<RouteTable>().filter(|_| path.ends_with('/')) else { return false };
    let with_id = format!("{}/id", trimmed(path));
    !request.method().is_safe() && table.serves(&with_id, request.method())
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
    fn only_redundant_slashes_are_removed() {
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
