-- The same as for PostgreSQL; see there for what each is for.
ALTER TABLE audit_events ADD COLUMN actor TEXT;
ALTER TABLE audit_events ADD COLUMN resource_server_id TEXT;

ALTER TABLE resource_servers DROP COLUMN secret_digest;
ALTER TABLE resource_servers DROP COLUMN other_secret_digest;
CREATE TABLE resource_server_secrets (
    resource_server_id TEXT NOT NULL REFERENCES resource_servers ON DELETE CASCADE,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    key_id INTEGER NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (resource_server_id, digest)
) STRICT;
