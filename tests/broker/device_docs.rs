//! `docs/device.md`: its commands are run as written while a browser connects the device.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;
use serde_json::Value;

use crate::support::broker::TestBroker;
use crate::support::device::{CONNECTED, answer, assert_page, signed_in};

fn blocks(language: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/device.md");
    let page = std::fs::read_to_string(file).unwrap();
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|piece| piece.split("\n```").next().unwrap().to_owned()).collect()
}

fn shell(script: &str, broker: &TestBroker) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", script]).env("BROKER", &broker.real_url).stdout(Stdio::piped());
    shell
}

#[actix_web::test]
async fn the_first_command_answers_what_the_page_shows() {
    let broker = TestBroker::start();
    broker.ready().await;
    let output = shell(&blocks("sh")[0], &broker).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let shown: Value = serde_json::from_str(&blocks("json")[0]).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&answer), names(&shown));
    for same in ["expires_in", "interval"] {
        assert_eq!(answer[same], shown[same]);
    }
}

#[actix_web::test]
async fn the_script_waits_for_its_user_and_calls_the_api() {
    let broker = TestBroker::start();
    let browser = signed_in(&broker, "alice").await;
    let mut script = shell(&blocks("sh")[1], &broker).spawn().unwrap();
    let mut output = BufReader::new(script.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let pattern = Regex::new(r"^Open (\S+/device\?user_code=\S+) and compare the code (\S{9})$").unwrap();
    let shown = pattern.captures(line.trim()).unwrap_or_else(|| panic!("{line}"));
    let page = browser.navigate(&shown[1]).await;
    assert!(page.body.contains(&shown[2]), "{page:?}");
    assert_page(&answer(&broker, &browser, &shown[2], "connect").await, CONNECTED);
    let mut rest = String::new();
    tokio::task::spawn_blocking(move || {
        output.read_to_string(&mut rest).unwrap();
        assert!(script.wait().unwrap().success(), "{rest}");
        let me: Value = serde_json::from_str(&rest).unwrap();
        assert_eq!(me["user"]["username"], "alice");
    })
    .await
    .unwrap();
}
