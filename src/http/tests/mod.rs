//! The applications as a whole: what every answer has, whatever goes wrong. What the flow does is tested
//! elsewhere; nothing here gets as far.

use std::sync::Arc;

use actix_web::body::{MessageBody, to_bytes};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::{Error, HttpResponse, get, web};
use serde_json::Value;

use super::*;
use crate::domain::client::Client;
use crate::state::{ClientRegistry, testing};

mod access;
mod answers;

const SPA: &str = "https://app.example.com";

fn client() -> Client {
    Client { origins: vec![SPA.parse().unwrap()], ..Client::example() }
}

/// A broker whose stores are never asked.
fn broker(development: bool) -> web::Data<Broker> {
    let clients = ClientRegistry::new(vec![client()]);
    web::Data::new(Broker { development, clients, ..testing::broker() })
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    async fn of(response: HttpResponse<impl MessageBody>) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.ok().unwrap();
        Self { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

async fn ask<T>(app: App<T>, request: TestRequest) -> Answer
where
    T: ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = Error, InitError = ()>,
    T: 'static,
    T::Future: 'static,
{
    let app = init_service(app).await;
    match try_call_service(&app, request.to_request()).await {
        Ok(response) => Answer::of(response.into_parts().1).await,
        Err(error) => Answer::of(error.error_response()).await,
    }
}

async fn public(request: TestRequest) -> Answer {
    ask(public_app(broker(false), settings()), request).await
}

/// Settings with a trusted proxy: the one of [`through_proxy`].
fn settings() -> web::Data<HttpSettings> {
    web::Data::new(HttpSettings {
        trusted_proxies: vec!["192.0.2.1/32".parse().unwrap()],
        ..HttpSettings::default()
    })
}

/// The request as the proxy passes it on, under an id of its own.
fn through_proxy(request: TestRequest, id: &str) -> TestRequest {
    request.peer_addr("192.0.2.1:80".parse().unwrap()).insert_header(("x-request-id", id.to_owned()))
}

fn request(method: Method, uri: &str) -> TestRequest {
    TestRequest::with_uri(uri).method(method).insert_header(("host", "auth.example.com"))
}

fn get_from(uri: &str) -> TestRequest {
    request(Method::GET, uri)
}

fn post_json(uri: &str, body: &'static str) -> TestRequest {
    request(Method::POST, uri).insert_header(("content-type", "application/json")).set_payload(body)
}
