-- Whether the answers to a resource server name the permissions and groups of the person.
ALTER TABLE resource_servers ADD COLUMN permissions INTEGER NOT NULL DEFAULT 0 CHECK (permissions IN (0, 1));
