//! Personal tokens, written into the database.

use chrono::TimeDelta;
use token_broker::domain::entropy::SystemEntropy;
use token_broker::domain::ids::TokenId;
use token_broker::domain::profile::ProfileText;
use token_broker::domain::standing::TokenRecord;
use token_broker::domain::token::{AccessToken, GenuineToken, TokenFacts, TokenHandle, TokenOwner};
use token_broker::domain::token_kind::TokenKind;

use super::broker::TestBroker;
use super::rows::{change, hex};

/// The row of a token.
pub async fn record(broker: &TestBroker, token: &str) -> TokenRecord {
    let genuine = GenuineToken::parse(token, &broker.config.server_keys.ring).unwrap();
    *broker.storage().find_token(genuine.handle.digest()).await.unwrap().unwrap()
}

/// A personal token of the user of a session's token.
pub async fn of(broker: &TestBroker, token: &str) -> String {
    of_record(broker, &record(broker, token).await)
}

/// A personal token of the same user, client and scopes, for a year.
pub fn of_record(broker: &TestBroker, of: &TokenRecord) -> String {
    let key = broker.config.server_keys.ring.issuing();
    let handle = TokenHandle::random(&SystemEntropy);
    let facts = TokenFacts {
        id: TokenId::random(&SystemEntropy),
        kind: TokenKind::Personal,
        handle: handle.digest(),
        owner: TokenOwner { session_id: None, ..of.token.facts.owner },
        name: ProfileText::clean("backup script"),
        expires_at: of.token.facts.issued_at + TimeDelta::days(366),
        dpop_jkt: None,
        ..of.token.facts.clone()
    };
    let blob = |bytes: &[u8]| format!("x'{}'", hex(bytes));
    let values = [
        blob(facts.id.as_uuid().as_bytes()),
        "'personal'".to_owned(),
        blob(facts.handle.as_bytes()),
        facts.key_id.to_string(),
        blob(facts.owner.user_id.as_uuid().as_bytes()),
        blob(facts.owner.identity_id.as_uuid().as_bytes()),
        "'backup script'".to_owned(),
        format!("'{}'", facts.client_id),
        format!("'{}'", facts.audiences),
        format!("'{}'", facts.scopes),
        facts.issued_at.timestamp_micros().to_string(),
        facts.expires_at.timestamp_micros().to_string(),
        blob(&facts.binding(key)),
    ];
    let insert = format!(
        "INSERT INTO tokens (id, kind, handle_digest, key_id, user_id, identity_id, name, client_id, audiences, \
         scopes, issued_at, expires_at, binding) VALUES ({})",
        values.join(", ")
    );
    assert_eq!(change(broker, &insert), 1);
    AccessToken::issue(TokenKind::Personal, key, &handle).expose().to_owned()
}
