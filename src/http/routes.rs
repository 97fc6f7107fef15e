//! The list of routes, each with the shape of its errors. Only what is listed is served, and everything in
//! [`contract`] is in the OpenAPI document.
//!
//! A trailing slash is accepted everywhere except in place of an id (`middleware/slashes.rs`); paths are written
//! without it.

use actix_cors::Cors;

use super::error_response::Shape::{DevicePage, OAuth, Page, Problem, SignOutPage, VisitedPage};
use super::route_table::RouteRegistrar;
use super::{
    admin, backchannel_logout, browser_logout, callback, device, device_authorization, docs, forward_auth,
    front, health, introspect, login, logout, me, metadata, oauth_authorize, oauth_token, personal_tokens,
    redeem, revoke, rotate, sample, sessions, userinfo,
};

/// Which optional routes a broker has.
#[derive(Debug, Clone, Copy)]
pub struct Offered {
    /// Redemption as in the service that this broker replaces.
    pub legacy: bool,
    /// Forward-auth, unless gateways have a listener of their own.
    pub gateways: bool,
    /// The making of personal tokens.
    pub personal_tokens: bool,
    /// The connection of devices.
    pub devices: bool,
    /// The API's description.
    pub docs: bool,
    /// The sample app.
    pub sample: bool,
}

/// The public listener.
pub fn public(routes: &mut RouteRegistrar<'_, '_>, cors: impl Fn() -> Cors, offered: Offered) {
    contract(routes, cors, offered);
    if offered.docs {
        docs_pages(routes);
    }
    if offered.sample {
        routes
            .route(Problem, front::sample_page)
            .route(Problem, sample::sample_folder)
            .route(Problem, sample::sample_file)
            .route(Problem, sample::sample_file_in_folder);
    } else {
        routes.route(Problem, front::front_page);
    }
}

/// The contract with clients and providers.
pub fn contract(routes: &mut RouteRegistrar<'_, '_>, cors: impl Fn() -> Cors, offered: Offered) {
    routes
        .route(Page, login::login)
        .route(Page, oauth_authorize::authorize)
        .route(Page, callback::oauth2_callback)
        .route(Page, callback::oauth2_callback_of_provider)
        .route(SignOutPage, browser_logout::logout_page)
        .route(SignOutPage, browser_logout::end_browser_session)
        .route(SignOutPage, browser_logout::logout_callback)
        .route(OAuth, backchannel_logout::backchannel_logout)
        .route(OAuth, introspect::introspect)
        .probe(health::healthz)
        .probe(health::readyz);
    if offered.gateways {
        gateways(routes);
    }
    if offered.devices {
        // Devices are no pages of another origin: no cross-origin access here.
        routes
            .route(OAuth, device_authorization::device_authorization)
            .route(DevicePage, device::device_page)
            .route(DevicePage, device::answer_device_page)
            .route(DevicePage, device::device_sign_in);
    }
    standard_clients(routes, &cors);
    routes.cross_origin("/api", cors(), |api| {
        api.route(OAuth, redeem::get_token)
            .route(Problem, me::me)
            .route(Problem, me::permissions)
            .route(Problem, rotate::rotate)
            .route(Problem, logout::logout)
            .route(Problem, sessions::sessions)
            .route(Problem, sessions::end_other_sessions)
            .route(Problem, sessions::end_session)
            .route(Problem, personal_tokens::personal_tokens)
            .route(Problem, personal_tokens::revoke_personal_token);
        if offered.personal_tokens {
            api.route(Problem, personal_tokens::make_personal_token);
        }
        if offered.legacy {
            api.route(OAuth, redeem::get_token_legacy);
        }
    });
    if offered.docs {
        routes.route(Problem, docs::openapi_json);
    }
}

/// What gateways ask and pass on.
fn gateways(routes: &mut RouteRegistrar<'_, '_>) {
    routes
        .gateways(forward_auth::ForwardAuth)
        .visited(VisitedPage, forward_auth::page_callback::page_callback);
}

/// The listener for gateways.
pub fn gateway(routes: &mut RouteRegistrar<'_, '_>) {
    gateways(routes);
    routes.probe(health::healthz);
}

/// What client libraries of OAuth 2 and OpenID Connect call beside `/oauth2/authorize`. Each path is a scope of its own,
/// because only these may be called from other origins.
fn standard_clients(routes: &mut RouteRegistrar<'_, '_>, cors: impl Fn() -> Cors) {
    routes
        .cross_origin("/oauth2/token", cors(), |token| {
            token.route(OAuth, oauth_token::token);
        })
        .cross_origin("/oauth2/userinfo", cors(), |userinfo| {
            userinfo.route(OAuth, userinfo::userinfo);
        })
        .cross_origin(revoke::PATH, cors(), |revocation| {
            revocation.route(OAuth, revoke::revoke);
        })
        .cross_origin("/.well-known", cors(), |well_known| {
            well_known
                .route(Problem, metadata::oauth_authorization_server)
                .route(Problem, metadata::openid_configuration)
                .route(Problem, metadata::jwks);
        });
}

/// The admin listener. Its detailed health is not a probe: it names what is wrong.
pub fn admin(routes: &mut RouteRegistrar<'_, '_>) {
    routes
        .route(Problem, admin::metrics)
        .route(Problem, admin::detailed_health)
        .route(Problem, docs::openapi_json);
    docs_pages(routes);
}

fn docs_pages(routes: &mut RouteRegistrar<'_, '_>) {
    routes.route(Problem, docs::docs).route(Problem, docs::docs_file);
}
