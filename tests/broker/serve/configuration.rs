//! Invalid configurations: exit code 2, the name of the setting, and no secret.

use std::os::unix::fs::PermissionsExt;

use super::*;

async fn production() -> Production {
    let database = format!("postgres://test:{}@127.0.0.1/none", SECRETS[0]);
    let key_store = format!("redis://:{}@127.0.0.1/0", SECRETS[1]);
    Production::new(&database, &key_store, "https://provider.invalid").await
}

/// Runs `serve`, which must refuse to start; returns its error output.
async fn refused(production: &Production) -> String {
    let ended = Program::run(production.folder(), &["serve", "--config", "token-broker.toml"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    assert!(SECRETS.iter().all(|secret| !ended.err.contains(secret)), "{}", ended.err);
    ended.err
}

#[actix_web::test]
async fn an_invalid_setting_is_named_in_the_error() {
    let production = production().await;
    let good = production.config();
    for (from, to, key) in [
        ("\"https://auth.example.com\"", "\"http://auth.example.com\"", "public_url"),
        ("workers = 2", "wokers = 2", "server.wokers"),
        ("workers = 2", "workers = 0", "server.workers"),
        ("\"127.0.0.1:8080\"", "\"8080\"", "server.listen"),
        ("url_file = \"database_url\"", "url_file = \"no_such_file\"", "database.url"),
        (
            "client_secret_file = \"corp\"",
            "client_secret = \"provider-secret\"",
            "providers[0].client_secret",
        ),
        (
            "token_url = \"https://provider.invalid",
            "token_url = \"http://127.0.0.1:9000",
            "providers[0].token_url",
        ),
        ("client_auth = \"post\"", "client_auth = \"url\"", "providers[0].client_auth"),
        ("id = \"web\"", "id = \"web\"\norigins = [\"*\"]", "clients[0].origins"),
        (
            "\"https://app.example.com/signed-in\"",
            "\"https://app.example.com/#a\"",
            "clients[0].redirect_uris",
        ),
        ("[[clients]]", "[[customers]]", "customers"),
        ("workers = 2", "workers = = 2", "line 5"),
    ] {
        assert!(good.contains(from), "{from}");
        production.write(&good.replace(from, to));
        let said = refused(&production).await;
        assert!(said.contains(key), "{to}: {said}");
    }
    let (without_clients, _) = good.split_once("[[clients]]").unwrap();
    production.write(without_clients);
    let said = refused(&production).await;
    assert!(said.contains("clients"), "{said}");
}

#[actix_web::test]
async fn a_secret_file_that_others_can_read_prevents_the_start() {
    let production = production().await;
    for (file, key) in [
        ("database_url", "database.url_file"),
        ("key_store_url", "key_store.url_file"),
        ("corp", "providers[0].client_secret_file"),
        ("server_keys.toml", "server_keys.file"),
    ] {
        let path = production.folder().join(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let said = refused(&production).await;
        assert!(said.contains(key), "{file}: {said}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[actix_web::test]
async fn sample_and_short_server_keys_prevent_the_start() {
    let production = production().await;
    let sample = "dG9rZW4tYnJva2VyLWV4YW1wbGUta2V5LWRvLW5vdC11c2U";
    for secret in [sample, "c2hvcnQ", "no/base64url/at+all"] {
        production
            .private("server_keys.toml", &format!("issuing = 1\n[[keys]]\nid = 1\nsecret = \"{secret}\"\n"));
        let said = refused(&production).await;
        assert!(said.contains("server_keys.file.keys[0]") && !said.contains(secret), "{said}");
    }
}

/// The file is valid, but the address is in use.
#[actix_web::test]
async fn an_address_in_use_ends_the_start_with_1() {
    let production = production().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = production.config();
    production.write(&config.replace("127.0.0.1:8080", &address));
    let ended = Program::run(production.folder(), &["serve", "--config", "token-broker.toml"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&format!("server.listen: cannot listen on {address}")), "{}", ended.err);
    production.write(&config.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9090", &address));
    let ended = Program::run(production.folder(), &["serve", "--config", "token-broker.toml"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&format!("server.admin_listen: cannot listen on {address}")), "{}", ended.err);
    let missing = Program::run(production.folder(), &["serve", "--config", "missing.toml"]).await;
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.err.contains("missing.toml"), "{}", missing.err);
}
