-- The first session of the browser: sessions of one browser share it. NULL means the session's own id. Not a foreign key:
-- the first session is purged before its successors.
ALTER TABLE sessions ADD COLUMN browser_id uuid;
CREATE INDEX sessions_browser_id ON sessions (browser_id) WHERE browser_id IS NOT NULL;
