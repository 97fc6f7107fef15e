-- Whether the answers to a resource server name the permissions and groups of the person.
ALTER TABLE resource_servers ADD COLUMN permissions boolean NOT NULL DEFAULT false;
