//! What `deploy/` ships: units, image, compose file, manifests and the Debian package agree with the program.

mod containers;
mod service;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::yaml;

const BINARY: &str = env!("CARGO_BIN_EXE_token-broker");

/// A file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn file(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a program that must succeed.
fn run(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().unwrap();
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(status.success(), "{program} {arguments:?}\n{said}");
    said
}

/// Checks a shipped configuration as an operator would, with its secrets in a folder of this test: `secrets` is where the
/// shipped file expects them. Returns the settings in effect.
fn checked(config: &str, secrets: &str) -> toml::Table {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    let private = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    };
    private("database_url", "sqlite:/var/lib/token-broker/broker.sqlite");
    private("key_store_url", "redis://:password@redis");
    private("corp", "a-secret-of-the-tests-only");
    run(BINARY, &["keys", "generate", "--output", &format!("{here}/server_keys.toml")]);
    let text = file(config);
    assert!(text.contains(secrets), "{config}");
    std::fs::write(folder.path().join("token-broker.toml"), text.replace(secrets, &here)).unwrap();
    let shown = run(BINARY, &["check-config", "--config", &format!("{here}/token-broker.toml")]);
    shown.parse().unwrap_or_else(|error| panic!("{config}: {error}: {shown}"))
}

/// Whether the program has this command.
fn is_command(words: &[&str]) -> bool {
    Command::new(BINARY).args(words).arg("--help").output().unwrap().status.success()
}

#[test]
fn the_files_of_the_debian_package_exist() {
    let manifest: toml::Table = file("Cargo.toml").parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().unwrap();
    let (mut sources, mut targets) = (Vec::new(), Vec::new());
    for asset in assets {
        sources.push(asset[0].as_str().unwrap());
        targets.push(format!(
            "/{}{}",
            asset[1].as_str().unwrap(),
            asset[0].as_str().unwrap().rsplit('/').next().unwrap()
        ));
    }
    for source in sources.iter().filter(|source| !source.starts_with("target/")) {
        let folder = source.trim_end_matches("*.md").trim_end_matches('*');
        assert!(path(folder).exists(), "{source}");
    }
    let build = file("deploy/debian/build");
    for prepared in sources.iter().filter_map(|source| source.strip_prefix("target/package/")) {
        let made = prepared.trim_end_matches("/*").split('.').next().unwrap();
        assert!(build.contains(made), "{prepared} is not made");
    }
    for kept in deb["conf-files"].as_array().unwrap() {
        assert!(targets.iter().any(|target| target == kept.as_str().unwrap()), "{kept}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        assert!(file(&format!("deploy/debian/{script}")).contains("#DEBHELPER#"), "{script}");
        run("sh", &["-n", &path(&format!("deploy/debian/{script}")).display().to_string()]);
    }
    assert!(is_command(&["completions"]) && is_command(&["man"]));
}

#[test]
fn the_configuration_of_the_debian_package_is_that_of_its_unit() {
    let settings = checked("deploy/debian/token-broker.toml", "/etc/token-broker/secrets");
    let database = settings["database"]["url"].as_str().unwrap();
    assert_eq!(database, "sqlite:/var/lib/token-broker/broker.sqlite", "the StateDirectory of the unit");
    let socket = file("deploy/systemd/token-broker.socket");
    let listen = settings["server"]["listen"].as_str().unwrap();
    assert!(socket.contains(&format!("\nListenStream={listen}\n")), "{listen}");
    let script = file("deploy/debian/postinst");
    for place in ["/var/lib/token-broker", "/etc/token-broker/secrets", "server_keys.toml"] {
        assert!(script.contains(place), "{place}");
    }
}

#[test]
fn the_workflows_build_what_the_repository_tests() {
    let ci = &yaml::documents(&file(".github/workflows/ci.yml"))[0];
    let steps = ci["jobs"]["test"]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["run"] == ".ci/run"), "{steps:?}");
    let text = file(".github/workflows/release.yml");
    let release = &yaml::documents(&text)[0];
    let jobs = release["jobs"].as_object().unwrap();
    for job in ["program", "image"] {
        let machines: Vec<&Value> =
            jobs[job]["strategy"]["matrix"]["include"].as_array().unwrap().iter().collect();
        let architectures: Vec<_> =
            machines.iter().map(|machine| machine["architecture"].as_str().unwrap()).collect();
        assert_eq!(architectures, ["amd64", "arm64"], "{job}");
        assert!(jobs["release"]["needs"].as_array().unwrap().contains(&job.into()));
    }
    for command in ["deploy/debian/build", "sha256sum", "attest-build-provenance", "sbom"] {
        assert!(text.contains(command), "{command}");
    }
    // Programs and image have the same features, and none has the demo.
    let features = "--no-default-features --features postgres-static,redis-sentinel,redis-cluster";
    let unfolded = |text: &str| text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [&text, &file("Dockerfile")] {
        assert!(unfolded(text).contains(features), "{text}");
    }
}
