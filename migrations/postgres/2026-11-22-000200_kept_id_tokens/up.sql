-- The ID token that the session began with, for the provider's logout (`id_token_hint`): sealed under a server
-- key, bound to the session, and only where a provider is configured so.
ALTER TABLE sessions ADD COLUMN sealed_id_token bytea;
