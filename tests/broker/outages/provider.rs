//! The identity provider fails: it is stopped or unresponsive.

use token_broker::provider::dev::FaultSwitch;

use super::*;
use crate::support::outage::{SLOW_PROVIDER, assert_provider_timeout};

/// Both kinds of provider; signed-in users are not affected.
#[actix_web::test]
async fn the_provider_stops_in_the_middle_of_a_login() {
    let mut broker = TestBroker::start();
    let underway = Underway::at(&broker).await;
    let plain = returning(&broker, "ops", "").await;
    let stopped = broker.stop_provider().await;

    for (browser, login, callback) in [&underway.returning, &plain] {
        let back = within(SOON, "the callback", browser.navigate(callback)).await;
        assert_told_to_the_spa(&back, &login.state, "temporarily_unavailable");
        let again = within(SOON, "the callback", browser.navigate(callback)).await;
        assert_eq!((again.status.as_u16(), again.parameter("error")), (400, None), "used up: {again:?}");
    }
    assert_eq!(redeem(&broker, &underway.waiting).await.status, 200);
    assert_eq!(broker.call("/api/me", &underway.token).await.status, 200);
    assert_eq!(broker.post("/api/logout", &underway.leaving, &json!({})).await.status, 200);

    broker.resume_provider(stopped);
    assert_recovers(&broker, "the provider was started again").await;
    assert_signs_in(&broker).await;
}

/// Before the first login, no metadata is cached.
#[actix_web::test]
async fn the_provider_is_unavailable_before_the_first_login() {
    let mut broker = TestBroker::start();
    let stopped = broker.stop_provider().await;
    let page = within(SOON, "/login", broker.browser().navigate(&broker.login(&[]).url)).await;
    assert_unavailable(&page);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let plain = broker.browser().navigate(&broker.login(&[("provider", "ops")]).url).await;
    assert_eq!(plain.status, 303, "another provider is not affected");

    broker.resume_provider(stopped);
    assert_recovers(&broker, "the provider was started").await;
    assert_signs_in(&broker).await;
}

/// The provider accepts the request and never responds, for every call that the broker makes.
#[actix_web::test]
async fn a_login_at_an_unresponsive_provider_ends_in_time() {
    let broker = TestBroker::start();
    let underway = Underway::at(&broker).await;
    let cold = broker.twin();
    let (token_oidc, token_plain, profile_oidc, profile_plain) = join!(
        returning(&broker, "dev", "&fault=token_slow"),
        returning(&broker, "ops", "&fault=token_slow"),
        returning(&broker, "dev", "&fault=profile_slow"),
        returning(&broker, "ops", "&fault=profile_slow"),
    );
    let come_back = async |(browser, login, callback): &(Browser, LoginUrl, String)| {
        let back = within(SLOW_PROVIDER, "the callback", browser.navigate(callback)).await;
        assert_told_to_the_spa(&back, &login.state, "provider_timeout");
    };
    broker.provider.faults().set(FaultSwitch::DiscoverySlow, true);
    let first = async {
        let browser = cold.browser();
        within(SLOW_PROVIDER, "/login", browser.navigate(&cold.login(&[]).url)).await
    };
    let meanwhile = async {
        assert_eq!(within(SOON, "/api/me", broker.call("/api/me", &underway.token)).await.status, 200);
        assert_eq!(within(SOON, "redemption", redeem(&broker, &underway.waiting)).await.status, 200);
        within(SOON, "another login", assert_signs_in(&broker)).await;
        assert_eq!(within(SOON, "/readyz", readiness(&broker)).await, (true, true, true));
    };
    let (page, ..) = join!(
        first,
        come_back(&token_oidc),
        come_back(&token_plain),
        come_back(&profile_oidc),
        come_back(&profile_plain),
        meanwhile,
    );
    assert_provider_timeout(&page);

    broker.provider.faults().clear();
    let browser = cold.browser();
    assert_eq!(cold.call("/api/me", &cold.sign_in(&browser, "dev", "alice").await).await.status, 200);
}
