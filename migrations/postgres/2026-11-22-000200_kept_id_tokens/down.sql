ALTER TABLE sessions DROP COLUMN sealed_id_token;
