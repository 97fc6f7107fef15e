//! YAML files, read by a library that is not ours.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

const TO_JSON: &str = "import sys, json, yaml\n\
                       print(json.dumps([d for d in yaml.safe_load_all(sys.stdin) if d is not None], default=str))";

/// The documents of a file, as JSON. Needs the Debian package `python3-yaml`.
pub fn documents(text: &str) -> Vec<Value> {
    let mut python = Command::new("python3")
        .args(["-c", TO_JSON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ended = python.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}\n{text}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}
