//! The tables as the queries name them. Tests compare them with what the migrations create.

#![allow(missing_docs, reason = "generated items; the migrations say what each table is for")]

use super::types::{SqlId, SqlTime};

diesel::table! {
    use diesel::sql_types::Nullable;
    use super::{SqlId, SqlTime};

    users (id) {
        id -> SqlId,
        disabled_at -> Nullable<SqlTime>,
        created_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use super::{SqlId, SqlTime};

    identities (id) {
        id -> SqlId,
        user_id -> SqlId,
        provider_id -> Text,
        subject -> Text,
        username -> Nullable<Text>,
        display_name -> Nullable<Text>,
        email -> Nullable<Text>,
        email_verified -> Bool,
        permissions -> Text,
        groups -> Text,
        as_of -> SqlTime,
        created_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use super::{SqlId, SqlTime};

    sessions (id) {
        id -> SqlId,
        user_id -> SqlId,
        identity_id -> SqlId,
        cookie_digest -> Nullable<Binary>,
        provider_session -> Nullable<Text>,
        auth_time -> Nullable<SqlTime>,
        created_at -> SqlTime,
        expires_at -> SqlTime,
        revoked_at -> Nullable<SqlTime>,
        last_used_at -> Nullable<SqlTime>,
        user_agent -> Nullable<Text>,
        address_prefix -> Text,
        sealed_id_token -> Nullable<Binary>,
        browser_id -> Nullable<SqlId>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Nullable, Text};
    use super::{SqlId, SqlTime};

    tokens (id) {
        id -> SqlId,
        kind -> Text,
        handle_digest -> Binary,
        key_id -> BigInt,
        user_id -> SqlId,
        identity_id -> SqlId,
        session_id -> Nullable<SqlId>,
        name -> Nullable<Text>,
        client_id -> Text,
        audiences -> Text,
        scopes -> Text,
        issued_at -> SqlTime,
        expires_at -> SqlTime,
        binding -> Binary,
        sealed_handle -> Nullable<Binary>,
        parent_id -> Nullable<SqlId>,
        superseded_at -> Nullable<SqlTime>,
        revoked_at -> Nullable<SqlTime>,
        last_used_at -> Nullable<SqlTime>,
        dpop_jkt -> Nullable<Binary>,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use super::{SqlId, SqlTime};

    audit_events (id) {
        id -> BigInt,
        at -> SqlTime,
        kind -> Text,
        request_id -> Text,
        address -> Nullable<Text>,
        client_id -> Nullable<Text>,
        provider_id -> Nullable<Text>,
        user_id -> Nullable<SqlId>,
        session_id -> Nullable<SqlId>,
        token -> Nullable<Text>,
        reason -> Nullable<Text>,
        actor -> Nullable<Text>,
        resource_server_id -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use super::SqlTime;

    resource_servers (id) {
        id -> Text,
        audience -> Text,
        personal_data -> Bool,
        disabled_at -> Nullable<SqlTime>,
        created_at -> SqlTime,
        permissions -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::{BigInt, Binary, Text};
    use super::SqlTime;

    resource_server_secrets (resource_server_id, digest) {
        resource_server_id -> Text,
        digest -> Binary,
        key_id -> BigInt,
        created_at -> SqlTime,
    }
}

diesel::table! {
    use diesel::sql_types::{Binary, Text};
    use super::SqlTime;

    resource_server_keys (resource_server_id, digest) {
        resource_server_id -> Text,
        digest -> Binary,
        public_key -> Text,
        created_at -> SqlTime,
    }
}

diesel::joinable!(identities -> users (user_id));
diesel::joinable!(sessions -> identities (identity_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(tokens -> identities (identity_id));
diesel::joinable!(tokens -> sessions (session_id));
diesel::joinable!(tokens -> users (user_id));
diesel::joinable!(resource_server_secrets -> resource_servers (resource_server_id));
diesel::allow_tables_to_appear_in_same_query!(resource_servers, resource_server_secrets);
diesel::allow_tables_to_appear_in_same_query!(users, identities, sessions, tokens);

#[cfg(test)]
mod tests {
    use diesel::prelude::*;
    use diesel_migrations::MigrationHarness;

    use super::*;

    #[test]
    fn the_migrations_create_every_column_that_is_named_here() {
        let mut db = SqliteConnection::establish(":memory:").unwrap();
        db.run_pending_migrations(crate::storage::sqlite::MIGRATIONS).unwrap();
        users::table.select(users::all_columns).execute(&mut db).unwrap();
        identities::table.select(identities::all_columns).execute(&mut db).unwrap();
        sessions::table.select(sessions::all_columns).execute(&mut db).unwrap();
        tokens::table.select(tokens::all_columns).execute(&mut db).unwrap();
        audit_events::table.select(audit_events::all_columns).execute(&mut db).unwrap();
        resource_servers::table.select(resource_servers::all_columns).execute(&mut db).unwrap();
        let secrets = resource_server_secrets::table.select(resource_server_secrets::all_columns);
        secrets.execute(&mut db).unwrap();
        resource_server_keys::table.select(resource_server_keys::all_columns).execute(&mut db).unwrap();
    }
}
