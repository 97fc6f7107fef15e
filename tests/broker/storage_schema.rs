//! The migrations: up, down and up again, on both databases, with the same tables as a result.

use std::os::unix::fs::PermissionsExt;

use diesel::prelude::*;
use diesel::sql_types::Text;
use futures_util::future::join_all;
use token_broker::storage::Storage;

use crate::support::storage::{Database, settings};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// All tables, columns, indexes and constraints, as described by the database.
fn schema(url: &str) -> Vec<String> {
    lines(url, SQLITE_SCHEMA, POSTGRES_SCHEMA)
}

const SQLITE_SCHEMA: &str = "SELECT name || ': ' || coalesce(sql, '') AS line FROM sqlite_master \
     WHERE tbl_name <> '__diesel_schema_migrations' AND name <> 'sqlite_sequence' ORDER BY 1";

const POSTGRES_SCHEMA: &str = "\
     SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, collation_name) AS line \
     FROM information_schema.columns \
     WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations' \
     UNION ALL SELECT indexdef FROM pg_indexes \
     WHERE schemaname = 'public' AND tablename <> '__diesel_schema_migrations' \
     UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
     WHERE conrelid <> 0 AND connamespace = 'public'::regnamespace \
     AND conrelid::regclass::text <> '__diesel_schema_migrations' \
     ORDER BY 1";

fn lines(url: &str, sqlite: &str, postgres: &str) -> Vec<String> {
    let rows: Vec<Line> = if let Some(file) = url.strip_prefix("sqlite:") {
        diesel::sql_query(sqlite).load(&mut SqliteConnection::establish(file).unwrap()).unwrap()
    } else {
        from_postgres(url, postgres)
    };
    rows.into_iter().map(|row| row.line).collect()
}

#[cfg(feature = "postgres")]
fn from_postgres(url: &str, query: &str) -> Vec<Line> {
    diesel::sql_query(query).load(&mut PgConnection::establish(url).unwrap()).unwrap()
}

#[cfg(not(feature = "postgres"))]
fn from_postgres(_: &str, _: &str) -> Vec<Line> {
    panic!("this build has no PostgreSQL")
}

async fn migrations_go_up_and_down_and_up_again(database: Database) {
    let storage = &database.storage;
    let all = storage.pending_migrations().await.unwrap();
    assert!(!all.is_empty());
    assert_eq!(schema(&database.url), Vec::<String>::new(), "asking changes nothing");
    assert_eq!(storage.migrate().await.unwrap(), all);
    assert_eq!(storage.pending_migrations().await.unwrap(), Vec::<String>::new());
    assert_eq!(storage.migrate().await.unwrap(), Vec::<String>::new());
    let migrated = schema(&database.url);
    assert!(migrated.iter().any(|line| line.contains("tokens")), "{migrated:#?}");

    storage.revert_all_migrations().await.unwrap();
    assert_eq!(schema(&database.url), Vec::<String>::new());
    assert_eq!(storage.pending_migrations().await.unwrap(), all);
    assert_eq!(storage.migrate().await.unwrap(), all);
    assert_eq!(schema(&database.url), migrated);
}

async fn several_instances_migrate_at_once(database: Database) {
    let all = database.storage.pending_migrations().await.unwrap();
    let instances: Vec<Storage> = (0..6).map(|_| database.another_instance()).collect();
    let applied = join_all(instances.iter().map(Storage::migrate)).await;
    let applied: Vec<String> = applied.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(applied, all, "one of them did the work");
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn migrations_go_up_and_down_and_up_again() {
        super::migrations_go_up_and_down_and_up_again(Database::sqlite()).await;
    }

    #[tokio::test]
    async fn several_instances_migrate_at_once() {
        super::several_instances_migrate_at_once(Database::sqlite()).await;
    }

    #[tokio::test]
    async fn foreign_keys_cascade_and_have_an_index() {
        let database = Database::sqlite().migrated().await;
        const KEYS: &str = "SELECT t.name || '.' || k.\"from\" || ' ' || k.on_delete AS line \
             FROM sqlite_master t, pragma_foreign_key_list(t.name) k WHERE t.type = 'table' ORDER BY 1";
        const INDEXED: &str = "SELECT t.name || '.' || c.name || ' CASCADE' AS line \
             FROM sqlite_master t, pragma_index_list(t.name) i, pragma_index_info(i.name) c \
             WHERE t.type = 'table' AND c.seqno = 0 ORDER BY 1";
        let keys = lines(&database.url, KEYS, "");
        let indexed = lines(&database.url, INDEXED, "");
        assert_eq!(keys.len(), 8, "{keys:?}");
        for key in keys {
            assert!(indexed.contains(&key), "{key} has no index or does not cascade");
        }
    }

    #[tokio::test]
    async fn the_files_are_readable_only_by_their_owner() {
        let database = Database::sqlite().migrated().await;
        let file = database.url.strip_prefix("sqlite:").unwrap();
        for path in [file.to_owned(), format!("{file}-wal"), format!("{file}-shm")] {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{path}");
        }
        // The permissions of an existing file are the decision of its owner.
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o640)).unwrap();
        database.another_instance().check().await.unwrap();
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[tokio::test]
    async fn a_missing_folder_is_named_and_nothing_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let storage = Storage::new(&settings(&format!("sqlite:{}/a.sqlite", missing.display()))).unwrap();
        let error = storage.migrate().await.unwrap_err().to_string();
        let named = format!("the folder of the SQLite file {}/a.sqlite does not exist", missing.display());
        assert!(error.contains(&named), "{error}");
        assert!(!missing.exists());
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use diesel::connection::SimpleConnection;

    use super::*;
    use crate::support::storage::{login, noon, sign_in};

    #[tokio::test]
    async fn migrations_go_up_and_down_and_up_again() {
        super::migrations_go_up_and_down_and_up_again(Database::postgres()).await;
    }

    #[tokio::test]
    async fn several_instances_migrate_at_once() {
        super::several_instances_migrate_at_once(Database::postgres()).await;
    }

    #[tokio::test]
    async fn both_databases_have_the_same_columns() {
        const SQLITE: &str = "SELECT t.name || '.' || c.name || iif(c.\"notnull\", ' NOT NULL', '') AS line \
             FROM sqlite_master t, pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND t.name NOT LIKE '\\_\\_%' ESCAPE '\\' \
             AND t.name <> 'sqlite_sequence' ORDER BY 1";
        const POSTGRES: &str = "SELECT table_name || '.' || column_name \
             || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END AS line \
             FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%' ORDER BY 1";
        let sqlite = lines(&Database::sqlite().migrated().await.url, SQLITE, "");
        let postgres = lines(&Database::postgres().migrated().await.url, "", POSTGRES);
        assert!(sqlite.contains(&"tokens.handle_digest NOT NULL".to_owned()), "{sqlite:#?}");
        assert_eq!(sqlite, postgres);
    }

    #[tokio::test]
    async fn a_role_without_schema_rights_can_list_missing_migrations() {
        let database = Database::postgres().migrated().await;
        let mut owner = PgConnection::establish(&database.url).unwrap();
        let role = format!("server_{}", database.url.rsplit('_').next().unwrap());
        owner
            .batch_execute(&format!(
                "CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
            ))
            .unwrap();
        let url = database.url.replace("//test@", &format!("//{role}@"));
        let server = Storage::new(&settings(&url)).unwrap();
        server.check().await.unwrap();
        assert_eq!(server.pending_migrations().await.unwrap(), Vec::<String>::new());
        assert!(sign_in(&server, login("alice", noon())).await.first_login);
        server.revert_all_migrations().await.unwrap_err();
        assert_eq!(server.pending_migrations().await.unwrap(), Vec::<String>::new());
    }
}
