DROP TABLE audit_events;
DROP TABLE resource_server_secrets;
DROP TABLE resource_servers;
DROP TABLE tokens;
DROP TABLE sessions;
DROP TABLE identities;
DROP TABLE users;
