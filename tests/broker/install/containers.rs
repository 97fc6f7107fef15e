//! The image, the compose file and the manifests.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::{BINARY, checked, file, is_command, path, run};
use crate::support::yaml;

/// The user that the image, the compose file, the manifests and `rootfs` name.
const USER: u32 = 10_001;

fn texts(list: &Value) -> BTreeSet<&str> {
    list.as_array().unwrap_or_else(|| panic!("{list}")).iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn the_image_runs_without_rights_and_checks_its_own_health() {
    let dockerfile = file("Dockerfile");
    let instruction = |name: &str| {
        let found = dockerfile.lines().rfind(|line| line.starts_with(name));
        found.unwrap_or_else(|| panic!("there is no {name}")).to_owned()
    };
    assert_eq!(instruction("USER"), format!("USER {USER}:{USER}"));
    assert_eq!(instruction("FROM"), "FROM scratch", "no shell");
    assert_eq!(instruction("STOPSIGNAL"), "STOPSIGNAL SIGTERM");
    let health = instruction("HEALTHCHECK");
    let command: Vec<String> = serde_json::from_str(&health[health.find('[').unwrap()..]).unwrap();
    assert!(is_command(&[&command[1]]) && is_command(&["serve"]), "{command:?}");
    let ignored = file(".dockerignore");
    assert!(ignored.lines().any(|line| line == "**/target") && ignored.contains("deploy/compose/secrets"));
}

/// What the last stage of the image contains is enough to run: the program is started in it. Only root may change the root
/// folder of a process; for anyone else there is nothing to check.
#[test]
fn the_root_file_system_of_the_image_is_complete() {
    if run("id", &["-u"]).trim() != "0" {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root").display().to_string();
    run(&path("deploy/container/rootfs").display().to_string(), &[BINARY, &root]);
    let inside = |arguments: &[&str]| {
        let user = format!("--userspec={USER}:{USER}");
        run("chroot", &[&[user.as_str(), &root, "/usr/bin/token-broker"], arguments].concat())
    };
    assert!(inside(&["--version"]).starts_with("token-broker "));
    // Loads the certificates of the system.
    let refused = Command::new("chroot")
        .args([&root, "/usr/bin/token-broker", "health", "--url", "https://127.0.0.1:9/"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("Connection refused"), "{said}");
    for missing in ["bin/sh", "usr/bin/sh", "usr/bin/env"] {
        assert!(!Path::new(&root).join(missing).exists(), "{missing}");
    }
}

#[test]
fn the_compose_file_fits_its_configuration_and_its_secrets() {
    let compose = &yaml::documents(&file("deploy/compose/compose.yaml"))[0];
    let settings = checked("deploy/compose/token-broker.toml", "/run/secrets");
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        for secret in service.get("secrets").map(texts).unwrap_or_default() {
            assert!(compose["secrets"][secret]["file"].is_string(), "{name}: {secret}");
        }
        for network in texts(&service["networks"]) {
            assert!(compose["networks"].get(network).is_some(), "{name}: {network}");
        }
        for other in service["depends_on"].as_object().into_iter().flat_map(|others| others.keys()) {
            assert!(services.contains_key(other), "{name}: {other}");
        }
    }
    for name in ["broker", "migrate"] {
        let service = &services[name];
        assert_eq!(service["user"], format!("{USER}:{USER}"), "{name}");
        assert_eq!((&service["read_only"], &service["cap_drop"][0]), (&true.into(), &"ALL".into()), "{name}");
    }
    assert!(is_command(&[services["migrate"]["command"][0].as_str().unwrap()]));
    assert_eq!(compose["networks"]["back"]["internal"], true);
    let subnet = &compose["networks"]["front"]["ipam"]["config"][0]["subnet"];
    assert_eq!(settings["server"]["trusted_proxies"][0].as_str(), subnet.as_str());
    let text = file("deploy/compose/token-broker.toml");
    let named = Regex::new(r"/run/secrets/([\w.]+)").unwrap();
    for secret in named.captures_iter(&text) {
        assert!(texts(&services["broker"]["secrets"]).contains(&secret[1]), "{}", &secret[1]);
    }
    let port = settings["server"]["listen"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    assert!(file("deploy/compose/Caddyfile").contains(&format!("reverse_proxy broker:{port} ")));
}

#[test]
fn the_secrets_of_the_compose_file_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("prepare");
    std::fs::copy(path("deploy/compose/prepare"), &script).unwrap();
    let owner = [run("id", &["-u"]), run("id", &["-g"])].map(|id| id.trim().to_owned()).join(":");
    let prepare = || {
        Command::new(&script)
            .env("TOKEN_BROKER", BINARY)
            .env("OWNER", &owner)
            .env("SECRETS_FOLDER", "secrets")
            .output()
            .unwrap()
    };
    let first = prepare();
    assert!(!first.status.success(), "the client secret is missing");
    assert!(String::from_utf8_lossy(&first.stderr).contains("secrets/corp"), "{first:?}");
    std::fs::write(folder.path().join("secrets/corp"), "secret").unwrap();
    let second = prepare();
    assert!(second.status.success(), "{second:?}");
    let secret = |name: &str| std::fs::read_to_string(folder.path().join("secrets").join(name)).unwrap();
    let password = secret("postgres_password");
    assert_eq!(password.len(), 32);
    assert!(secret("database_url").contains(&format!(":{password}@postgres/")));
    assert_eq!(secret("key_store_url"), format!("redis://:{}@redis", secret("redis_password")));
    let before = ["postgres_password", "server_keys.toml", "key_store_url"].map(secret);
    assert!(prepare().status.success());
    assert_eq!(["postgres_password", "server_keys.toml", "key_store_url"].map(secret), before);
    let compose = file("deploy/compose/compose.yaml");
    let named = Regex::new(r"file: secrets/([\w.]+)").unwrap();
    for name in named.captures_iter(&compose) {
        assert!(folder.path().join("secrets").join(&name[1]).exists(), "{}", &name[1]);
    }
}

/// The manifests by kind.
fn manifests() -> Vec<Value> {
    let folder = "deploy/kubernetes";
    let kustomization = &yaml::documents(&file(&format!("{folder}/kustomization.yaml")))[0];
    let listed = texts(&kustomization["resources"]);
    let found: Vec<String> = std::fs::read_dir(path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml") && name != "kustomization.yaml")
        .collect();
    assert_eq!(listed, found.iter().map(String::as_str).collect(), "kustomization.yaml lists every manifest");
    let generated = &kustomization["configMapGenerator"][0];
    assert_eq!(
        (&generated["name"], &generated["files"][0]),
        (&"token-broker".into(), &"token-broker.toml".into())
    );
    found.iter().flat_map(|name| yaml::documents(&file(&format!("{folder}/{name}")))).collect()
}

fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    manifests.iter().find(|manifest| manifest["kind"] == kind).unwrap_or_else(|| panic!("there is no {kind}"))
}

fn port_of(address: &toml::Value) -> u64 {
    address.as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn the_manifests_fit_the_configuration_and_each_other() {
    let manifests = manifests();
    let settings = checked("deploy/kubernetes/token-broker.toml", "/run/secrets/token-broker");
    let server = &settings["server"];
    let deployment = &of_kind(&manifests, "Deployment")["spec"];
    let pod = &deployment["template"]["spec"];
    let container = &pod["containers"][0];
    let labels = &deployment["template"]["metadata"]["labels"];
    for selector in [
        &deployment["selector"]["matchLabels"],
        &of_kind(&manifests, "Service")["spec"]["selector"],
        &of_kind(&manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64().unwrap()
    };
    assert_eq!((port("http"), port("admin")), (port_of(&server["listen"]), port_of(&server["admin_listen"])));
    assert_eq!(of_kind(&manifests, "Service")["spec"]["ports"][0]["targetPort"], "http");
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        let get = &container[probe]["httpGet"];
        assert_eq!((&get["path"], &get["port"]), (&path.into(), &"http".into()), "{probe}");
    }
    // Draining is seen by the probe, and the whole stop fits into the grace period.
    let seconds = |key: &str| u64::try_from(server[key].as_integer().unwrap()).unwrap();
    let probe = &container["readinessProbe"];
    let noticed = probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
    assert!(noticed < seconds("drain_seconds"));
    let stop = seconds("drain_seconds") + seconds("shutdown_timeout_seconds") + 5;
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= stop);
    let egress = of_kind(&manifests, "NetworkPolicy")["spec"]["egress"].to_string();
    for port in [53, 5432, 6379, 443] {
        assert!(
            egress.contains(&format!("\"port\": {port}")) || egress.contains(&format!("\"port\":{port}")),
            "{egress}"
        );
    }
}

#[test]
fn the_pods_have_no_rights_and_their_secrets() {
    let manifests = manifests();
    let config = file("deploy/kubernetes/token-broker.toml");
    for kind in ["Deployment", "Job"] {
        let template = &of_kind(&manifests, kind)["spec"]["template"];
        let pod = &template["spec"];
        let security = &pod["securityContext"];
        assert_eq!(
            (&security["runAsNonRoot"], &security["runAsUser"]),
            (&true.into(), &USER.into()),
            "{kind}"
        );
        assert_eq!(security["fsGroup"], USER, "{kind}: the secrets are readable by this group");
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{kind}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{kind}");
        let container = &pod["containers"][0];
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false, "{kind}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{kind}");
        assert_eq!(security["capabilities"]["drop"][0], "ALL", "{kind}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{kind}");
        assert!(is_command(&[container["args"][0].as_str().unwrap()]), "{kind}");
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volumes = pod["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]);
            assert!(
                volume.is_some_and(|volume| volume["configMap"]["name"] == "token-broker"
                    || volume["secret"]["secretName"] == "token-broker"),
                "{kind}: {mount}"
            );
            let place = mount["mountPath"].as_str().unwrap();
            // The default of TOKEN_BROKER_CONFIG in the image, and what the configuration names.
            assert!(
                place == "/etc/token-broker" || config.contains(&format!("\"{place}/")),
                "{kind}: {place}"
            );
        }
    }
}
