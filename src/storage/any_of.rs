//! An SQL condition that Diesel has no expression for.

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression, ValidGrouping};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};

/// Holds if at least one of several conditions of the same form does; with no condition, it never holds.
///
/// Boxed expressions could express this as well, but name the table and the backend in their type.
#[derive(Debug, Clone)]
pub struct AnyOf<E>(pub Vec<E>);

impl<E: Expression> Expression for AnyOf<E> {
    type SqlType = E::SqlType;
}

impl<E: AppearsOnTable<Source>, Source> AppearsOnTable<Source> for AnyOf<E> where Self: Expression {}

impl<E: ValidGrouping<GroupBy>, GroupBy> ValidGrouping<GroupBy> for AnyOf<E> {
    type IsAggregate = E::IsAggregate;
}

/// The text depends on the number of conditions, so it has no static id to cache the prepared statement by.
impl<E> QueryId for AnyOf<E> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<E: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for AnyOf<E> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("(1 = 0");
        for condition in &self.0 {
            out.push_sql(" OR ");
            condition.walk_ast(out.reborrow())?;
        }
        out.push_sql(")");
        Ok(())
    }
}
