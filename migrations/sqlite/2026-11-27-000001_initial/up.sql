-- The schema of the first release, table by table and column by column as for PostgreSQL. Every foreign key has an index,
-- so that deleting a row does not scan the tables that refer to it. Ids are UUIDs of 16 bytes; times are microseconds
-- since 1970 (UTC); STRICT tables accept only values of the declared types.

-- People who have signed in. A user is found through an identity; the identity holds the profile.
CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    disabled_at INTEGER, -- when an administrator disabled the user; NULL while the user is enabled
    created_at INTEGER NOT NULL -- the first login
) STRICT;

-- An account of a user at a provider, with the profile as of the latest login there.
CREATE TABLE identities (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    provider_id TEXT NOT NULL, -- id of the provider in the configuration
    subject TEXT NOT NULL, -- the provider's unchanging name for the person (OpenID Connect "sub")
    username TEXT,
    display_name TEXT,
    email TEXT,
    email_verified INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
    permissions TEXT NOT NULL, -- JSON array of strings
    groups TEXT NOT NULL, -- JSON array of strings
    as_of INTEGER NOT NULL, -- when the profile was read at the provider
    created_at INTEGER NOT NULL, -- the first login with this identity
    UNIQUE (provider_id, subject)
) STRICT;
CREATE INDEX identities_user_id ON identities (user_id);

-- Sign-ins of browsers.
CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    identity_id BLOB NOT NULL REFERENCES identities ON DELETE CASCADE, -- the identity that signed in
    cookie_digest BLOB UNIQUE CHECK (length(cookie_digest) = 32), -- SHA-256 of the session cookie's secret
    provider_session TEXT, -- the provider's own session id ("sid"), for back-channel logout
    auth_time INTEGER, -- when the person last authenticated at the provider, if it says so
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER, -- when the session was ended; NULL until then
    last_used_at INTEGER, -- latest use of a token of the session, accurate to five minutes
    user_agent TEXT,
    address_prefix TEXT NOT NULL, -- network of the browser's address (/24 or /48), never the whole address
    sealed_id_token BLOB, -- ID token for the provider's logout, encrypted under a server key
    CHECK (expires_at > created_at)
) STRICT;
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_identity_id ON sessions (identity_id);
CREATE INDEX sessions_provider_session ON sessions (provider_session) WHERE provider_session IS NOT NULL;
CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- Bearer tokens of every kind. No column can be presented as a token.
CREATE TABLE tokens (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('session', 'personal')),
    handle_digest BLOB NOT NULL UNIQUE CHECK (length(handle_digest) = 32), -- SHA-256 of the token's random part
    key_id INTEGER NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295), -- the server key that issued the token
    user_id BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    identity_id BLOB NOT NULL REFERENCES identities ON DELETE CASCADE, -- whose profile the token shows
    session_id BLOB REFERENCES sessions ON DELETE CASCADE,
    name TEXT, -- what the owner calls a personal token
    client_id TEXT NOT NULL, -- the client that the token was issued to
    audiences TEXT NOT NULL, -- the APIs that the token is for: sorted, separated by spaces
    scopes TEXT NOT NULL, -- what the token may be used for: sorted, separated by spaces
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    binding BLOB NOT NULL CHECK (length(binding) = 32), -- MAC of the columns above
    sealed_handle BLOB, -- encrypted random part; only for legacy clients, which receive the same token again
    -- The token that this one was rotated from. Not a foreign key: a parent is purged before its successors, and the
    -- purge must not lock rows in use.
    parent_id BLOB CHECK (length(parent_id) = 16),
    superseded_at INTEGER, -- when the token was rotated for the first time
    revoked_at INTEGER, -- when the token was revoked; NULL until then
    last_used_at INTEGER, -- latest use, accurate to five minutes
    CHECK (expires_at > issued_at),
    CHECK ((kind = 'session') = (session_id IS NOT NULL))
) STRICT;
CREATE INDEX tokens_user_id ON tokens (user_id, issued_at);
CREATE INDEX tokens_identity_id ON tokens (identity_id);
CREATE INDEX tokens_session_id ON tokens (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX tokens_parent_id ON tokens (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX tokens_expires_at ON tokens (expires_at);
CREATE INDEX tokens_revoked_at ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;

-- APIs that ask the broker about tokens (introspection).
CREATE TABLE resource_servers (
    id TEXT NOT NULL PRIMARY KEY, -- the name with which the API authenticates
    audience TEXT NOT NULL, -- the API may ask about tokens that are for this audience
    personal_data INTEGER NOT NULL CHECK (personal_data IN (0, 1)), -- whether its answers name the person
    disabled_at INTEGER, -- NULL while the API is enabled
    created_at INTEGER NOT NULL
) STRICT;

-- Secrets of resource servers: up to two each, so that a secret can be replaced without downtime.
CREATE TABLE resource_server_secrets (
    resource_server_id TEXT NOT NULL REFERENCES resource_servers ON DELETE CASCADE,
    digest BLOB NOT NULL CHECK (length(digest) = 32), -- keyed digest of the secret
    key_id INTEGER NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295), -- the server key of the digest
    created_at INTEGER NOT NULL,
    PRIMARY KEY (resource_server_id, digest)
) STRICT;

-- The audit trail. It has no foreign keys, because it outlives the rows that it names.
CREATE TABLE audit_events (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    request_id TEXT NOT NULL, -- the request that caused the event, or the run of a command
    address TEXT,
    client_id TEXT,
    provider_id TEXT,
    user_id BLOB CHECK (length(user_id) = 16),
    session_id BLOB CHECK (length(session_id) = 16),
    token TEXT, -- short one-way id of the token
    reason TEXT, -- error code of a failure
    actor TEXT, -- the administrator who did it
    resource_server_id TEXT
) STRICT;
CREATE INDEX audit_events_at ON audit_events (at);
CREATE INDEX audit_events_user_id ON audit_events (user_id, at) WHERE user_id IS NOT NULL;
