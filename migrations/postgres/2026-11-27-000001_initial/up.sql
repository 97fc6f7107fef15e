-- The schema of the first release. Every foreign key has an index, so that deleting a row does not scan the tables that
-- refer to it. Texts that identify something are compared byte for byte (COLLATE "C").

-- People who have signed in. A user is found through an identity; the identity holds the profile.
CREATE TABLE users (
    id uuid PRIMARY KEY,
    disabled_at timestamptz, -- when an administrator disabled the user; NULL while the user is enabled
    created_at timestamptz NOT NULL -- the first login
);

-- An account of a user at a provider, with the profile as of the latest login there.
CREATE TABLE identities (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    provider_id text COLLATE "C" NOT NULL, -- id of the provider in the configuration
    subject text COLLATE "C" NOT NULL, -- the provider's unchanging name for the person (OpenID Connect "sub")
    username text,
    display_name text,
    email text,
    email_verified boolean NOT NULL,
    permissions text NOT NULL, -- JSON array of strings
    groups text NOT NULL, -- JSON array of strings
    as_of timestamptz NOT NULL, -- when the profile was read at the provider
    created_at timestamptz NOT NULL, -- the first login with this identity
    UNIQUE (provider_id, subject)
);
CREATE INDEX identities_user_id ON identities (user_id);

-- Sign-ins of browsers.
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    identity_id uuid NOT NULL REFERENCES identities ON DELETE CASCADE, -- the identity that signed in
    cookie_digest bytea UNIQUE CHECK (octet_length(cookie_digest) = 32), -- SHA-256 of the session cookie's secret
    provider_session text, -- the provider's own session id ("sid"), for back-channel logout
    auth_time timestamptz, -- when the person last authenticated at the provider, if it says so
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz, -- when the session was ended; NULL until then
    last_used_at timestamptz, -- latest use of a token of the session, accurate to five minutes
    user_agent text,
    address_prefix text NOT NULL, -- network of the browser's address (/24 or /48), never the whole address
    sealed_id_token bytea, -- ID token for the provider's logout, encrypted under a server key
    CHECK (expires_at > created_at)
);
CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_identity_id ON sessions (identity_id);
CREATE INDEX sessions_provider_session ON sessions (provider_session) WHERE provider_session IS NOT NULL;
CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- Bearer tokens of every kind. No column can be presented as a token.
CREATE TABLE tokens (
    id uuid PRIMARY KEY,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('session', 'personal')),
    handle_digest bytea NOT NULL UNIQUE CHECK (octet_length(handle_digest) = 32), -- SHA-256 of the token's random part
    key_id bigint NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295), -- the server key that issued the token
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    identity_id uuid NOT NULL REFERENCES identities ON DELETE CASCADE, -- whose profile the token shows
    session_id uuid REFERENCES sessions ON DELETE CASCADE,
    name text, -- what the owner calls a personal token
    client_id text COLLATE "C" NOT NULL, -- the client that the token was issued to
    audiences text NOT NULL, -- the APIs that the token is for: sorted, separated by spaces
    scopes text NOT NULL, -- what the token may be used for: sorted, separated by spaces
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    binding bytea NOT NULL CHECK (octet_length(binding) = 32), -- MAC of the columns above
    sealed_handle bytea, -- encrypted random part; only for legacy clients, which receive the same token again
    -- The token that this one was rotated from. Not a foreign key: a parent is purged before its successors, and the
    -- purge must not lock rows in use.
    parent_id uuid,
    superseded_at timestamptz, -- when the token was rotated for the first time
    revoked_at timestamptz, -- when the token was revoked; NULL until then
    last_used_at timestamptz, -- latest use, accurate to five minutes
    CHECK (expires_at > issued_at),
    CHECK ((kind = 'session') = (session_id IS NOT NULL))
);
CREATE INDEX tokens_user_id ON tokens (user_id, issued_at);
CREATE INDEX tokens_identity_id ON tokens (identity_id);
CREATE INDEX tokens_session_id ON tokens (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX tokens_parent_id ON tokens (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX tokens_expires_at ON tokens (expires_at);
CREATE INDEX tokens_revoked_at ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;

-- APIs that ask the broker about tokens (introspection).
CREATE TABLE resource_servers (
    id text COLLATE "C" PRIMARY KEY, -- the name with which the API authenticates
    audience text NOT NULL, -- the API may ask about tokens that are for this audience
    personal_data boolean NOT NULL, -- whether its answers name the person
    disabled_at timestamptz, -- NULL while the API is enabled
    created_at timestamptz NOT NULL
);

-- Secrets of resource servers: up to two each, so that a secret can be replaced without downtime.
CREATE TABLE resource_server_secrets (
    resource_server_id text COLLATE "C" NOT NULL REFERENCES resource_servers ON DELETE CASCADE,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32), -- keyed digest of the secret
    key_id bigint NOT NULL CHECK (key_id BETWEEN 0 AND 4294967295), -- the server key of the digest
    created_at timestamptz NOT NULL,
    PRIMARY KEY (resource_server_id, digest)
);

-- The audit trail. It has no foreign keys, because it outlives the rows that it names.
CREATE TABLE audit_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    request_id text NOT NULL, -- the request that caused the event, or the run of a command
    address text,
    client_id text,
    provider_id text,
    user_id uuid,
    session_id uuid,
    token text, -- short one-way id of the token
    reason text, -- error code of a failure
    actor text, -- the administrator who did it
    resource_server_id text COLLATE "C"
);
CREATE INDEX audit_events_at ON audit_events (at);
CREATE INDEX audit_events_user_id ON audit_events (user_id, at) WHERE user_id IS NOT NULL;
