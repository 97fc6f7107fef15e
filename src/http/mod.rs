//! Transport only: reads requests, calls [`flow`](crate::flow), writes answers. The files have the names of the
//! steps in `flow`.
//!
//! [`routes`] is the one list from which the served routes and the OpenAPI document come. [`public_app`] and
//! [`admin_app`] are the applications of the two listeners.

mod admin;
mod backchannel_logout;
mod browser_logout;
mod callback;
mod docs;
mod error_response;
mod extract;
mod front;
mod health;
mod login;
mod logout;
mod logout_pages;
mod me;
mod middleware;
pub mod openapi;
mod pages;
mod redeem;
mod rotate;
mod routes;
mod sample;
mod sessions;
#[cfg(test)]
mod tests;

use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, Error, web};
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::state::Broker;
use middleware::host::OwnNames;
use middleware::{admission, answer, cors, slashes};
use routes::Offered;
pub use sample::Sample;

/// What the listeners need beyond the [`Broker`].
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Host names that the listeners answer for, besides their own.
    pub host_names: Vec<String>,
    /// Whether the public listener of a production broker shows the API's description.
    pub docs_public: bool,
    /// The sample app, where it is offered.
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
        docs: broker.development || settings.docs_public,
        sample: settings.sample.is_some(),
    };
    let cors = cors::layer(broker.clone());
    app(broker, settings, names, move |config| routes::public(config, cors, offered))
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
    app(broker, settings, names, routes::admin).app_data(metrics)
}

/// What both listeners have in common. The layer that is added last is the outermost.
fn app(
    broker: web::Data<Broker>,
    settings: web::Data<HttpSettings>,
    own_names: OwnNames,
    configure: impl FnOnce(&mut ServiceConfig),
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = Error, InitError = ()>,
> {
    let (app, document) = App::new().into_utoipa_app().configure(configure).split_for_parts();
    let own_names = web::Data::new(own_names);
    let (admitting, answering) = (broker.clone(), broker.clone());
    app.app_data(broker)
        .app_data(settings.clone())
        .app_data(routes::Methods::of(&document))
        .default_service(web::to(routes::no_route))
        .wrap(from_fn(slashes::trim))
        .wrap(from_fn(move |request, next| {
            let (broker, names) = (admitting.clone(), own_names.clone());
            async move { admission::admit(request, next, &broker, &names).await }
        }))
        .wrap(from_fn(move |request, next| {
            let (broker, settings) = (answering.clone(), settings.clone());
            async move { answer::finish(request, next, &broker, &settings).await }
        }))
}
