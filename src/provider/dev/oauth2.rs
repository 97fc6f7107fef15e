//! What only the plain OAuth 2 provider has: its two profile documents.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::broken::{self, Broken};
use super::person;
use super::shared::{Grant, Kind, Shared};
use super::web;

/// `GET /public-api/current_user/base_info`.
pub(super) async fn base_info(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    document(&request, &shared, person::base_info).await
}

/// `GET /public-api/current_user/all_permissions`.
pub(super) async fn all_permissions(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    document(&request, &shared, person::all_permissions).await
}

async fn document(request: &HttpRequest, shared: &Shared, of: fn(&Grant) -> Value) -> HttpResponse {
    let grant = web::bearer(request).and_then(|token| shared.tokens.get(shared.now(), token));
    let Some(grant) = grant.filter(|grant| grant.kind == Kind::PlainOAuth2) else {
        return web::unauthorized();
    };
    broken::answer(shared, grant.fault.and_then(Broken::profile_answer), &of(&grant)).await
}
