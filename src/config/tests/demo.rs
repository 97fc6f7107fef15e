//! The configuration of the demo.

use super::*;
use crate::domain::client::{Origin, RedirectUri};

/// The demo's configuration with these apps of the developer's own.
fn demo(apps: &[RedirectUri]) -> Config {
    let folder = Folder::new();
    let loaded = development(DevelopmentSetup {
        port: 8080,
        database: &folder.path().join("broker.sqlite"),
        server_keys: &folder.path().join("server_keys.toml"),
        provider_url: "http://127.0.0.1:9000",
        provider_client_id: "token-broker",
        provider_client_secret: "x",
        apps,
        log_filter: "warn",
    });
    loaded.unwrap().config
}

#[test]
fn the_demo_has_a_configuration_of_its_own() {
    let config = demo(&[]);
    assert_eq!(config.mode, Mode::Development);
    assert_eq!(config.public_url.as_str(), "http://localhost:8080/");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    let ids: Vec<_> = config.providers.iter().map(|provider| provider.id.as_str()).collect();
    assert_eq!(ids, ["dev", "ops"]);
    let clients: Vec<_> =
        config.clients.iter().map(|client| (client.id.as_str(), client.redirect_uris[0].as_str())).collect();
    let expected = [
        ("sample", "http://localhost:8080/"),
        ("vite-react", "http://localhost:5173/"),
        ("legacy", "http://localhost:8080/legacy"),
    ];
    assert_eq!(clients, expected);
    assert_eq!(config.sample.client_id.unwrap().as_str(), "sample");
    assert!(config.clients[2].legacy);
}

#[test]
fn the_demo_has_a_client_for_an_app_of_ones_own() {
    let apps = ["http://localhost:3000/", "https://127.0.0.1:3000/signed-in?a=b"];
    let clients = demo(&apps.map(|address| address.parse().unwrap())).clients;
    let [.., app] = clients.as_slice() else { panic!("no client") };
    assert_eq!((clients.len(), app.id.as_str()), (4, "app"));
    let texts = |addresses: &[RedirectUri]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&app.redirect_uris), apps);
    assert_eq!(texts(&app.post_logout_redirect_uris), apps);
    let origins: Vec<_> = app.origins.iter().map(Origin::as_str).collect();
    assert_eq!(origins, ["http://localhost:3000", "https://127.0.0.1:3000"]);
}
