//! An API behind the broker: a registered resource server, as a program with its credentials.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use token_broker::domain::entropy::SystemEntropy;
use token_broker::flow::administration::resource_servers::{self, Granted};

use super::administration::administrator;
use super::broker::TestBroker;
use super::browser::Answer;

/// An API with an id and a secret.
#[derive(Debug, Clone)]
pub struct Api {
    pub id: String,
    pub secret: String,
}

impl Api {
    /// Registers an API that is told nothing but the local id.
    pub async fn register(broker: &TestBroker, id: &str, audience: &str) -> Self {
        Self::granted(broker, id, audience, Granted::default()).await
    }

    /// Registers an API that is told this.
    pub async fn granted(broker: &TestBroker, id: &str, audience: &str, granted: Granted) -> Self {
        broker.ready().await;
        let (name, audience) = (id.parse().unwrap(), audience.parse().unwrap());
        let secret = resource_servers::add(&administrator(broker), name, audience, granted).await.unwrap();
        Self { id: id.to_owned(), secret: secret.expose().as_str().to_owned() }
    }

    /// An API that is not registered, with a well-formed secret.
    pub fn unregistered(id: &str) -> Self {
        let secret = token_broker::domain::resource_server::ResourceServerSecret::random(&SystemEntropy);
        Self { id: id.to_owned(), secret: secret.expose().as_str().to_owned() }
    }

    /// The header with the credentials.
    pub fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.id, self.secret)))
    }

    /// Asks about a token.
    pub async fn introspect(&self, broker: &TestBroker, token: &str) -> Answer {
        self.post(broker, "/oauth2/introspect", token).await
    }

    /// Revokes a token.
    pub async fn revoke(&self, broker: &TestBroker, token: &str) -> Answer {
        self.post(broker, "/oauth2/revoke", token).await
    }

    async fn post(&self, broker: &TestBroker, path: &str, token: &str) -> Answer {
        let header = [("authorization", &*self.basic())];
        broker.browser().post_form(&broker.at(path), &[("token", token)], &header).await
    }
}

/// Checks that an answer says that a token is not active, and nothing else.
#[track_caller]
pub fn assert_inactive(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, r#"{"active":false}"#), "{answer:?}");
}

/// Checks that a caller was refused, with a challenge and with nothing about the token.
#[track_caller]
pub fn assert_unauthenticated(answer: &Answer) {
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_deref()),
        (401, Some("invalid_client")),
        "{answer:?}"
    );
    assert_eq!(answer.header("www-authenticate"), Some(r#"Basic realm="token-broker""#));
}
