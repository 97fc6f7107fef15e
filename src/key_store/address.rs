//! Parses the URL of a key store: the kind of store, its servers and the credentials for them.
//!
//! The errors never repeat the URL: any part of a mistyped one can be a piece of the password.

use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates};
#[cfg(feature = "redis-sentinel")]
use secrecy::ExposeSecret;
use secrecy::SecretString;
use url::{Url, form_urlencoded};

use super::KeyStoreSettingsError;

/// The kind of store, and its servers.
#[derive(Clone)]
pub(super) enum Address {
    /// In the memory of this process.
    Memory,
    /// On Redis servers.
    Redis(Box<RedisAddress>),
}

/// The Redis servers that a URL names.
#[derive(Clone)]
pub(super) struct RedisAddress {
    /// How the servers work together.
    pub topology: Topology,
    /// The servers with the credentials for the ones that hold data; never empty.
    pub servers: Vec<ConnectionInfo>,
    /// Certificates to use instead of the system's.
    pub certificates: Option<TlsCertificates>,
    /// The URL without credentials and parameters, for logs.
    pub description: String,
}

/// How the Redis servers of a URL work together.
#[derive(Clone)]
pub(super) enum Topology {
    /// One server.
    Single,
    /// Sentinels that know which server leads.
    #[cfg(feature = "redis-sentinel")]
    Sentinel(Sentinels),
    /// Servers that share the keys among themselves.
    #[cfg(feature = "redis-cluster")]
    Cluster,
}

/// The service that the sentinels watch, and the credentials for the sentinels.
#[cfg(feature = "redis-sentinel")]
#[derive(Clone)]
pub(super) struct Sentinels {
    /// The name of the service.
    pub service: String,
    /// The user to present to them.
    pub user: Option<String>,
    /// The password to present to them.
    pub password: Option<SecretString>,
}

impl Address {
    /// Parses a URL. Connects to nothing, but reads the certificate files that the URL names.
    ///
    /// # Errors
    /// The URL is malformed, or a file that it names is not usable.
    pub fn parse(url: &str) -> Result<Self, KeyStoreSettingsError> {
        if url.eq_ignore_ascii_case("memory:") {
            return Ok(Self::Memory);
        }
        let (scheme, rest) = url.split_once("://").ok_or(KeyStoreSettingsError::UnknownScheme)?;
        let scheme = scheme.to_ascii_lowercase();
        let (transport, kind) = scheme.split_once('+').unwrap_or((&scheme, ""));
        if !matches!((transport, kind), ("redis" | "rediss", "" | "sentinel" | "cluster")) {
            return Err(KeyStoreSettingsError::UnknownScheme);
        }
        let parts = Parts::of(rest)?;
        let mut parameters = Parameters::read(parts.query)?;
        let (topology, database) = match kind {
            #[cfg(feature = "redis-sentinel")]
            "sentinel" => parameters.sentinel(parts.path)?,
            #[cfg(not(feature = "redis-sentinel"))]
            "sentinel" => return Err(KeyStoreSettingsError::NotCompiledIn("redis-sentinel")),
            #[cfg(feature = "redis-cluster")]
            "cluster" if !parts.path.is_empty() => {
                return Err(malformed("a cluster has no numbered databases"));
            }
            #[cfg(feature = "redis-cluster")]
            "cluster" => (Topology::Cluster, 0),
            #[cfg(not(feature = "redis-cluster"))]
            "cluster" => return Err(KeyStoreSettingsError::NotCompiledIn("redis-cluster")),
            _ => (Topology::Single, database(parts.path)?),
        };
        let default_port = if kind == "sentinel" { 26379 } else { 6379 };
        let servers = parts
            .hosts
            .split(',')
            .map(|host| server(transport, parts.credentials, host, default_port, database))
            .collect::<Result<Vec<_>, _>>()?;
        if matches!(topology, Topology::Single) && servers.len() > 1 {
            return Err(malformed("several servers need redis+sentinel:// or redis+cluster://"));
        }
        let description = describe(&scheme, &servers, parts.path);
        let certificates = parameters.certificates(transport == "rediss")?;
        parameters.refuse_unused()?;
        Ok(Self::Redis(Box::new(RedisAddress { topology, servers, certificates, description })))
    }
}

impl RedisAddress {
    /// Every password of the URL, so that it can be kept out of error texts.
    pub fn passwords(&self) -> Vec<SecretString> {
        let data = self.servers.iter().filter_map(|server| server.redis_settings().password());
        data.chain(self.sentinel_password())
            .filter(|password| !password.is_empty())
            .map(SecretString::from)
            .collect()
    }

    fn sentinel_password(&self) -> Option<&str> {
        match &self.topology {
            #[cfg(feature = "redis-sentinel")]
            Topology::Sentinel(sentinels) => sentinels.password.as_ref().map(ExposeSecret::expose_secret),
            _ => None,
        }
    }
}

/// The parts of a URL behind `://`. The `url` crate supports one host only, so they are split here first.
struct Parts<'a> {
    credentials: &'a str,
    hosts: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Result<Self, KeyStoreSettingsError> {
        if rest.contains('#') {
            return Err(malformed("it has a fragment; in a password write # as %23"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        Ok(Self { credentials, hosts, path, query })
    }
}

/// The query parameters; each is removed when it is used, so that unknown ones remain.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(query: &str) -> Result<Self, KeyStoreSettingsError> {
        // Form encoding reads a plus sign as a space; in these parameters it stands for itself.
        let query = query.replace('+', "%2B");
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let repeated = (1..pairs.len()).any(|i| pairs[..i].iter().any(|earlier| earlier.0 == pairs[i].0));
        if repeated { Err(malformed("a parameter appears twice")) } else { Ok(Self(pairs)) }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Reads `service[/database]` and the credentials for the sentinels.
    #[cfg(feature = "redis-sentinel")]
    fn sentinel(&mut self, path: &str) -> Result<(Topology, i64), KeyStoreSettingsError> {
        let (service, number) = path.split_once('/').unwrap_or((path, ""));
        if service.is_empty() {
            return Err(malformed("the name of the service is missing: redis+sentinel://host/service"));
        }
        let sentinels = Sentinels {
            service: service.to_owned(),
            user: self.take("sentinel_user"),
            password: self.take("sentinel_password").map(SecretString::from),
        };
        Ok((Topology::Sentinel(sentinels), database(number)?))
    }

    /// Reads the files that `ca_file`, `cert_file` and `key_file` name.
    fn certificates(&mut self, tls: bool) -> Result<Option<TlsCertificates>, KeyStoreSettingsError> {
        let mut read = |parameter: &'static str| {
            let path = self.take(parameter);
            path.map(std::fs::read)
                .transpose()
                .map_err(|cause| KeyStoreSettingsError::File { parameter, cause })
        };
        let (ca, certificate, key) = (read("ca_file")?, read("cert_file")?, read("key_file")?);
        if ca.is_none() && certificate.is_none() && key.is_none() {
            return Ok(None);
        }
        if !tls {
            return Err(malformed("certificate files need rediss://"));
        }
        let client_tls = match (certificate, key) {
            (Some(client_cert), Some(client_key)) => Some(redis::ClientTlsConfig { client_cert, client_key }),
            (None, None) => None,
            _ => return Err(malformed("cert_file and key_file must be set together")),
        };
        let certificates = TlsCertificates { client_tls, root_cert: ca };
        // A client is built to parse the certificates; it connects to nothing.
        redis::Client::build_with_tls("rediss://localhost", certificates.clone())
            .map_err(|_| KeyStoreSettingsError::Certificates)?;
        Ok(Some(certificates))
    }

    fn refuse_unused(self) -> Result<(), KeyStoreSettingsError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(malformed(
            "it has an unknown parameter; known are ca_file, cert_file and key_file with rediss, sentinel_user and \
             sentinel_password with +sentinel; in a password write ? as %3F",
        ))
    }
}

/// One server, parsed by the `redis` crate as a URL of its own.
fn server(
    transport: &str,
    credentials: &str,
    host: &str,
    default_port: u16,
    database: i64,
) -> Result<ConnectionInfo, KeyStoreSettingsError> {
    const HELP: &str = "a server is host or host:port; in a password write / as %2F and @ as %40";
    let at = if credentials.is_empty() { "" } else { "@" };
    let mut url =
        Url::parse(&format!("{transport}://{credentials}{at}{host}")).map_err(|_| malformed(HELP))?;
    if url.port().is_none() {
        url.set_port(Some(default_port)).map_err(|()| malformed(HELP))?;
    }
    let server = url.into_connection_info().map_err(|_| malformed(HELP))?;
    // Version 3 of the protocol reports when a connection ends, so that the next command uses a new one.
    let login = server.redis_settings().clone().set_db(database).set_protocol(ProtocolVersion::RESP3);
    Ok(server.set_redis_settings(login))
}

fn database(path: &str) -> Result<i64, KeyStoreSettingsError> {
    if path.is_empty() {
        return Ok(0);
    }
    let number: u16 = path.parse().map_err(|_| malformed("the database behind the host must be a number"))?;
    Ok(i64::from(number))
}

fn describe(scheme: &str, servers: &[ConnectionInfo], path: &str) -> String {
    let hosts: Vec<String> = servers.iter().map(|server| server.addr().to_string()).collect();
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{}{slash}{path}", hosts.join(","))
}

fn malformed(what: &'static str) -> KeyStoreSettingsError {
    KeyStoreSettingsError::Malformed(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(url: &str) -> RedisAddress {
        match Address::parse(url) {
            Ok(Address::Redis(address)) => *address,
            Ok(Address::Memory) => panic!("{url} is memory"),
            Err(error) => panic!("{url} is refused: {error}"),
        }
    }

    fn refusal(url: &str) -> String {
        match Address::parse(url) {
            Ok(_) => panic!("{url} is accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_a_single_server() {
        let address = redis("rediss://broker:p%40ss@redis.internal:6380/3");
        assert!(matches!(address.topology, Topology::Single));
        assert_eq!(address.description, "rediss://redis.internal:6380/3");
        let login = address.servers[0].redis_settings();
        assert_eq!((login.username(), login.password(), login.db()), (Some("broker"), Some("p@ss"), 3));
        assert_eq!(redis("REDIS://[::1]").servers[0].addr().to_string(), "::1:6379");
    }

    #[cfg(feature = "redis-sentinel")]
    #[test]
    fn reads_sentinels_with_their_own_credentials() {
        let address = redis("redis+sentinel://:data@a,b:5000/mymaster/2?sentinel_password=a+b%2Fc");
        let Topology::Sentinel(sentinels) = &address.topology else { panic!("not sentinels") };
        assert_eq!((sentinels.service.as_str(), &sentinels.user), ("mymaster", &None));
        assert_eq!(sentinels.password.as_ref().unwrap().expose_secret(), "a+b/c");
        assert_eq!(address.description, "redis+sentinel://a:26379,b:5000/mymaster/2");
        assert_eq!(address.servers[1].redis_settings().password(), Some("data"));
        assert_eq!(address.servers[1].redis_settings().db(), 2);
    }

    #[cfg(feature = "redis-cluster")]
    #[test]
    fn reads_a_cluster() {
        let address = redis("rediss+cluster://a,b:7000");
        assert!(matches!(address.topology, Topology::Cluster));
        assert_eq!(address.description, "rediss+cluster://a:6379,b:7000");
        assert!(matches!(address.servers[0].addr(), redis::ConnectionAddr::TcpTls { insecure: false, .. }));
    }

    #[cfg(not(all(feature = "redis-sentinel", feature = "redis-cluster")))]
    #[test]
    fn a_topology_that_is_not_compiled_in_is_refused_with_the_command_that_builds_it() {
        for (url, feature, compiled_in) in [
            ("redis+sentinel://a/x", "redis-sentinel", cfg!(feature = "redis-sentinel")),
            ("rediss+cluster://a,b", "redis-cluster", cfg!(feature = "redis-cluster")),
        ] {
            if !compiled_in {
                let text = refusal(url);
                assert!(text.contains(&format!("cargo build --release --features {feature}")), "{text}");
            }
        }
    }

    #[test]
    fn a_refused_url_is_not_repeated() {
        for url in [
            "hunter2",
            "http://user:hunter2@host",
            "redis+magic://:hunter2@host",
            "redis://:hunter2/x@host",
            "redis://:x?hunter2@host",
            "redis://:x#hunter2@host",
            "redis://:hunter2@host/none",
            "redis://:hunter2@a,b",
            "redis://:hunter2@host:port",
            "redis://:hunter2@",
            "redis://:hunter2@host?protocol=resp2",
            "redis://:hunter2@host?ca_file=Cargo.toml",
            "rediss://:hunter2@host?cert_file=Cargo.toml",
            "rediss://:hunter2@host?cert_file=Cargo.toml&key_file=Cargo.toml",
            "rediss://:hunter2@host?ca_file=/nowhere/hunter2",
            "rediss://:hunter2@host#insecure",
            "redis+sentinel://:hunter2@host",
            "redis+sentinel://:hunter2@host/a?sentinel_user=x&sentinel_user=y",
            "redis+cluster://:hunter2@host/1",
        ] {
            let text = refusal(url);
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(refusal("postgres://x").contains("memory:, redis://, rediss://, redis+sentinel://"));
    }
}
