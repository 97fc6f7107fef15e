//! `/device`: who may answer, and what protects them.

use futures_util::future::join;
use regex::Regex;
use token_broker::domain::key_ring::{KeyId, KeyRing, ServerKey};

use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::Answer;
use crate::support::device::{
    ASK, CONNECTED, Device, ENTER, NO_CODE, REFUSED, UNKNOWN, USED, answer, assert_page, enter, post,
    question, sign_in, signed_in,
};
use crate::support::oauth::{assert_error, setup, text};
use crate::support::redis;

/// The links of a page that lead to this path.
fn links(page: &Answer, path: &str) -> Vec<String> {
    let link = Regex::new(r#"href="([^"]+)""#).unwrap();
    let found = link.captures_iter(&page.body).map(|found| found[1].replace("&amp;", "&"));
    found.filter(|link| link.starts_with(path)).collect()
}

#[actix_web::test]
async fn a_person_who_is_not_signed_in_goes_to_the_provider_and_comes_back_with_the_code() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let device = Device::start(&broker, &[]).await;
    let page = browser.navigate(device.codes["verification_uri_complete"].as_str().unwrap()).await;
    assert_page(&page, ENTER);
    assert!(page.body.contains("Sign in first"), "{page:?}");
    assert!(!page.body.contains("<form"), "nothing to enter yet: {page:?}");
    let links = links(&page, "/device/sign_in");
    assert_eq!(links.len(), 2, "both providers: {page:?}");
    let back = sign_in(&broker, &browser, &broker.at(&links[0]), "&user=bob").await;
    let location = back.location().unwrap();
    assert_eq!(location.as_str(), device.codes["verification_uri_complete"]);
    let page = browser.navigate(location.as_str()).await;
    assert!(page.body.contains(&format!("value=\"{}\"", device.user_code())), "{page:?}");
    assert!(page.body.contains("鲍勃"), "{page:?}");
    assert_page(&answer(&broker, &browser, &device.user_code(), "connect").await, CONNECTED);
    let token = text(&device.poll(&broker).await.json(), "access_token");
    assert_eq!(broker.call("/api/me", &token).await.json()["user"]["username"], "bob");
}

#[actix_web::test]
async fn opening_the_complete_address_looks_nothing_up_and_connects_nothing() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let page = browser.navigate(device.codes["verification_uri_complete"].as_str().unwrap()).await;
    assert_page(&page, ENTER);
    assert!(page.body.contains(&format!("value=\"{}\"", device.user_code())), "filled in: {page:?}");
    assert!(!page.body.contains("Sample app") && !page.body.contains("name=\"question\""), "{page:?}");
    // No other parameter of the address answers.
    let answering = format!("/device?user_code={}&answer=connect&question=x", device.user_code());
    assert_page(&browser.navigate(&broker.at(&answering)).await, ENTER);
    assert_error(&device.poll(&broker).await, 400, "authorization_pending", "no one has clicked");
}

#[actix_web::test]
async fn an_answer_counts_only_for_the_session_and_the_code_that_were_asked() {
    let broker = TestBroker::start();
    let (alice, mallory) = (signed_in(&broker, "alice").await, signed_in(&broker, "bob").await);
    let [device, other] = [Device::start(&broker, &[]).await, Device::start(&broker, &[]).await];
    let of_mallory = question(&enter(&broker, &mallory, &device.user_code()).await);
    let of_other = question(&enter(&broker, &alice, &other.user_code()).await);
    for wrong in [&*of_mallory, &of_other, "x", "", &"A".repeat(120)] {
        let form = [("user_code", &*device.user_code()), ("question", wrong), ("answer", "connect")];
        assert_page(&post(&broker, &alice, &form).await, ASK);
    }
    // A question that was asked before the browser changed hands.
    let asked = question(&enter(&broker, &alice, &device.user_code()).await);
    sign_in(&broker, &alice, &broker.at("/device/sign_in?provider=dev"), "&user=bob").await;
    let form = [("user_code", &*device.user_code()), ("question", &*asked), ("answer", "connect")];
    let page = post(&broker, &alice, &form).await;
    assert_page(&page, ASK);
    assert!(page.body.contains("鲍勃") && !page.body.contains("Alice"), "{page:?}");
    // One that is ten minutes old.
    let asked = question(&page);
    broker.advance(590);
    let second = Device::start(&broker, &[]).await;
    broker.advance(20);
    let form = [("user_code", &*second.user_code()), ("question", &*asked), ("answer", "connect")];
    assert_page(&post(&broker, &alice, &form).await, ASK);
    assert_error(&second.poll(&broker).await, 400, "authorization_pending", "nothing was connected");
    let form = [("user_code", &*second.user_code()), ("question", &*asked), ("answer", "perhaps")];
    post(&broker, &alice, &form).await.assert_own_page(400, "invalid_request");
}

#[actix_web::test]
async fn only_the_pages_own_forms_are_accepted() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let asked = question(&enter(&broker, &browser, &device.user_code()).await);
    let form = [("user_code", &*device.user_code()), ("question", &*asked), ("answer", "connect")];
    let at = broker.at("/device");
    let own = ("origin", &*broker.url);
    for headers in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://localhost:5173")],
        &[own, ("sec-fetch-site", "cross-site")],
        &[own, ("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
    ] {
        let answer = browser.post_form(&at, &form, headers).await;
        answer.assert_own_page(403, "origin_not_allowed");
    }
    let framed = browser.post_form(&at, &form, &[own, ("sec-fetch-dest", "iframe")]).await;
    framed.assert_own_page(403, "not_a_navigation");
    let json = browser.post_json(&at, &serde_json::json!({ "answer": "connect" }), &[own]).await;
    json.assert_own_page(415, "unsupported_media_type");
    assert_error(&device.poll(&broker).await, 400, "authorization_pending", "nothing was connected");
    assert_page(&post(&broker, &browser, &form).await, CONNECTED);
}

#[actix_web::test]
async fn signed_out_people_can_try_no_codes() {
    let broker = TestBroker::start();
    broker.ready().await;
    let device = Device::start(&broker, &[]).await;
    let stranger = broker.browser();
    for form in [
        &[("user_code", &*device.user_code())][..],
        &[("user_code", &*device.user_code()), ("question", "x"), ("answer", "connect")],
        &[("user_code", "BBBB-BBBB")],
    ] {
        let page = post(&broker, &stranger, form).await;
        assert!(page.body.contains("Sign in first") && !page.body.contains("Sample app"), "{page:?}");
    }
    // A session that has ended is none.
    let browser = signed_in(&broker, "alice").await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    broker.post("/api/logout", &token, &serde_json::json!({ "everywhere": true })).await;
    let page = enter(&broker, &browser, &device.user_code()).await;
    assert!(page.body.contains("Sign in first"), "{page:?}");
}

#[actix_web::test]
async fn a_code_is_read_as_people_type_it_and_junk_is_refused() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let code = device.user_code();
    let plain = code.replace('-', "");
    for typed in
        [code.to_lowercase(), plain.clone(), format!(" {} ", plain.to_lowercase()), code.replace('-', " – ")]
    {
        assert_page(&enter(&broker, &browser, &typed).await, ASK);
    }
    let hostile = "<script>alert(1)</script>";
    for (junk, said) in [
        ("", NO_CODE),
        (&code[..7], NO_CODE),
        (&format!("{code}B"), NO_CODE),
        ("AEIO-UAEI", NO_CODE),
        ("' OR '1'='1", NO_CODE),
        (hostile, NO_CODE),
        (&"B".repeat(9000), NO_CODE),
        ("BBBB-BBBB", UNKNOWN),
    ] {
        let page = enter(&broker, &browser, junk).await;
        assert_page(&page, ENTER);
        assert!(page.body.contains(said), "{junk}: {page:?}");
        assert!(!page.body.contains("<script"), "{page:?}");
    }
    for address in
        ["/device?user_code=%3Cscript%3E", "/device?user_code=BB%22onload%3D", "/device?error=%3Cb%3E"]
    {
        let page = browser.navigate(&broker.at(address)).await;
        assert_page(&page, ENTER);
        assert!(
            !page.body.contains("<script") && !page.body.contains("onload") && !page.body.contains("<b>")
        );
    }
    let twice = browser.navigate(&broker.at("/device?user_code=a&user_code=b")).await;
    twice.assert_own_page(400, "invalid_request");
    let refused = broker.audited("device_code_refused").await;
    assert!(refused.user.is_some() && refused.address.is_some());
}

#[actix_web::test]
async fn of_two_people_who_approve_at_once_one_connects_the_device() {
    for key_store in [None, Some(redis::url())] {
        let broker = TestBroker::with(Setup { key_store, ..Setup::default() });
        for _ in 0..5 {
            let (alice, bob) = (signed_in(&broker, "alice").await, signed_in(&broker, "bob").await);
            let device = Device::start(&broker, &[]).await;
            let code = device.user_code();
            let asked = [
                question(&enter(&broker, &alice, &code).await),
                question(&enter(&broker, &bob, &code).await),
            ];
            let [first, second] = asked
                .each_ref()
                .map(|asked| [("user_code", &*code), ("question", &**asked), ("answer", "connect")]);
            let (one, other) = join(post(&broker, &alice, &first), post(&broker, &bob, &second)).await;
            let connected = [&one, &other].map(|page| page.body.contains(CONNECTED));
            assert_eq!(connected.iter().filter(|connected| **connected).count(), 1, "{one:?} {other:?}");
            assert!(one.body.contains(USED) || other.body.contains(USED));
            let token = text(&device.poll(&broker).await.json(), "access_token");
            let expected = if connected[0] { "alice" } else { "bob" };
            assert_eq!(broker.call("/api/me", &token).await.json()["user"]["username"], expected);
            let sessions = broker.call("/api/sessions", &token).await.json();
            let devices = sessions["sessions"].as_array().unwrap().iter();
            assert!(devices.filter(|session| session["current"] == true).count() == 1, "{sessions}");
        }
    }
}

#[actix_web::test]
async fn a_double_click_connects_the_device_once() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let device = Device::start(&broker, &[]).await;
    let code = device.user_code();
    let asked = question(&enter(&broker, &browser, &code).await);
    let form = [("user_code", &*code), ("question", &*asked), ("answer", "connect")];
    let copy = browser.copy();
    let (one, other) = join(post(&broker, &browser, &form), post(&broker, &copy, &form)).await;
    assert_page(&one, CONNECTED);
    assert_page(&other, CONNECTED);
    assert_page(&post(&broker, &browser, &form).await, CONNECTED);
    let token = text(&device.poll(&broker).await.json(), "access_token");
    let sessions = broker.call("/api/sessions", &token).await.json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2, "the browser and the device: {sessions}");
    // Afterwards the code is used, and refusing changes nothing any more.
    let refusal = [("user_code", &*code), ("question", &*asked), ("answer", "refuse")];
    assert!(post(&broker, &browser, &refusal).await.body.contains(USED));
    assert!(enter(&broker, &browser, &code).await.body.contains(USED));
    assert_eq!(broker.call("/api/me", &token).await.status, 200);
}

#[actix_web::test]
async fn of_an_approval_and_a_refusal_at_once_one_counts() {
    let broker = TestBroker::start();
    let mut connected = 0;
    for _ in 0..5 {
        let (alice, bob) = (signed_in(&broker, "alice").await, signed_in(&broker, "bob").await);
        let device = Device::start(&broker, &[]).await;
        let code = device.user_code();
        let (yes, no) =
            (question(&enter(&broker, &alice, &code).await), question(&enter(&broker, &bob, &code).await));
        let yes = [("user_code", &*code), ("question", &*yes), ("answer", "connect")];
        let no = [("user_code", &*code), ("question", &*no), ("answer", "refuse")];
        let (one, other) = join(post(&broker, &alice, &yes), post(&broker, &bob, &no)).await;
        let polled = device.poll(&broker).await;
        if polled.status == 200 {
            assert_page(&one, CONNECTED);
            assert!(other.body.contains(USED), "{other:?}");
            connected += 1;
        } else {
            assert_error(&polled, 400, "access_denied", "bob was first");
            assert!(one.body.contains(USED), "{one:?}");
            assert_page(&other, REFUSED);
            let sessions = broker.sign_in(&broker.browser(), "dev", "alice").await;
            let sessions = broker.call("/api/sessions", &sessions).await.json();
            let devices = sessions.to_string().matches("\"other\"").count();
            assert_eq!(devices, connected, "no session of the refused device is left: {sessions}");
        }
        broker.advance(60);
    }
}

#[actix_web::test]
async fn a_provider_that_refuses_leads_back_to_the_page() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let link = broker.at("/device/sign_in?provider=dev&user_code=BCDF-GHJK");
    let back = sign_in(&broker, &browser, &link, "&deny=1").await;
    let location = back.location().unwrap();
    assert_eq!(location.as_str(), broker.at("/device?user_code=BCDF-GHJK&error=access_denied"));
    let page = browser.navigate(location.as_str()).await;
    assert!(page.body.contains("The sign-in was cancelled"), "{page:?}");
    assert!(links(&page, "/device/sign_in").iter().all(|link| link.contains("user_code=BCDF-GHJK")));
    assert_eq!(broker.audited("login_failed").await.client, None);
}

#[actix_web::test]
async fn the_sign_in_of_the_page_is_that_of_every_login() {
    let broker = TestBroker::start();
    broker.ready().await;
    let browser = broker.browser();
    let choice = browser.navigate(&broker.at("/device/sign_in?prompt=select_account")).await;
    let links = links(&choice, "/device/sign_in");
    assert!(
        links.iter().all(|link| link.contains("prompt=select_account")) && links.len() == 2,
        "{choice:?}"
    );
    let begun = browser.navigate(&broker.at(&links[0])).await;
    assert!(begun.location().unwrap().query().unwrap().contains("prompt=select_account"), "{begun:?}");
    for (bad, code) in [("prompt=none", "invalid_request"), ("provider=evil", "invalid_request")] {
        browser.navigate(&broker.at(&format!("/device/sign_in?{bad}"))).await.assert_own_page(400, code);
    }
    let framed = [("sec-fetch-dest", "iframe")];
    let framed = browser.get(&broker.at("/device/sign_in?provider=dev"), &framed).await;
    framed.assert_own_page(403, "not_a_navigation");
    // Another browser cannot complete it, and it works once.
    let callback =
        broker.callback_url(&browser, &broker.at("/device/sign_in?provider=dev"), "&user=bob").await;
    broker.browser().navigate(&callback).await.assert_own_page(400, "invalid_state");
    assert_eq!(browser.navigate(&callback).await.status, 303);
    browser.navigate(&callback).await.assert_own_page(400, "invalid_state");
}

#[actix_web::test]
async fn a_sign_in_of_the_page_ends_no_session_of_the_browser() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let token = broker.sign_in(&browser, "dev", "alice").await;
    for user in ["alice", "bob"] {
        let link = broker.at("/device/sign_in?provider=dev&prompt=select_account");
        let back = sign_in(&broker, &browser, &link, &format!("&user={user}")).await;
        assert_eq!(back.status, 303, "{back:?}");
        assert_eq!(broker.call("/api/me", &token).await.status, 200, "any site can cause this: {user}");
    }
}

#[actix_web::test]
async fn the_page_speaks_the_language_of_the_browser() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let headers = [("accept-language", "zh-CN"), ("sec-fetch-dest", "document"), ("accept", "text/html")];
    let page = browser.get(&broker.at("/device"), &headers).await;
    assert_page(&page, "连接设备");
    assert!(page.body.contains("lang=\"zh-Hans\""), "{page:?}");
}

#[actix_web::test]
async fn a_browser_that_signed_in_here_continues_at_login_and_the_other_way_round() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let login = broker.login(&[]);
    let back = browser.navigate(&login.url).await;
    let key = back.parameter("one_time_key").unwrap_or_else(|| panic!("{back:?}"));
    assert_eq!(broker.redeem(&browser, &key, &login.verifier).await.status, 200);

    let browser = broker.browser();
    broker.sign_in(&browser, "dev", "bob").await;
    let page = browser.navigate(&broker.at("/device")).await;
    assert!(page.body.contains("鲍勃") && page.body.contains("<form"), "{page:?}");
}

#[actix_web::test]
async fn codes_survive_a_rotation_of_the_server_keys() {
    let ring = |issuing: u32, ids: &[u32]| {
        let key = |id: &u32| ServerKey::new(KeyId(*id), vec![*id as u8; 32]).unwrap();
        KeyRing::new(KeyId(issuing), ids.iter().map(key).collect()).unwrap()
    };
    let broker = TestBroker::with(Setup { key_store: Some(redis::url()), ..setup() });
    broker.ready().await;
    let old = broker.twin_with(|config| config.server_keys = ring(1, &[1, 2]).into());
    let new = broker.twin_with(|config| config.server_keys = ring(2, &[1, 2]).into());
    let browser = signed_in(&old, "alice").await;
    let device = Device::start(&old, &[]).await;
    browser.route(&new.url, &new.real_url);
    assert_page(&answer(&new, &browser, &device.user_code(), "connect").await, CONNECTED);
    let token = text(&device.poll(&old).await.json(), "access_token");
    assert_eq!(new.call("/api/me", &token).await.status, 200);
}
