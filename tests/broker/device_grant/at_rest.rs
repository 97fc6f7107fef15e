//! What the stores hold of a device that waits, and of one that was approved and has not collected: nothing to present.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use token_broker::domain::credential;
use token_broker::domain::device_code::PREFIX;

use crate::support::broker::{Setup, TestBroker};
use crate::support::device::{CONNECTED, Device, assert_page, enter, post, question, signed_in};
use crate::support::dump;
use crate::support::oauth::{assert_error, text};
use crate::support::redis::RedisServer;
use crate::support::secrets::Secrets;

#[actix_web::test]
async fn the_stores_hold_no_code_and_nothing_that_works_as_one() {
    let server = RedisServer::start(&[]);
    let broker = TestBroker::with(Setup { key_store: Some(server.url()), ..Setup::default() });
    let browser = signed_in(&broker, "alice").await;
    let [waiting, approved] = [Device::start(&broker, &[]).await, Device::start(&broker, &[]).await];
    let code = approved.user_code();
    let asked = question(&enter(&broker, &browser, &code).await);
    let form = [("user_code", &*code), ("question", &*asked), ("answer", "connect")];
    assert_page(&post(&broker, &browser, &form).await, CONNECTED);
    assert_error(&waiting.poll(&broker).await, 400, "authorization_pending", "it waits");

    let mut secrets = Secrets::default();
    for device in [&waiting, &approved] {
        let device_code = text(&device.codes, "device_code");
        secrets.add("the bytes of a device code", *credential::decode::<32>(PREFIX, &device_code).unwrap());
        secrets.add("a device code", device_code);
        secrets.add("a user code", device.user_code());
        secrets.add("a user code without its dash", device.user_code().replace('-', ""));
    }
    secrets.add("a sealed question", &asked);
    let stores = [dump::redis(&server.url()), dump::sqlite(broker.config.database.url.expose_secret())];
    let mut strings = BTreeSet::new();
    for store in &stores {
        assert_eq!(secrets.found_in(&store.bytes), Vec::<&str>::new());
        strings.extend(store.values.iter().filter_map(|value| String::from_utf8(value.clone()).ok()));
    }
    // The names of the entries are among them.
    assert!(strings.iter().filter(|string| string.contains("request:")).count() >= 4, "{strings:?}");
    for string in strings {
        let last = string.rsplit(':').next().unwrap();
        for presented in [string.as_str(), last, &format!("tbd_{last}")] {
            let polled = waiting.poll_with(&broker, &[("device_code", presented)]).await;
            assert!(polled.status.is_client_error(), "{presented}: {polled:?}");
        }
    }
    broker.advance(60);
    assert_eq!(approved.poll(&broker).await.status, 200, "nothing of this spent the code");
}
