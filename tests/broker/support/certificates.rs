//! A certification authority for one test, and a server certificate from it.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Files in PEM format: the authority's certificate, the server's certificate and its key.
pub struct Certificates {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// Writes certificates for a server with these `names` into `folder`.
    pub fn write(folder: &Path, names: &[&str]) -> Self {
        let mut authority = CertificateParams::new([]).unwrap();
        // OpenSSL treats a certificate whose issuer is its own subject as self-signed.
        authority.distinguished_name.push(DnType::CommonName, format!("authority of {}", folder.display()));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let server = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();

        let write = |name: &str, pem: String| {
            let path = folder.join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        Self {
            ca: write("ca.pem", authority.pem()),
            certificate: write("server.pem", server.pem()),
            key: write("server-key.pem", key.serialize_pem()),
        }
    }
}
