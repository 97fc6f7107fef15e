//! The pages of the development provider.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use token_broker::provider::dev::{Fault, FaultSwitch, USERS};

use super::script::{Callback, Kind, Script};

#[tokio::test]
async fn every_choice_of_the_page_is_a_working_link() {
    let script = Script::new();
    for kind in [Kind::Oidc, Kind::Plain] {
        let page = script.choose(kind, "login_hint=bob").send().await.unwrap().text().await.unwrap();
        let links: Vec<_> =
            page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(links[0].contains("user=bob"), "the hinted person comes first: {}", links[0]);
        let faults = Fault::ALL.iter().filter(|f| kind == Kind::Oidc || f.concerns_plain_oauth2());
        let (most_used, by_group) =
            page.split_once("<h2>Most used</h2>").unwrap().1.split_once("<h2>").unwrap();
        assert_eq!(by_group.matches("fault=").count(), faults.count());
        assert_eq!(links.len(), USERS.len() + 1 + page.matches("fault=").count());
        // The sample's "Provider down" links to this page.
        assert!(
            most_used.contains("<span>Token endpoint: status 500</span> <code>token_500</code>"),
            "{most_used}"
        );
        let labels: Vec<_> =
            most_used.split("<span>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
        assert!((4..=8).contains(&labels.len()), "{labels:?}");
        assert_eq!(labels.iter().collect::<HashSet<_>>().len(), labels.len(), "{labels:?}");
        for link in links {
            let answer = script.get(&link.replace("&amp;", "&")).send().await.unwrap();
            Callback::of(&answer);
        }
    }
}

#[tokio::test]
async fn the_page_escapes_what_it_shows_and_allows_no_script() {
    let script = Script::new();
    let hostile = script.choose(Kind::Oidc, "display=%22%3E%3Cscript%3Ealert(1)%3C/script%3E");
    let answer = hostile.send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(answer.headers()[name], value);
    }
    let page = answer.text().await.unwrap();
    assert!(!page.contains("<script"), "{page}");
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    assert!(policy.contains(&format!("'sha256-{hash}'")), "the style sheet is not the one that is allowed");
}

#[tokio::test]
async fn switches_are_set_on_the_page() {
    let script = Script::new();
    let answer = script.post("/dev/faults").form(&[("everything_500", "on")]).send().await.unwrap();
    assert_eq!(answer.headers()["location"], "/dev/faults");
    assert!(script.provider.faults().is_on(FaultSwitch::Everything500));
    let page = script.get("/dev/faults").send().await.unwrap().text().await.unwrap();
    assert!(page.contains(r#"name="everything_500" value="off" aria-pressed="true""#), "{page}");
    script.post("/dev/faults").form(&[("everything_500", "off")]).send().await.unwrap();
    assert!(!script.provider.faults().is_on(FaultSwitch::Everything500));
    let odd = script.post("/dev/faults").form(&[("no_such_switch", "on")]).send().await.unwrap();
    assert_eq!(odd.status(), 400);
}
