//! Adds TLS in front of a plain server, like a reverse proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::certificates::Certificates;

/// Listens on a free loopback port, as long as the runtime of the test exists; returns the port.
pub async fn start(certificates: &Certificates, target: SocketAddr) -> u16 {
    super::install_tls_provider();
    let chain = vec![CertificateDer::from_pem_file(&certificates.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&certificates.key).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((inbound, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // If one side closes the connection, the other side is closed as well.
                if let Ok(mut inbound) = acceptor.accept(inbound).await
                    && let Ok(mut outbound) = TcpStream::connect(target).await
                {
                    let _ = copy_bidirectional(&mut inbound, &mut outbound).await;
                }
            });
        }
    });
    port
}
