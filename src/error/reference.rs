//! Generates `docs/reference-errors.md` from the table of codes.

use std::fmt::Write;

use super::ErrorCode;

const INTRODUCTION: &str = "\
# Error codes

Every refusal has one of these codes. API clients find it in `code` of a problem document (RFC 9457) or in `error` of an
OAuth answer, people on the page that they see. The log line of the request has it as `code`, with the `cause`, which no
caller is told; look for the `request_id` of the answer. The metric `token_broker_refusals_total{listener,code}` counts
them.

- **status** is the HTTP status of the answer.
- **at the app** is the `error` with which the browser returns to the app, if the login failed after client and
  redirect URI were known (RFC 6749 section 4.1.2.1).
- 503 and 504 mean \"unknown, retry\", never \"invalid\": an app keeps its token.

<!-- Generated from src/error.rs: UPDATE_DOCS=1 cargo test --lib error::reference -->

| code | status | at the app | when | what the caller reads |
|---|---|---|---|---|
";

fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for code in ErrorCode::ALL {
        let (name, status, redirect) = (code.as_str(), code.status(), code.redirect_code());
        let (meaning, text) = (code.meaning().replace('|', "\\|"), code.public_text().replace('|', "\\|"));
        writeln!(page, "| `{name}` | {status} | `{redirect}` | {meaning} | {text} |").unwrap();
    }
    page
}

#[test]
fn the_reference_is_current() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference-errors.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/reference-errors.md is stale: UPDATE_DOCS=1 cargo test --lib error::reference"
    );
}

#[test]
fn every_code_says_when_it_is_used() {
    for code in ErrorCode::ALL {
        assert!(code.meaning().ends_with('.'), "{code}: {}", code.meaning());
    }
}
