//! Real gateways with the examples of `deploy/`, in which only addresses and ports are replaced.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::process::{ServerProcess, free_port};
use super::wait::until;

/// A program that can be in front of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
    Haproxy,
}

/// A running gateway.
pub struct Gateway {
    process: ServerProcess,
    pub url: String,
    pub kind: Kind,
}

impl Gateway {
    /// Starts it between its visitors and an API; it asks the broker with this address.
    pub async fn start(kind: Kind, broker: &str, api: SocketAddr) -> Self {
        let folder = tempfile::Builder::new().prefix("token-broker-gateway-").tempdir().unwrap().keep();
        let port = free_port();
        let example = |name: &str| {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
            let text = std::fs::read_to_string(&file).unwrap();
            let replaced = text
                .replace("127.0.0.1:8080", broker.trim_start_matches("http://"))
                .replace("127.0.0.1:9000", &api.to_string())
                .replace("/etc/haproxy", &folder.display().to_string())
                .replace("8000", &port.to_string());
            assert_ne!(replaced, text, "{name} has no address to replace");
            let file = folder.join(file.file_name().unwrap());
            std::fs::write(&file, replaced).unwrap();
            file.display().to_string()
        };
        let (name, arguments) = match kind {
            Kind::Nginx => ("nginx", nginx(&folder, &example("nginx/token-broker.conf"))),
            Kind::Caddy => ("caddy", caddy(&folder, &example("caddy/Caddyfile"))),
            Kind::Haproxy => {
                // Only the configuration has addresses.
                let lua = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy/token-broker.lua");
                std::fs::copy(lua, folder.join("token-broker.lua")).unwrap();
                ("haproxy", vec!["-db".to_owned(), "-f".to_owned(), example("haproxy/haproxy.cfg")])
            }
        };
        let process = ServerProcess::start(&folder, &program(name), &arguments);
        let gateway = Self { process, url: format!("http://127.0.0.1:{port}"), kind };
        until(async || match std::net::TcpStream::connect(("127.0.0.1", port)) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}: {}", gateway.log())),
        })
        .await;
        gateway
    }

    /// What it has written, for the message of a failing test.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// The example is included, as its first line says, by the smallest configuration.
fn nginx(folder: &Path, example: &str) -> Vec<String> {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|part| format!("  {part}_temp_path {folder}/{part};\n"))
        .concat();
    let main = format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\n\
         http {{\n  access_log off;\n{temporary}  include {example};\n}}\n"
    );
    let file = format!("{folder}/nginx.conf");
    std::fs::write(&file, main).unwrap();
    ["-c", &file, "-p", &folder.to_string(), "-e", "stderr"].map(str::to_owned).to_vec()
}

fn caddy(folder: &Path, example: &str) -> Vec<String> {
    // Without its own administration address and without certificates of its own.
    let text = std::fs::read_to_string(example).unwrap();
    std::fs::write(
        example,
        format!("{{\n\tadmin off\n\tauto_https off\n\tstorage file_system {}\n}}\n{text}", folder.display()),
    )
    .unwrap();
    ["run", "--adapter", "caddyfile", "--config", example].map(str::to_owned).to_vec()
}

/// A program on the path, or where Debian keeps those of administrators.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: install the Debian package of that name"))
}
