//! The sample app as the broker serves it: its files, their caching, and when it is not served. Its behaviour in a
//! browser is tested in `frontend-sample/e2e`.

use regex::Regex;
use reqwest::Method;
use token_broker::config::Mode;

use crate::headers;
use crate::support::broker::{Setup, TestBroker};
use crate::support::browser::{Answer, Browser};

const GZIP: (&str, &str) = ("accept-encoding", "gzip, deflate, br, zstd");

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.header(name).unwrap_or_default()
}

/// The page at `/` and all files that it loads, directly or by imports.
async fn files(broker: &TestBroker, browser: &Browser) -> Vec<Answer> {
    let reference = Regex::new(r#"(?m)(?:src|href)="(/[^"]+)"|^import [^';]*'(\.[^']+)';$"#).unwrap();
    let mut found = vec![broker.at("/")];
    let mut answers = Vec::new();
    while let Some(url) = found.get(answers.len()) {
        let answer = browser.get(url, &[]).await;
        for captures in reference.captures_iter(&answer.body) {
            let name = captures.get(1).or(captures.get(2)).unwrap().as_str();
            let url = answer.url.join(name).unwrap().to_string();
            if !found.contains(&url) {
                found.push(url);
            }
        }
        answers.push(answer);
    }
    answers
}

#[actix_web::test]
async fn every_sample_file_has_its_type_and_the_page_a_strict_policy() {
    let broker = TestBroker::start();
    let files = files(&broker, &broker.browser()).await;
    let names: Vec<&str> = files.iter().map(|file| file.url.path()).collect();
    for name in
        ["/sample/app.css", "/sample/config.js", "/sample/client/token-broker.js", "/sample/views/token.js"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for file in &files {
        headers::check(file, false);
        assert_eq!(file.status, 200, "{}", file.url);
        let kind = match file.url.path().rsplit_once('.').map(|(_, kind)| kind) {
            None => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        };
        assert_eq!(header(file, "content-type"), kind, "{}", file.url);
    }
    let policy = header(&files[0], "content-security-policy");
    for directive in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert_eq!(header(&files[0], "cross-origin-opener-policy"), "same-origin");
    let inline = Regex::new(r#"<style|<script(?: [^>]*)?>[^<]|\s(?:style|on\w+)="|//[a-z]"#).unwrap();
    assert!(!inline.is_match(&files[0].body), "{}", files[0].body);
}

#[actix_web::test]
async fn files_of_the_sample_are_compressed_if_the_browser_accepts_it() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    let url = broker.at("/sample/client/token-broker.js");
    let length = |answer: &Answer| header(answer, "content-length").parse::<usize>().unwrap();
    let plain = browser.get(&url, &[]).await;
    assert_eq!((header(&plain, "content-encoding"), length(&plain)), ("", plain.body.len()));
    assert_eq!(header(&plain, "vary"), "Accept-Encoding");
    let compressed = browser.get(&url, &[GZIP]).await;
    assert_eq!(
        (header(&compressed, "content-encoding"), header(&compressed, "vary")),
        ("gzip", "Accept-Encoding")
    );
    // The readable file; what apps ship is minified, and measured by the client's own tests.
    assert!(compressed.body.starts_with('\u{1f}') && length(&compressed) <= 7500, "{}", length(&compressed));
    for other in ["", "identity", "br", "gzip;q=0", "gzip;q=nonsense", "identity, gzip;q=0.5"] {
        let answer = browser.get(&url, &[("accept-encoding", other)]).await;
        assert_eq!((header(&answer, "content-encoding"), &answer.body), ("", &plain.body), "{other}");
    }
}

#[actix_web::test]
async fn files_of_the_sample_are_revalidated_by_etag() {
    let broker = TestBroker::start();
    let browser = broker.browser();
    for path in ["/", "/sample/app.js", "/sample/config.js", "/sample/views/token.js"] {
        let url = broker.at(path);
        let mut tags = Vec::new();
        for encoding in [GZIP, ("accept-encoding", "identity")] {
            let first = browser.get(&url, &[encoding]).await;
            let tag = header(&first, "etag").to_owned();
            assert!(tag.starts_with('"') && tag.len() > 20, "{path}: {tag} is strong");
            for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
                let again = browser.get(&url, &[encoding, ("if-none-match", &known)]).await;
                assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""), "{path}: {known}");
                headers::check(&again, false);
                for same in
                    ["etag", "vary", "cache-control", "content-security-policy", "cross-origin-opener-policy"]
                {
                    assert_eq!(header(&again, same), header(&first, same), "{path}: {same}");
                }
            }
            for unknown in ["\"other\"", "nonsense", tag.trim_matches('"')] {
                let again = browser.get(&url, &[encoding, ("if-none-match", unknown)]).await;
                assert_eq!((again.status.as_u16(), &again.body), (200, &first.body), "{path}: {unknown}");
            }
            tags.push(tag);
        }
        // config.js is too small to be compressed.
        assert_eq!(tags[0] == tags[1], path == "/sample/config.js", "{path}: the two forms differ: {tags:?}");
    }
}

#[actix_web::test]
async fn the_configuration_of_the_sample_comes_from_the_broker() {
    let setup = Setup::default().adjust(|config| {
        config.sample.client_id = Some("vite-react".parse().unwrap());
        config.providers[1].display_name = "O'Reilly \"<Ops>\" \u{2028}".to_owned();
    });
    let broker = TestBroker::with(setup);
    let module = broker.browser().get(&broker.at("/sample/config.js"), &[]).await.body;
    let json = module.strip_prefix("export default ").and_then(|rest| rest.strip_suffix(";\n")).unwrap();
    let config: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        (config["clientId"].as_str(), config["demoUsers"].as_bool()),
        (Some("vite-react"), Some(true))
    );
    assert_eq!(config["providers"][0]["id"], "dev");
    assert_eq!(config["providers"][1]["displayName"], "O'Reilly \"<Ops>\" \u{2028}");
    assert!(!json.contains(crate::support::broker::CLIENT_SECRET));
}

#[actix_web::test]
async fn only_sample_files_are_served_even_from_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("views")).unwrap();
    for name in ["index.html", "app.js", "views/token.js", "secret.txt", "package.json", "e2e.test.mjs"] {
        std::fs::write(folder.path().join(name), format!("edited {name}")).unwrap();
    }
    let path = folder.path().to_owned();
    let from_folder =
        TestBroker::with(Setup::default().adjust(move |config| config.sample.folder = Some(path.clone())));
    let embedded = TestBroker::start();
    let browser = from_folder.browser();
    for (path, text) in
        [("/", "index.html"), ("/sample/app.js", "app.js"), ("/sample/views/token.js", "views/token.js")]
    {
        let answer = browser.get(&from_folder.at(path), &[GZIP]).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, format!("edited {text}")));
    }
    let config = browser.get(&from_folder.at("/sample/config.js"), &[]).await;
    assert!(config.body.contains("\"clientId\":\"sample\""), "{}", config.body);
    let edited = browser.get(&from_folder.at("/sample/app.js"), &[]).await;
    std::fs::write(folder.path().join("app.js"), "edited again").unwrap();
    let tag = ("if-none-match", header(&edited, "etag"));
    assert_eq!(browser.get(&from_folder.at("/sample/app.js"), &[tag]).await.body, "edited again");
    for path in [
        "/sample/secret.txt",
        "/sample/package.json",
        "/sample/e2e.test.mjs",
        "/sample/app.css/",
        "/sample/views",
        "/sample/..%2fsecret.txt",
        "/sample/%2e%2e/secret.txt",
        "/sample/views/..%2fapp.js",
        "/sample//etc/passwd",
        "/sample/client/token-broker-types.d.ts",
        "/sample/client/testing/broker.mjs",
        "/sample/node_modules/axe-core/package.json",
    ] {
        let known =
            if path == "/sample/app.css/" { vec![&from_folder] } else { vec![&from_folder, &embedded] };
        for broker in known {
            let answer = browser.send(Method::GET, &broker.at(path), &[], None).await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.body);
            headers::check(&answer, false);
        }
    }
}

#[actix_web::test]
async fn production_has_the_sample_only_if_enabled() {
    let production = |on: bool| {
        TestBroker::with(Setup::default().adjust(move |config| {
            config.mode = Mode::Production;
            if !on {
                config.sample.client_id = None;
            }
        }))
    };
    let (off, on) = (production(false), production(true));
    let browser = off.browser();
    let embedded = files(&on, &browser).await;
    assert!(embedded.len() > 15);
    for file in &embedded {
        let path = file.url.path();
        let answer = browser.get(&off.at(path), &[]).await;
        if path == "/" {
            assert!(answer.status == 200 && !answer.body.contains("<script"), "{}", answer.body);
        } else {
            assert_eq!(answer.status, 404, "{path}");
        }
        headers::check(&answer, false);
    }
    let config = browser.get(&on.at("/sample/config.js"), &[]).await.body;
    assert!(config.contains("\"demoUsers\":false"), "{config}");
}
