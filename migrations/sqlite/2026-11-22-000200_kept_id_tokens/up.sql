-- The same column as for PostgreSQL; see there for what it is for.
ALTER TABLE sessions ADD COLUMN sealed_id_token BLOB;
