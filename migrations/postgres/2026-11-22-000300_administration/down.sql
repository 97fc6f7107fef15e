DROP TABLE resource_server_secrets;
-- A resource server without its secret is of no use to the program of before.
DROP TABLE resource_servers;
CREATE TABLE resource_servers (
    id text COLLATE "C" PRIMARY KEY,
    audience text NOT NULL,
    secret_digest bytea NOT NULL CHECK (octet_length(secret_digest) = 32),
    other_secret_digest bytea CHECK (octet_length(other_secret_digest) = 32),
    personal_data boolean NOT NULL,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL
);
ALTER TABLE audit_events DROP COLUMN resource_server_id;
ALTER TABLE audit_events DROP COLUMN actor;
