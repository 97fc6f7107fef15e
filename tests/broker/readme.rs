//! The commands of the README and of the pages beside it, run as written.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use token_broker::error::ErrorCode;

use crate::support::administration::CONFIG;
use crate::support::process::free_port;

const BINARY: &str = env!("CARGO_BIN_EXE_token-broker");

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The blocks of this language in the README, in order.
fn blocks(language: &str) -> Vec<String> {
    blocks_of("README.md", language)
}

fn blocks_of(page: &str, language: &str) -> Vec<String> {
    let page = file(page);
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|piece| piece.split("\n```").next().unwrap().to_owned()).collect()
}

fn block_with(text: &str) -> String {
    blocks("sh")
        .into_iter()
        .find(|block| block.contains(text))
        .unwrap_or_else(|| panic!("no block has {text}"))
}

/// Runs a block with `sh -e` in `folder`; returns its output.
fn run(script: &str, folder: &Path) -> String {
    let output = Command::new("sh").args(["-e", "-c", script]).current_dir(folder).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{out}{err}");
    out.into_owned()
}

/// A running `demo`, stopped at the end of the test.
struct Demo {
    process: Child,
    printed: Vec<String>,
}

impl Demo {
    fn start(port: u16, data: &Path) -> Self {
        let mut process = Command::new(BINARY)
            .args(["demo", "--port", &port.to_string(), "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut printed = Vec::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            printed.push(line.unwrap());
            if printed.last().unwrap().starts_with("ready: ") {
                break;
            }
        }
        Self { process, printed }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_first_command_is_the_demo_and_prints_what_the_readme_shows() {
    assert_eq!(blocks("sh")[0], "cargo run --release -- demo");
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let demo = Demo::start(port, folder.path());
    let readme = file("README.md");
    assert!(demo.printed.len() <= 12);
    for line in &demo.printed {
        // Values that differ between runs: the broker's port, the provider's port, the folder.
        let label: String = line.split("http").next().unwrap().split("  /").next().unwrap().to_owned();
        assert!(readme.contains(label.trim_end()), "the README does not show {line:?}");
    }
}

/// The file itself is run by `frontend-sample/e2e/examples.test.mjs`.
#[test]
fn the_12_line_spa_is_the_file_that_a_browser_test_runs() {
    let app = file("frontend-sample/examples/minimal/app.js");
    assert_eq!(blocks("js"), [app.trim_end()]);
    assert_eq!(app.lines().count(), 12);
}

#[test]
fn the_links_of_the_readme_exist() {
    let readme = file("README.md");
    let target = regex::Regex::new(r#"\]\(([^)]+)\)|(?:src|srcset)="([^"]+)""#).unwrap();
    let anchors: Vec<String> = readme
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')))
        .map(|title| title.to_lowercase().replace(' ', "-"))
        .collect();
    for captures in target.captures_iter(&readme) {
        let target = captures.get(1).or(captures.get(2)).unwrap().as_str();
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists();
        assert!(there || path.starts_with("https://"), "{target} is not there");
        assert!(!path.is_empty() || anchors.iter().any(|known| known == anchor), "#{anchor} is no heading");
    }
    for picture in ["docs/pictures/signed-in-light.png", "docs/pictures/signed-in-dark.png"] {
        let size = Path::new(env!("CARGO_MANIFEST_DIR")).join(picture).metadata().unwrap().len();
        assert!(size < 150_000, "{picture} has {size} bytes");
    }
}

/// Readers search for the message that they see.
#[test]
fn the_messages_that_the_readme_quotes_are_those_of_the_broker() {
    let readme = file("README.md");
    let quoted: Vec<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("| \"")?.split('"').next()).collect();
    assert!(!quoted.is_empty());
    for message in quoted {
        assert!(ErrorCode::ALL.iter().any(|code| code.public_text() == message), "{message}");
    }
}

#[test]
fn the_curl_login_of_the_readme_ends_at_the_signed_in_user() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let _demo = Demo::start(port, &folder.path().join("data"));
    let script = block_with("code_challenge").replace(":8080", &format!(":{port}"));
    let me: serde_json::Value = serde_json::from_str(&run(&script, folder.path())).unwrap();
    assert_eq!(me["user"]["username"], "alice");
    // The same through the plain OAuth 2 provider.
    let script = script.replace("provider=dev", "provider=ops").replace("user=alice", "user=bob");
    let me: serde_json::Value = serde_json::from_str(&run(&script, folder.path())).unwrap();
    assert_eq!(
        (me["user"]["provider"].as_str(), me["user"]["username"].as_str()),
        (Some("ops"), Some("bob"))
    );
}

#[test]
fn the_commands_of_production_work_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        run(&format!("chmod 600 {name}"), folder.path());
    };
    file("secret", "a-secret-of-the-readme-test-only");
    file(
        "token-broker.toml",
        &CONFIG.replace(r#"url_file = "database_url""#, r#"url = "sqlite:broker.sqlite""#),
    );
    let commands: Vec<String> = block_with("check-config")
        .lines()
        .filter(|line| line.starts_with("target/dist/token-broker"))
        .map(|line| line.replace("target/dist/token-broker", BINARY))
        .collect();
    let [keys, check, migrate, serve] = &commands[..] else { panic!("{commands:?}") };
    for command in [keys, check, migrate] {
        run(command, folder.path());
    }
    assert!(folder.path().join("broker.sqlite").exists());
    // `serve` runs until a stop signal, and then exits with 0.
    let listen = format!("127.0.0.1:{}", free_port());
    let script = format!("TOKEN_BROKER__SERVER__LISTEN={listen} exec {serve}");
    let mut serving = Command::new("sh")
        .args(["-e", "-c", &script])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(serving.stderr.take().unwrap());
    let mut lines = log.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"ready\"")), "it ended before it was ready");
    let stop = format!("curl -fsS http://{listen}/healthz && kill -TERM {}", serving.id());
    run(&stop, folder.path());
    let said: Vec<String> = lines.collect();
    assert_eq!(serving.wait().unwrap().code(), Some(0), "{said:?}");
}

#[test]
fn the_commands_of_the_keys_page_work_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), std::env::var("PATH").unwrap());
    std::fs::write(folder.path().join("token-broker.toml"), CONFIG).unwrap();
    let blocks = blocks_of("docs/keys.md", "sh");
    assert_eq!(blocks.len(), 2);
    let [first, emergency] = [&blocks[0], &blocks[1]].map(|block| {
        run(&format!("export PATH='{path}' TOKEN_BROKER_CONFIG=token-broker.toml\n{block}"), folder.path())
    });
    assert!(first.contains("1     issues"), "{first}");
    assert!(emergency.contains("Key 2 now issues.") && emergency.contains("Key 1 removed."), "{emergency}");
}

#[test]
fn the_examples_of_the_logout_page_match_the_broker() {
    let client = &blocks_of("docs/logout.md", "toml")[0];
    let folder = tempfile::tempdir().unwrap();
    let (rest, _) = CONFIG.split_once("[[clients]]").unwrap();
    for (name, text) in [
        ("token-broker.toml", format!("{rest}\n{client}").as_str()),
        ("secret", "a-secret-of-the-readme-test-only"),
        ("database_url", "sqlite:broker.sqlite"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    run(
        &format!("chmod 400 secret database_url; {BINARY} keys generate --output server_keys.toml"),
        folder.path(),
    );
    let shown = run(&format!("{BINARY} check-config --config token-broker.toml"), folder.path());
    assert!(shown.contains(r#"post_logout_redirect_uris = ["https://app.example.com/"]"#), "{shown}");
    let answers: Vec<serde_json::Value> = blocks_of("docs/logout.md", "json")
        .iter()
        .map(|block| serde_json::from_str(block).unwrap())
        .collect();
    let document: serde_json::Value = serde_json::from_str(&file("openapi/token-broker.json")).unwrap();
    let documented = document["components"]["schemas"]["LogoutAnswer"]["properties"].as_object().unwrap();
    let [session, everywhere] = answers.as_slice() else { panic!("{answers:?}") };
    let members =
        |answer: &serde_json::Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(session), ["provider_logout_url"]);
    assert_eq!(members(everywhere), documented.keys().cloned().collect::<Vec<_>>());
}
