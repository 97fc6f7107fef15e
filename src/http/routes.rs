//! The one list of routes. What is not here is not served, and what is in [`contract`] stands in the OpenAPI
//! document.
//!
//! A trailing slash is accepted everywhere but where an id is left out (`middleware/slashes.rs`); paths are written
//! without it.

use actix_cors::Cors;
use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use actix_web::http::header::{Allow, TryIntoHeaderPair};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::OpenApi;
use utoipa_actix_web::scope::scope;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{
    admin, backchannel_logout, browser_logout, callback, docs, front, health, login, logout, me, redeem,
    rotate, sample, sessions,
};
use crate::error::{Error, ErrorCode, Result};

/// The routes that not every broker has.
#[derive(Debug, Clone, Copy)]
pub struct Offered {
    /// Redemption as in the service that this broker replaces.
    pub legacy: bool,
    /// The API's description.
    pub docs: bool,
    /// The sample app.
    pub sample: bool,
}

/// The public listener.
pub fn public(config: &mut ServiceConfig, cors: Cors, offered: Offered) {
    contract(config, cors, offered);
    config.service(front::front_page);
    if offered.docs {
        config.configure(docs);
    }
    if offered.sample {
        config
            .service(sample::sample_folder)
            .service(sample::sample_file)
            .service(sample::sample_file_in_folder);
    }
}

/// What clients and providers rely on. `cors` is wrapped around what SPAs call, and around nothing else.
pub fn contract(config: &mut ServiceConfig, cors: Cors, offered: Offered) {
    let mut api = scope("/api")
        .wrap(cors)
        .service(redeem::get_token)
        .service(me::me)
        .service(me::permissions)
        .service(rotate::rotate)
        .service(logout::logout)
        .service(sessions::sessions)
        .service(sessions::end_other_sessions)
        .service(sessions::end_session);
    if offered.legacy {
        api = api.service(redeem::get_token_legacy);
    }
    config
        .service(login::login)
        .service(callback::oauth2_callback)
        .service(callback::oauth2_callback_of_provider)
        .service(api)
        .service(browser_logout::logout_page)
        .service(browser_logout::end_browser_session)
        .service(browser_logout::logout_callback)
        .service(backchannel_logout::backchannel_logout)
        .service(health::healthz)
        .service(health::readyz);
    if offered.docs {
        config.service(docs::openapi_json);
    }
}

/// The admin listener.
pub fn admin(config: &mut ServiceConfig) {
    config
        .service(admin::metrics)
        .service(admin::detailed_health)
        .service(docs::openapi_json)
        .configure(docs);
}

fn docs(config: &mut ServiceConfig) {
    config.service(docs::docs).service(docs::docs_file);
}

/// Which methods each path has, read from the document of the same list.
#[derive(Debug, Clone)]
pub struct Methods(Vec<(ResourceDef, Vec<Method>)>);

impl Methods {
    /// The methods of every path in `document`.
    pub fn of(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter();
        Self(
            paths
                .map(|(path, item)| {
                    let methods = [
                        (Method::GET, item.get.is_some()),
                        (Method::HEAD, item.head.is_some()),
                        (Method::POST, item.post.is_some()),
                        (Method::PUT, item.put.is_some()),
                        (Method::DELETE, item.delete.is_some()),
                    ];
                    let served = methods.into_iter().filter(|(_, served)| *served);
                    (ResourceDef::new(path.as_str()), served.map(|(method, _)| method).collect())
                })
                .collect(),
        )
    }

    /// The methods of a path.
    pub fn at(&self, path: &str) -> Option<&[Method]> {
        self.0.iter().find(|(pattern, _)| pattern.is_match(path)).map(|(_, methods)| methods.as_slice())
    }
}

/// Answers what no route took: 405 where the path exists, 404 elsewhere.
pub async fn no_route(request: HttpRequest) -> Result<HttpResponse> {
    match request.app_data::<Methods>().and_then(|methods| methods.at(request.path())) {
        Some(methods) => Ok(method_not_allowed(methods)),
        None => Err(ErrorCode::NotFound.into()),
    }
}

/// 405 with the `Allow` header that RFC 9110 section 15.5.6 asks for.
fn method_not_allowed(allowed: &[Method]) -> HttpResponse {
    let mut response = HttpResponse::from_error(Error::new(ErrorCode::MethodNotAllowed));
    if let Ok((name, value)) = Allow(allowed.to_vec()).try_into_pair() {
        response.headers_mut().insert(name, value);
    }
    response
}
