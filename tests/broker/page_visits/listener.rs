//! A listener for gateways alone.

use std::net::SocketAddr;

use super::*;
use crate::support::process::free_port;
use crate::support::raw;

#[actix_web::test]
async fn gateways_can_have_a_listener_of_their_own() {
    let broker = TestBroker::with(Setup::default().adjust(|config| {
        add_pages(config, "tools", &[TOOLS], Requirements::default());
        config.server.gateway_listen = Some(SocketAddr::from(([127, 0, 0, 1], free_port())));
        config.http.gateways_elsewhere = true;
    }));
    broker.ready().await;
    let visitor = Visitor::new(&broker);
    let gateway = broker.gateway_url.clone().unwrap();
    visitor.browser.route(TOOLS, &gateway);
    visitor.sign_in("/", "alice").await;
    assert_eq!(visitor.call("/").await.status, 200);
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let bearer = format!("Bearer {token}");
    let at = |url: &str, path: &str| {
        let (url, request) = (url.to_owned(), raw::request("GET", path, &[("authorization", &bearer)]));
        async move { raw::send(&url, request).await.status().unwrap() }
    };
    for (path, on_gateway, on_public) in [
        ("/authz", 200, 404),
        ("/authz/nginx", 200, 404),
        ("/authz/envoy:default/x", 200, 404),
        ("/_token-broker/callback", 400, 404),
        ("/healthz", 200, 200),
        ("/readyz", 404, 200),
        ("/api/me", 404, 200),
        ("/login", 404, 400),
        ("/oauth2/introspect", 404, 405),
        ("/metrics", 404, 404),
    ] {
        assert_eq!(at(&gateway, path).await, on_gateway, "{path} on the listener for gateways");
        assert_eq!(at(&broker.real_url, path).await, on_public, "{path} on the public listener");
    }
}
