//! Real gateways with the examples of `deploy/`, in which only addresses and ports are replaced.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::process::{ServerProcess, free_port};
use super::wait::until;

/// A program that can be in front of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
    Haproxy,
    Apache,
}

/// Which of its examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// In front of an API: tokens alone.
    Api,
    /// In front of pages: people sign in with their browser.
    Pages,
    /// In front of the broker itself.
    ReverseProxy,
}

impl Example {
    fn of(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Api, Kind::Nginx) => "nginx/token-broker.conf",
            (Self::Api, Kind::Caddy) => "caddy/Caddyfile",
            (Self::Api, Kind::Haproxy) => "haproxy/haproxy.cfg",
            (Self::Api, Kind::Apache) => "apache/token-broker.conf",
            (Self::Pages, Kind::Nginx) => "nginx/token-broker-pages.conf",
            (Self::Pages, Kind::Caddy) => "caddy/Caddyfile.pages",
            (Self::ReverseProxy, Kind::Nginx) => "nginx/reverse-proxy.conf",
            (Self::ReverseProxy, Kind::Caddy) => "caddy/reverse-proxy.Caddyfile",
            (_, Kind::Haproxy | Kind::Apache) => panic!("{kind:?} has no example of {self:?}"),
        }
    }
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
        Self::start_on(free_port(), (kind, Example::Api), broker, api).await
    }

    /// Starts nginx or Caddy in front of the broker itself.
    pub async fn in_front_of(kind: Kind, broker: &str) -> Self {
        let no_api = SocketAddr::from(([127, 0, 0, 1], 9));
        Self::start_on(free_port(), (kind, Example::ReverseProxy), broker, no_api).await
    }

    /// The same with one of its examples, on this port.
    pub async fn start_on(port: u16, (kind, which): (Kind, Example), broker: &str, api: SocketAddr) -> Self {
        let main = which.of(kind);
        let folder = tempfile::Builder::new().prefix("token-broker-gateway-").tempdir().unwrap().keep();
        // Servers that are started as root give up their rights before they read all of their files.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let example = |name: &str| {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
            let text = std::fs::read_to_string(&file)
                .unwrap()
                .replace("127.0.0.1:8080", broker.trim_start_matches("http://"))
                .replace("127.0.0.1:9000", &api.to_string())
                .replace("/var/log/nginx", &folder.display().to_string())
                .replace("/etc/haproxy", &folder.display().to_string())
                .replace("/etc/apache2", &folder.display().to_string())
                .replace("8000", &port.to_string());
            let file = folder.join(file.file_name().unwrap());
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        };
        let (name, arguments) = match kind {
            Kind::Nginx => ("nginx", nginx(&folder, &example(main))),
            Kind::Caddy => ("env", caddy(&folder, &example(main))),
            Kind::Haproxy => {
                example("haproxy/token-broker.lua");
                ("haproxy", vec!["-db".to_owned(), "-f".to_owned(), example(main)])
            }
            Kind::Apache => {
                example("apache/token-broker.lua");
                ("apache2", apache(&folder, &example(main)))
            }
        };
        let process = ServerProcess::start_until("TERM", &folder, &program(name), &arguments);
        let gateway = Self { process, url: format!("http://127.0.0.1:{port}"), kind };
        until(async || match std::net::TcpStream::connect(("127.0.0.1", port)) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}: {}", gateway.log())),
        })
        .await;
        gateway
    }

    /// A file that it writes.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.process.folder().join(name)).unwrap_or_default()
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
    // Without its own administration address, and without certificates.
    let text = std::fs::read_to_string(example).unwrap();
    std::fs::write(example, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{text}")).unwrap();
    let home = ["CONFIG", "DATA"].map(|kind| format!("XDG_{kind}_HOME={}", folder.display()));
    let caddy = program("caddy").display().to_string();
    let run = [&caddy, "run", "--adapter", "caddyfile", "--config", example].map(str::to_owned);
    home.into_iter().chain(run).collect()
}

/// The example is included by a configuration that loads the modules it names.
fn apache(folder: &Path, example: &str) -> Vec<String> {
    let folder = folder.display().to_string();
    let modules: String = ["mpm_event", "authz_core", "lua", "headers", "proxy", "proxy_http"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let main = format!(
        "ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/pid\nServerName localhost\n{modules}\
         User nobody\nGroup nogroup\nErrorLog /dev/stderr\nInclude {example}\n"
    );
    let file = format!("{folder}/httpd.conf");
    std::fs::write(&file, main).unwrap();
    ["-X", "-d", &folder, "-f", &file].map(str::to_owned).to_vec()
}

/// A program on the path, or where Debian keeps those of administrators.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: install the Debian package of that name"))
}
