-- When a token of the session was last used, to within five minutes: what its owner sees, and what a client's
-- inactivity limit is judged by. It outlives the tokens' own rows.
ALTER TABLE sessions ADD COLUMN last_used_at timestamptz;
