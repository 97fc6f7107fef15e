-- People who signed in. Found through identities only; the display fields are those of the latest login.
CREATE TABLE users (
    id uuid PRIMARY KEY,
    username text,
    display_name text,
    email text,
    email_verified boolean NOT NULL,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- What a provider says about a person. Provider and subject are compared byte for byte (COLLATE "C").
CREATE TABLE identities (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    provider_id text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    username text,
    display_name text,
    email text,
    email_verified boolean NOT NULL,
    permissions text NOT NULL,
    groups text NOT NULL,
    as_of timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (provider_id, subject)
);
CREATE INDEX identities_user_id ON identities (user_id);

-- One browser's sign-in.
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    identity_id uuid NOT NULL REFERENCES identities ON DELETE CASCADE,
    cookie_digest bytea UNIQUE CHECK (octet_length(cookie_digest) = 32),
    provider_session text,
    auth_time timestamptz,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    user_agent text,
    address_prefix text NOT NULL,
    CHECK (expires_at > created_at)
);
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_identity_id ON sessions (identity_id);
CREATE INDEX sessions_provider_session ON sessions (provider_session) WHERE provider_session IS NOT NULL;
CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- API tokens: nothing here can be presented as one.
-- parent_id, the token that a token was rotated from, is no foreign key: a parent is purged before its
-- successors, and the purge must not lock live rows.
CREATE TABLE api_tokens (
    id uuid PRIMARY KEY,
    handle_digest bytea NOT NULL UNIQUE CHECK (octet_length(handle_digest) = 32),
    key_id bigint NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    client_id text COLLATE "C" NOT NULL,
    audience text NOT NULL,
    scope text NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    binding bytea NOT NULL CHECK (octet_length(binding) = 32),
    sealed_handle bytea,
    parent_id uuid,
    superseded_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CHECK (expires_at > issued_at)
);
CREATE INDEX api_tokens_session_id ON api_tokens (session_id);
CREATE INDEX api_tokens_user_id ON api_tokens (user_id, issued_at);
CREATE INDEX api_tokens_parent_id ON api_tokens (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX api_tokens_expires_at ON api_tokens (expires_at);
CREATE INDEX api_tokens_revoked_at ON api_tokens (revoked_at) WHERE revoked_at IS NOT NULL;

-- APIs that ask the broker about tokens. Two secrets are valid at a time, so that one can be replaced without
-- downtime; both are keyed digests.
CREATE TABLE resource_servers (
    id text COLLATE "C" PRIMARY KEY,
    audience text NOT NULL,
    secret_digest bytea NOT NULL CHECK (octet_length(secret_digest) = 32),
    other_secret_digest bytea CHECK (octet_length(other_secret_digest) = 32),
    personal_data boolean NOT NULL,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL
);

-- What happened. No foreign keys: the trail outlives what it names.
CREATE TABLE audit_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    request_id text NOT NULL,
    address text,
    client_id text,
    provider_id text,
    user_id uuid,
    session_id uuid,
    token text,
    reason text
);
CREATE INDEX audit_events_at ON audit_events (at);
CREATE INDEX audit_events_user_id ON audit_events (user_id, at) WHERE user_id IS NOT NULL;
