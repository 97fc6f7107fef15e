//! The systemd units, and the program under a service manager.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{BINARY, file, run};
use crate::support::browser::Browser;
use crate::support::process::{ServerProcess, free_port};
use crate::support::production::Production;
use crate::support::program::Program;
use crate::support::wait::until;

/// The units with the program of this test, in a folder.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["token-broker.service", "token-broker.socket"] {
        let text = file(&format!("deploy/systemd/{name}")).replace("/usr/bin/token-broker", BINARY);
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let drop_in = folder.path().join("token-broker.service.d");
    std::fs::create_dir(&drop_in).unwrap();
    let credentials = file("deploy/systemd/token-broker.service.d/credentials.conf");
    std::fs::write(drop_in.join("credentials.conf"), credentials).unwrap();
    folder
}

#[test]
fn systemd_accepts_the_units_and_finds_them_hardened() {
    let folder = units();
    let unit = |name: &str| folder.path().join(name).display().to_string();
    let (service, socket) = (unit("token-broker.service"), unit("token-broker.socket"));
    let said = run("systemd-analyze", &["verify", "--man=no", &service, &socket]);
    // It warns about settings that it does not know, and still succeeds.
    assert!(!said.contains("token-broker"), "{said}");
    // 10 is an ordinary service, 0 one that can do nothing.
    run("systemd-analyze", &["security", "--offline=true", "--threshold=15", &service]);
}

async fn production() -> Production {
    let new = Production::new("sqlite:broker.sqlite", "memory:", "https://provider.invalid").await;
    let config = new.config();
    new.write(
        &config.replace("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:8080\"\ndrain_seconds = 0"),
    );
    new
}

#[actix_web::test]
async fn the_service_manager_is_told_about_start_and_stop() {
    let production = production().await;
    let path = production.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let heard = || {
        let mut text = [0; 256];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).trim().to_owned()
    };
    let listen = format!("127.0.0.1:{}", free_port());
    let program = Program::start(
        production.folder(),
        "serve",
        &["serve", "--config", "token-broker.toml"],
        &[
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("TOKEN_BROKER__SERVER__LISTEN", &listen),
            ("TOKEN_BROKER__SERVER__ADMIN_LISTEN", &format!("127.0.0.1:{}", free_port())),
        ],
    );
    assert_eq!(heard(), "READY=1", "{}", program.said());
    assert_eq!(Browser::new().get(&format!("http://{listen}/healthz"), &[]).await.status, 200);
    program.signal("TERM");
    assert_eq!(heard(), "STOPPING=1");
    assert_eq!(program.end().await.code, Some(0));
}

/// The connection is made before the program runs: the service manager has the socket.
#[actix_web::test]
async fn a_socket_of_the_service_manager_is_used() {
    let production = production().await;
    let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let environment = [
        format!("--setenv=TOKEN_BROKER__SERVER__LISTEN={listen}"),
        format!("--setenv=TOKEN_BROKER__SERVER__ADMIN_LISTEN={admin}"),
    ];
    let folder = tempfile::Builder::new().prefix("token-broker-socket-").tempdir().unwrap().keep();
    let config = production.folder().join("token-broker.toml").display().to_string();
    let mut arguments = vec!["--listen".to_owned(), listen.clone()];
    arguments.extend(environment);
    arguments.extend([BINARY, "serve", "--config", &config].map(str::to_owned));
    let activate = std::path::Path::new("/usr/bin/systemd-socket-activate");
    let server = ServerProcess::start_until("TERM", &folder, activate, &arguments);
    let browser = Browser::new();
    until(async || {
        // Nothing listens before systemd-socket-activate does; from then on, nothing is refused.
        std::net::TcpStream::connect(&listen).map(drop).map_err(|error| format!("{error}: {}", server.log()))
    })
    .await;
    assert_eq!(browser.get(&format!("http://{listen}/healthz"), &[]).await.status, 200, "{}", server.log());
    assert!(!server.log().contains("is not used"), "{}", server.log());
}

#[actix_web::test]
async fn health_and_status_look_at_a_running_instance() {
    let production = production().await;
    let mut instance = production.serve("serve");
    instance.listens().await;
    let ask = |arguments: &[&str]| {
        let ended = Command::new(BINARY).args(arguments).env_clear().stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
    };
    let (code, out, err) = ask(&["health", "--url", &format!("{}/healthz", instance.url)]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let (code, _, err) = ask(&["health", "--url", &format!("{}/nothing", instance.url)]);
    assert_eq!(code, 1);
    assert!(err.contains("404"), "{err}");

    // A plain OAuth 2 provider has nothing to fetch, so everything works as soon as the tables are there.
    let (code, out, err) = until(async || {
        let seen = ask(&["status", "--url", &instance.admin_url]);
        if seen.0 == 0 { Ok(seen) } else { Err(seen) }
    })
    .await;
    assert_eq!((code, err.as_str()), (0, ""));
    for line in ["PART", "database", "provider corp", "users can sign in", "known server keys"] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let (_, json, _) = ask(&["status", "--json", "--url", &instance.admin_url]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["ready"], &json["server_keys"]["issuing"]), (&true.into(), &1.into()));

    // The public listener says less.
    let (code, _, err) = ask(&["status", "--url", &instance.url]);
    assert_eq!(code, 1);
    assert!(err.contains("admin listener"), "{err}");

    std::fs::write(production.folder().join("server_keys.toml"), "broken").unwrap();
    let (code, out, err) = until(async || {
        let seen = ask(&["status", "--url", &instance.admin_url]);
        if seen.0 == 1 { Ok(seen) } else { Err(seen) }
    })
    .await;
    assert_eq!(code, 1);
    assert!(out.contains("fails") && err.contains("not everything works: server keys"), "{out}{err}");
}
