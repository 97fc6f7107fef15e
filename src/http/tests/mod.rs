//! The applications as a whole: what every answer has, whatever goes wrong. What the flow does is tested
//! elsewhere; nothing here gets as far.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{MessageBody, to_bytes};
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::{Error, HttpResponse, get, web};
use serde_json::Value;

use super::*;
use crate::domain::client::{Client, KeyDelivery, KeyParameter};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::entropy::SystemEntropy;
use crate::domain::key_ring::{KeyId, KeyRing, ServerKey};
use crate::domain::lifetimes;
use crate::key_store::{KeyStore, KeyStoreSettings};
use crate::provider::Providers;
use crate::state::audit_trail::audit_trail;
use crate::state::health::HealthMemory;
use crate::state::last_use::LastUses;
use crate::state::late_revocations::LateRevocations;
use crate::state::limits::{LimitSettings, RateLimits};
use crate::state::server_keys::ServerKeys;
use crate::state::{ClientRegistry, Lifetimes};
use crate::storage::{Storage, StorageSettings};

mod access;
mod answers;

const SPA: &str = "https://app.example.com";

fn client() -> Client {
    Client {
        id: "web".parse().unwrap(),
        display_name: "Web".into(),
        redirect_uris: vec!["https://app.example.com/signed-in".parse().unwrap()],
        origins: vec![SPA.parse().unwrap()],
        key_delivery: KeyDelivery::Query,
        key_parameter: KeyParameter::OneTimeKey,
        legacy: false,
        enabled: true,
        scope: "profile".into(),
        login_parameters: vec![],
        inactivity: None,
        post_logout_redirect_uris: vec![],
    }
}

/// A broker whose stores are never asked.
fn broker(development: bool) -> web::Data<Broker> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let key = ServerKey::new(KeyId(1), vec![7; 32]).unwrap();
    let storage = StorageSettings {
        // Nothing can be opened there, and nothing is left behind.
        url: "sqlite:no-such-folder/never-opened.sqlite".parse().unwrap(),
        pool_size: 1,
        wait: Duration::from_millis(20),
        statement_timeout: Duration::from_secs(1),
        synchronous_full: false,
    };
    let plenty = NonZeroU32::new(1_000_000).unwrap();
    let limits = LimitSettings {
        logins: plenty,
        callbacks: plenty,
        failed_redemptions: plenty,
        failed_tokens: plenty,
        failed_logout_tokens: plenty,
    };
    web::Data::new(Broker {
        public_url: "https://auth.example.com/".parse().unwrap(),
        development,
        clients: ClientRegistry::new(vec![client()]),
        providers: Providers::new(Vec::new(), clock.clone()).unwrap(),
        storage: Storage::new(&storage).unwrap(),
        key_store: KeyStore::new(&KeyStoreSettings::new("memory:".parse().unwrap()), clock.clone()).unwrap(),
        keys: ServerKeys::new(Arc::new(KeyRing::new(KeyId(1), vec![key]).unwrap())),
        lifetimes: Lifetimes {
            one_time_key: lifetimes::ONE_TIME_KEY,
            api_token: lifetimes::API_TOKEN,
            session: lifetimes::SESSION,
        },
        live_tokens_per_user: lifetimes::LIVE_TOKENS_PER_USER,
        audit: audit_trail().0,
        last_uses: LastUses::default(),
        late_revocations: LateRevocations::default(),
        stopping: false.into(),
        health: HealthMemory::default(),
        limits: RateLimits::new(limits, &clock),
        clock,
        entropy: Arc::new(SystemEntropy),
    })
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
    ask(public_app(broker(false), web::Data::default()), request).await
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
