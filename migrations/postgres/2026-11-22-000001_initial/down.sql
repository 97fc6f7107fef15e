DROP TABLE audit_events;
DROP TABLE resource_servers;
DROP TABLE api_tokens;
DROP TABLE sessions;
DROP TABLE identities;
DROP TABLE users;
