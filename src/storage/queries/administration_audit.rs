//! Reading the audit trail, page by page.

use diesel::prelude::*;

use super::Db;
use crate::storage::administration::records::{AuditEntry, AuditFilter, AuditPosition, Order};
use crate::storage::administration::rows::AuditEntryRow;
use crate::storage::error::StorageError;
use crate::storage::schema::audit_events;
use crate::storage::types::{Id, Time};

pub fn read(
    db: &mut Db,
    filter: &AuditFilter,
    order: Order,
    after: Option<AuditPosition>,
) -> Result<Vec<AuditEntry>, StorageError> {
    let mut query = audit_events::table.select(AuditEntryRow::as_select()).into_boxed();
    if let Some(user) = filter.user {
        query = query.filter(audit_events::user_id.eq(Id::from(user)));
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(audit_events::kind.eq(kind));
    }
    if let Some(client) = &filter.client {
        query = query.filter(audit_events::client_id.eq(client.as_str()));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit_events::at.ge(Time(since)));
    }
    if let Some(until) = filter.until {
        query = query.filter(audit_events::at.lt(Time(until)));
    }
    let (at, id) = (audit_events::at, audit_events::id);
    query = match (order, after.map(|after| (Time(after.at), after.id))) {
        (_, None) => query,
        // The first condition alone is what the index can use.
        (Order::NewestFirst, Some((then, number))) => {
            query.filter(at.le(then)).filter(at.lt(then).or(id.lt(number)))
        }
        (Order::OldestFirst, Some((then, number))) => {
            query.filter(at.ge(then)).filter(at.gt(then).or(id.gt(number)))
        }
    };
    query = match order {
        Order::NewestFirst => query.order((at.desc(), id.desc())),
        Order::OldestFirst => query.order((at.asc(), id.asc())),
    };
    let rows = query.limit(filter.limit.into()).load::<AuditEntryRow>(db)?;
    Ok(rows.into_iter().map(AuditEntry::from).collect())
}
