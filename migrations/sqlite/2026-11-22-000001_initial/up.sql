-- The same tables as for PostgreSQL; see there for what each is for.
-- Ids are UUIDs as 16 bytes, times are microseconds since 1970 (UTC), STRICT tables hold what they say.
CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    username TEXT,
    display_name TEXT,
    email TEXT,
    email_verified INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
    disabled_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE identities (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    provider_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    username TEXT,
    display_name TEXT,
    email TEXT,
    email_verified INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
    permissions TEXT NOT NULL,
    groups TEXT NOT NULL,
    as_of INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (provider_id, subject)
) STRICT;
CREATE INDEX identities_user_id ON identities (user_id);

CREATE TABLE sessions (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    identity_id BLOB NOT NULL REFERENCES identities ON DELETE CASCADE,
    cookie_digest BLOB UNIQUE CHECK (length(cookie_digest) = 32),
    provider_session TEXT,
    auth_time INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    user_agent TEXT,
    address_prefix TEXT NOT NULL,
    CHECK (expires_at > created_at)
) STRICT;
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_identity_id ON sessions (identity_id);
CREATE INDEX sessions_provider_session ON sessions (provider_session) WHERE provider_session IS NOT NULL;
CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE api_tokens (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    handle_digest BLOB NOT NULL UNIQUE CHECK (length(handle_digest) = 32),
    key_id INTEGER NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295),
    session_id BLOB NOT NULL REFERENCES sessions ON DELETE CASCADE,
    user_id BLOB NOT NULL REFERENCES users ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    audience TEXT NOT NULL,
    scope TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    binding BLOB NOT NULL CHECK (length(binding) = 32),
    sealed_handle BLOB,
    parent_id BLOB CHECK (length(parent_id) = 16),
    superseded_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    CHECK (expires_at > issued_at)
) STRICT;
CREATE INDEX api_tokens_session_id ON api_tokens (session_id);
CREATE INDEX api_tokens_user_id ON api_tokens (user_id, issued_at);
CREATE INDEX api_tokens_parent_id ON api_tokens (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX api_tokens_expires_at ON api_tokens (expires_at);
CREATE INDEX api_tokens_revoked_at ON api_tokens (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE resource_servers (
    id TEXT NOT NULL PRIMARY KEY,
    audience TEXT NOT NULL,
    secret_digest BLOB NOT NULL CHECK (length(secret_digest) = 32),
    other_secret_digest BLOB CHECK (length(other_secret_digest) = 32),
    personal_data INTEGER NOT NULL CHECK (personal_data IN (0, 1)),
    disabled_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_events (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    request_id TEXT NOT NULL,
    address TEXT,
    client_id TEXT,
    provider_id TEXT,
    user_id BLOB CHECK (length(user_id) = 16),
    session_id BLOB CHECK (length(session_id) = 16),
    token TEXT,
    reason TEXT
) STRICT;
CREATE INDEX audit_events_at ON audit_events (at);
CREATE INDEX audit_events_user_id ON audit_events (user_id, at) WHERE user_id IS NOT NULL;
