DROP INDEX sessions_browser_id;
ALTER TABLE sessions DROP COLUMN browser_id;
