-- Who did it, where it was an administrator at the command line, and to which resource server.
ALTER TABLE audit_events ADD COLUMN actor text;
ALTER TABLE audit_events ADD COLUMN resource_server_id text COLLATE "C";

-- The secrets of resource servers: up to two each, so that one can be replaced without downtime. Each row says
-- under which server key its digest was made, so that server keys can be replaced, too.
-- Until now nothing wrote secrets: there are none to keep.
ALTER TABLE resource_servers DROP COLUMN secret_digest, DROP COLUMN other_secret_digest;
CREATE TABLE resource_server_secrets (
    resource_server_id text COLLATE "C" NOT NULL REFERENCES resource_servers ON DELETE CASCADE,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    key_id bigint NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (resource_server_id, digest)
);
