//! Transport only: reads requests, calls [`flow`](crate::flow), writes answers. Each file has the name of a step in
//! `flow`.
//!
//! [`routes`] is the one list of routes; [`openapi`] generates the document from it. [`public_app`] and
//! [`admin_app`] are the applications of the two listeners.

mod admin;
mod backchannel_logout;
mod browser_logout;
mod callback;
mod challenge;
pub(crate) mod connection;
mod device;
mod device_authorization;
mod device_pages;
mod docs;
mod dpop_headers;
mod error_page;
mod error_response;
mod errors;
mod extract;
pub mod forward_auth;
mod front;
mod health;
pub mod introspect;
mod language;
mod login;
mod logout;
mod logout_pages;
mod me;
mod messages;
mod metadata;
mod middleware;
mod oauth_authorize;
mod oauth_token;
pub mod openapi;
mod pages;
mod personal_tokens;
mod redeem;
pub mod revoke;
mod rotate;
mod route_table;
mod routes;
mod sample;
mod sessions;
#[cfg(test)]
mod tests;
mod userinfo;

use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, Error, web};
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_actix_web::AppExt;

use crate::state::Broker;
use forward_auth::identity_headers::IdentityHeaders;
use middleware::host::OwnNames;
use middleware::measure;
pub use middleware::measure::Listener;
use middleware::{admission, answer, cors, slashes};
use route_table::{RouteRegistrar, RouteTable, no_route};
use routes::Offered;
pub use sample::Sample;

/// What the listeners need beyond the [`Broker`].
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Additional host names that the listeners answer for.
    pub host_names: Vec<String>,
    /// Whether gateways have a listener of their own, so that the public one does not answer them.
    pub gateways_elsewhere: bool,
    /// Whether the public listener of a production broker shows the API's description.
    pub docs_public: bool,
    /// The headers in which gateways tell the APIs behind them who the visitor is.
    pub identity_headers: IdentityHeaders,
    /// The sample app, if it is offered.
    pub sample: Option<Sample>,
}

/// The application of the public listener.
pub fn public_app(
    broker: web::Data<Broker>,
    settings: web::Data<HttpSettings>,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = Error, InitError = ()>,
> {
    let names = OwnNames::public(&broker.public_url, &settings.host_names);
    let offered = Offered {
        legacy: broker.clients.iter().any(|client| client.legacy),
        gateways: !settings.gateways_elsewhere,
        personal_tokens: broker.personal_tokens.enabled,
        devices: broker.clients.iter().any(|client| client.device),
        docs: broker.development || settings.docs_public,
        sample: settings.sample.is_some(),
    };
    let for_cors = broker.clone();
    let cors = move || cors::layer(for_cors.clone());
    let sample = settings.sample.clone().map(web::Data::new);
    let app =
        app(broker, settings, names, Listener::Public, move |routes| routes::public(routes, cors, offered));
    match sample {
        Some(sample) => app.app_data(sample),
        None => app,
    }
}

/// The application of the listener for gateways: forward-auth, the way back of its visitors, and a health probe.
pub fn gateway_app(
    broker: web::Data<Broker>,
    settings: web::Data<HttpSettings>,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = Error, InitError = ()>,
> {
    let names = OwnNames::public(&broker.public_url, &settings.host_names);
    app(broker, settings, names, Listener::Gateways, routes::gateway)
}

/// The application of the admin listener: metrics, health, and the API's description.
pub fn admin_app(
    broker: web::Data<Broker>,
    settings: web::Data<HttpSettings>,
    metrics: web::Data<PrometheusHandle>,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = Error, InitError = ()>,
> {
    let names = OwnNames::admin(&settings.host_names);
    app(broker, settings, names, Listener::Admin, routes::admin).app_data(metrics)
}

/// The common part of all listeners. The layer that is added last is the outermost.
fn app(
    broker: web::Data<Broker>,
    settings: web::Data<HttpSettings>,
    own_names: OwnNames,
    listener: Listener,
    list: impl FnOnce(&mut RouteRegistrar<'_, '_>),
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = Error, InitError = ()>,
> {
    let mut table = RouteTable::default();
    let app = App::new()
        .into_utoipa_app()
        .configure(|config| list(&mut RouteRegistrar::new(config, &mut table)))
        .into_app();
    measure::register(listener, &table);
    let own_names = web::Data::new(own_names);
    let identity_headers = web::Data::new(settings.identity_headers.clone());
    let (admitting, answering) = (broker.clone(), broker.clone());
    app.app_data(broker)
        .app_data(settings.clone())
        .app_data(identity_headers)
        .app_data(openapi::served())
        .app_data(table)
        .default_service(web::to(no_route))
        .wrap(from_fn(slashes::trim))
        .wrap(from_fn(move |request, next| {
            let (broker, names) = (admitting.clone(), own_names.clone());
            async move { admission::admit(request, next, &broker, &names).await }
        }))
        .wrap(from_fn(move |request, next| {
            let (broker, settings) = (answering.clone(), settings.clone());
            async move { answer::finish(request, next, &broker, &settings.trusted_proxies, listener).await }
        }))
}
