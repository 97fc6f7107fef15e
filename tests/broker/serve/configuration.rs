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
        ("[[clients]]", "[log]\nfilter = \"verbose\"\n[[clients]]", "log.filter"),
        ("workers = 2", "workers = = 2", "line 5"),
    ] {
        assert!(good.contains(from), "{from}");
        production.write(&good.replace(from, to));
        let said = refused(&production).await;
        assert!(said.contains(key), "{to}: {said}");
        let check =
            Program::run(production.folder(), &["check-config", "--config", "token-broker.toml"]).await;
        assert_eq!((check.code, check.err), (Some(2), said), "check-config refuses what serve refuses");
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
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let said = refused(&production).await;
        assert!(said.contains(key), "{file}: {said}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// As in Kubernetes with `fsGroup`: the group of the process may read its secrets, and no other group.
#[actix_web::test]
async fn a_secret_file_of_the_process_s_own_group_is_accepted() {
    use std::os::unix::fs::{MetadataExt, chown};

    let production = production().await;
    let own = std::fs::metadata("/proc/self").unwrap().gid();
    for file in ["database_url", "key_store_url", "corp", "server_keys.toml"] {
        let path = production.folder().join(file);
        chown(&path, None, Some(own)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
    }
    let checked = Program::run(production.folder(), &["check-config", "--config", "token-broker.toml"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    // Only root can give a file to a group that it is not in.
    let corp = production.folder().join("corp");
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        chown(&corp, None, Some(54_321)).unwrap();
        assert!(refused(&production).await.contains("providers[0].client_secret_file"));
    }
}

/// Everything else that is secret is missing.
#[actix_web::test]
async fn reading_the_database_needs_no_other_secret() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", folder.path().join("broker.sqlite").display());
    let production = Production::new(&database, "memory:", "https://provider.invalid").await;
    for file in ["key_store_url", "corp", "server_keys.toml"] {
        std::fs::remove_file(production.folder().join(file)).unwrap();
    }
    for arguments in [["migrate"].as_slice(), &["users", "list"], &["audit", "list"], &["audit", "export"]] {
        let all = [arguments, &["--config", "token-broker.toml"]].concat();
        let ended = Program::run(production.folder(), &all).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    let changes = Program::run(production.folder(), &["purge", "--config", "token-broker.toml"]).await;
    assert_eq!(changes.code, Some(2), "{changes:?}");
}

/// Each part that does not work is named, with the reason.
#[cfg(feature = "postgres")]
#[actix_web::test]
async fn a_configuration_can_be_checked_against_its_surroundings() {
    let redis = RedisServer::start(&["requirepass right"]);
    let wrong = redis.url().replace("right", SECRETS[1]);
    let database = crate::support::postgres::database();
    let production = Production::new(&database, &wrong, "https://provider.invalid").await;
    let check = ["check-config", "--connect", "--config", "token-broker.toml"];
    let ended = Program::run(production.folder(), &check).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("2 of 4 parts do not work"), "{}", ended.err);
    for said in [
        "# database: ",
        "token-broker migrate",
        "# clock: works",
        "# key store redis://",
        "check user and password",
    ] {
        assert!(ended.out.contains(said), "{said}: {}", ended.out);
    }
    assert!(SECRETS.iter().all(|secret| !ended.out.contains(secret) && !ended.err.contains(secret)));

    production.private("key_store_url", &redis.url());
    let migrated = Program::run(production.folder(), &["migrate", "--config", "token-broker.toml"]).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let ended = Program::run(production.folder(), &check).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    ended.out.parse::<toml::Table>().unwrap();
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
