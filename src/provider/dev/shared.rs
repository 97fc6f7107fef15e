//! What the endpoints of one provider share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::HttpRequest;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use secrecy::ExposeSecret;

use super::expiring::Expiring;
use super::faults::{Fault, FaultSwitch, FaultSwitches};
use super::keys::{KeySet, SigningAlgorithm};
use super::request_log::RequestLog;
use super::users::User;
use super::{DevClient, DevProviderSettings};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::entropy::{self, Entropy};
use crate::domain::loopback::is_loopback_url;

/// A code is redeemed within this time.
const CODE_SECONDS: i64 = 60;

/// An access token is valid so long.
pub(super) const ACCESS_TOKEN_SECONDS: i64 = 3600;

/// A browser stays signed in at the provider so long.
const SESSION_SECONDS: i64 = 12 * 3600;

/// The two providers that live on one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Oidc,
    PlainOAuth2,
}

/// What the person granted: behind a code, then behind its access token.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub kind: Kind,
    pub client_id: String,
    pub redirect_uri: String,
    pub scope: String,
    pub challenge: Option<String>,
    pub nonce: Option<String>,
    pub acr: &'static str,
    pub algorithm: SigningAlgorithm,
    pub session: Session,
    pub fault: Option<Fault>,
}

impl Grant {
    pub(super) fn has_scope(&self, name: &str) -> bool {
        self.scope.split(' ').any(|scope| scope == name)
    }
}

/// A browser's sign-in at the provider.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The value of its cookie: a browser that has it is signed in.
    pub cookie: String,
    pub user: &'static User,
    pub auth_time: Timestamp,
}

impl Session {
    /// The `sid` that clients learn (Back-Channel Logout 1.0 section 2.1): names the session, opens nothing.
    pub(super) fn sid(&self) -> String {
        URL_SAFE_NO_PAD.encode(&digest(&SHA256, self.cookie.as_bytes()).as_ref()[..16])
    }
}

/// The state of one provider; it outlives its server, so that a stopped provider can be started again.
pub(super) struct Shared {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    pub switches: FaultSwitches,
    pub codes: Expiring<Grant>,
    pub tokens: Expiring<Grant>,
    pub sessions: Expiring<Session>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    open_registration: bool,
    clients: Mutex<Vec<DevClient>>,
    logout_addresses: Mutex<BTreeMap<String, String>>,
    log: Mutex<RequestLog>,
    cookie_name: String,
}

impl Shared {
    pub(super) fn new(settings: DevProviderSettings, address: std::net::SocketAddr) -> Self {
        Self {
            url: format!("http://{address}"),
            switches: FaultSwitches::default(),
            codes: Expiring::new(TimeDelta::seconds(CODE_SECONDS)),
            tokens: Expiring::new(TimeDelta::seconds(ACCESS_TOKEN_SECONDS)),
            sessions: Expiring::new(TimeDelta::seconds(SESSION_SECONDS)),
            clock: settings.clock,
            entropy: settings.entropy,
            open_registration: settings.open_registration,
            clients: Mutex::new(settings.clients),
            logout_addresses: Mutex::default(),
            log: Mutex::default(),
            // Cookies do not tell ports apart.
            cookie_name: format!("dev_provider_session_{}", address.port()),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// 256 random bits as text: a code, a token, a session id.
    pub(super) fn random_name(&self) -> String {
        URL_SAFE_NO_PAD.encode(entropy::bytes::<32>(&*self.entropy))
    }

    pub(super) fn log(&self) -> MutexGuard<'_, RequestLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_on(&self, switch: FaultSwitch) -> bool {
        self.switches.is_on(switch)
    }

    /// The keys that sign now.
    pub(super) fn keys(&self) -> &'static KeySet {
        KeySet::of_this_process(self.is_on(FaultSwitch::JwksRotate))
    }

    /// Keys that this provider does not publish now.
    pub(super) fn foreign_keys(&self) -> &'static KeySet {
        KeySet::of_this_process(!self.is_on(FaultSwitch::JwksRotate))
    }

    pub(super) fn register(&self, client: DevClient) {
        let mut clients = self.clients();
        clients.retain(|known| known.client_id != client.client_id);
        clients.push(client);
    }

    pub(super) fn tell_of_logouts(&self, client_id: &str, address: String) {
        let mut addresses = self.logout_addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.insert(client_id.to_owned(), address);
    }

    /// The clients that want to know of logouts, each with the address for it.
    pub(super) fn logout_addresses(&self) -> BTreeMap<String, String> {
        self.logout_addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the browser may be sent to `redirect_uri` for this client: exact comparison (RFC 9700
    /// section 2.1). With open registration any loopback address will do for an unknown client.
    pub(super) fn may_redirect(&self, client_id: &str, redirect_uri: &str) -> bool {
        match self.clients().iter().find(|client| client.client_id == client_id) {
            Some(client) => client.redirect_uris.iter().any(|registered| registered == redirect_uri),
            None => self.open_registration && is_local_http(redirect_uri),
        }
    }

    /// Whether a logout may lead to `address`: one of the origins that the client is registered with.
    pub(super) fn may_return_after_logout(&self, client_id: &str, address: &str) -> bool {
        let Ok(wanted) = url::Url::parse(address) else { return false };
        let same_origin =
            |uri: &String| url::Url::parse(uri).is_ok_and(|known| known.origin() == wanted.origin());
        match self.clients().iter().find(|client| client.client_id == client_id) {
            Some(client) => wanted.origin().is_tuple() && client.redirect_uris.iter().any(same_origin),
            None => self.open_registration && is_local_http(address),
        }
    }

    /// Whether the secret is the client's. With open registration an unknown client has any secret.
    pub(super) fn authenticate(&self, client_id: &str, secret: &str) -> bool {
        match self.clients().iter().find(|client| client.client_id == client_id) {
            Some(client) => {
                let known = client.client_secret.expose_secret();
                verify_slices_are_equal(known.as_bytes(), secret.as_bytes()).is_ok()
            }
            None => self.open_registration && !client_id.is_empty() && !secret.is_empty(),
        }
    }

    /// The client's secret, for the fault that signs with it.
    pub(super) fn secret_of(&self, client_id: &str) -> Vec<u8> {
        let clients = self.clients();
        let client = clients.iter().find(|client| client.client_id == client_id);
        client.map(|client| client.client_secret.expose_secret().as_bytes().to_vec()).unwrap_or_default()
    }

    fn clients(&self) -> MutexGuard<'_, Vec<DevClient>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    /// Who is signed in with this browser.
    pub(super) fn session(&self, request: &HttpRequest) -> Option<Session> {
        self.sessions.get(self.now(), request.cookie(&self.cookie_name)?.value())
    }
}

/// Whether the text is an http address on this machine.
fn is_local_http(address: &str) -> bool {
    url::Url::parse(address).is_ok_and(|url| url.scheme() == "http" && is_loopback_url(&url))
}
