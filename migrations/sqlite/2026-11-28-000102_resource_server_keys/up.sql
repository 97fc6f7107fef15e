-- Public keys of resource servers that sign client assertions: up to two each, so that a key can be replaced without downtime.
CREATE TABLE resource_server_keys (
    resource_server_id TEXT NOT NULL REFERENCES resource_servers ON DELETE CASCADE,
    digest BLOB NOT NULL CHECK (length(digest) = 32), -- of the public key
    public_key TEXT NOT NULL, -- a JWK, or PEM
    created_at INTEGER NOT NULL,
    PRIMARY KEY (resource_server_id, digest)
) STRICT;
