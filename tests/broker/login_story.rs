//! A complete login, from `/login` to `/api/me`, through both kinds of provider.

use crate::support::broker::TestBroker;

#[actix_web::test]
async fn a_user_signs_in_through_both_kinds_of_provider() {
    let broker = TestBroker::start();
    for (provider, user, list) in [("dev", "alice", "groups"), ("ops", "bob", "permissions")] {
        let browser = broker.browser();
        let token = broker.sign_in(&browser, provider, user).await;
        let me = broker.call("/api/me", &token).await;
        assert_eq!(me.status, 200, "{me:?}");
        assert_eq!(me.json()["user"]["username"], user);
        assert_eq!(me.json()["user"]["provider"], provider);
        let permissions = broker.call("/api/permissions", &token).await;
        assert!(!permissions.json()[list].as_array().unwrap().is_empty(), "{permissions:?}");
    }
}
