DROP TABLE resource_server_keys;
