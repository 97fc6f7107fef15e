ALTER TABLE tokens DROP COLUMN dpop_jkt;
