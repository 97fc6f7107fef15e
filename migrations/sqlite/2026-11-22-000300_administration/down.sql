DROP TABLE resource_server_secrets;
-- A resource server without its secret is of no use to the program of before.
DROP TABLE resource_servers;
CREATE TABLE resource_servers (
    id TEXT NOT NULL PRIMARY KEY,
    audience TEXT NOT NULL,
    secret_digest BLOB NOT NULL CHECK (length(secret_digest) = 32),
    other_secret_digest BLOB CHECK (length(other_secret_digest) = 32),
    personal_data INTEGER NOT NULL CHECK (personal_data IN (0, 1)),
    disabled_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
ALTER TABLE audit_events DROP COLUMN resource_server_id;
ALTER TABLE audit_events DROP COLUMN actor;
