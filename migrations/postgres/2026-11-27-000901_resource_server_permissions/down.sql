ALTER TABLE resource_servers DROP COLUMN permissions;
