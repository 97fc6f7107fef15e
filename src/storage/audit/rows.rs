//! Rows of `audit_events`.

use std::borrow::Cow;

use diesel::prelude::*;

use super::{AuditEntry, AuditRecord};
use crate::domain::audit::AuditEvent;
use crate::storage::schema::audit_events;
use crate::storage::types::{Id, Time};

/// An event; its id is assigned by the database.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = audit_events)]
pub struct EventRow {
    at: Time,
    kind: String,
    request_id: String,
    address: Option<String>,
    client_id: Option<String>,
    provider_id: Option<String>,
    user_id: Option<Id>,
    session_id: Option<Id>,
    token: Option<String>,
    reason: Option<String>,
    actor: Option<String>,
    resource_server_id: Option<String>,
}

impl From<AuditEvent> for EventRow {
    fn from(event: AuditEvent) -> Self {
        Self {
            at: event.at.into(),
            kind: event.kind.as_str().to_owned(),
            request_id: event.request_id.into(),
            address: event.address.map(|address| address.to_string()),
            client_id: event.client.map(String::from),
            provider_id: event.provider.map(String::from),
            user_id: event.user.map(Id::from),
            session_id: event.session.map(Id::from),
            token: event.token.map(|token| token.short_id()),
            reason: event.reason.map(Cow::into_owned),
            actor: event.actor.map(|actor| actor.as_str().to_owned()),
            resource_server_id: event.resource_server.map(String::from),
        }
    }
}

impl From<EventRow> for AuditRecord {
    fn from(row: EventRow) -> Self {
        Self {
            at: row.at.0,
            kind: row.kind,
            request_id: row.request_id,
            address: row.address,
            client: row.client_id,
            provider: row.provider_id,
            user: row.user_id.map(Into::into),
            session: row.session_id.map(Into::into),
            token: row.token,
            reason: row.reason,
            actor: row.actor,
            resource_server: row.resource_server_id,
        }
    }
}

/// An event with its number.
#[derive(Queryable, Selectable)]
#[diesel(table_name = audit_events)]
pub struct EntryRow {
    id: i64,
    #[diesel(embed)]
    event: EventRow,
}

impl From<EntryRow> for AuditEntry {
    fn from(row: EntryRow) -> Self {
        Self { id: row.id, event: row.event.into() }
    }
}
