-- The key that the holder of a token has to prove to have (RFC 9449): SHA-256 of its JWK; NULL for a bearer token. The MAC
-- in `binding` covers it.
ALTER TABLE tokens ADD COLUMN dpop_jkt bytea CHECK (octet_length(dpop_jkt) = 32);
