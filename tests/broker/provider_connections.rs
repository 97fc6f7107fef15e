//! A provider, or a load balancer before it, that closes kept connections without notice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use token_broker::config::Config;
use token_broker::provider::settings::KindSettings;
use url::Url;

use crate::support::broker::{Setup, TestBroker};
use crate::support::outage::report;

/// Passes each connection's requests on to a server. After some answers it closes the connection without a word: at once,
/// or a moment later, when the next request may be on its way.
struct ImpatientFront {
    port: u16,
    closed: Arc<AtomicUsize>,
}

impl ImpatientFront {
    fn of(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let closed = Arc::new(AtomicUsize::new(0));
        let count = closed.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, count) = (client.unwrap(), count.clone());
                std::thread::spawn(move || serve(client, server, &count));
            }
        });
        Self { port, closed }
    }
}

fn serve(mut client: TcpStream, server: u16, closed: &AtomicUsize) {
    let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
    loop {
        let Some(request) = message(&mut client) else { return };
        server.write_all(&request).unwrap();
        let Some(response) = message(&mut server) else { return };
        if client.write_all(&response).is_err() {
            return;
        }
        let number = closed.fetch_add(1, Ordering::Relaxed);
        if number % 3 != 2 {
            std::thread::sleep(Duration::from_micros(400 * (number as u64 % 4)));
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// One request or response with its body.
fn message(from: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut message, mut bytes) = (Vec::new(), [0; 16_384]);
    loop {
        let read = from.read(&mut bytes).ok().filter(|read| *read > 0)?;
        message.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&message).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        if message.len() >= head.len() + 4 + length {
            return Some(message);
        }
    }
}

#[actix_web::test]
async fn every_login_succeeds_at_a_provider_that_closes_its_connections() {
    let front = Arc::new(std::sync::OnceLock::new());
    let of_setup = front.clone();
    let setup = Setup::default().adjust(move |config: &mut Config| {
        let plain = config.providers.iter_mut().find_map(|provider| match &mut provider.kind {
            KindSettings::OAuth2(plain) => Some(plain),
            KindSettings::Oidc(_) => None,
        });
        let plain = plain.unwrap();
        let server = plain.token_url.port().unwrap();
        let front = of_setup.get_or_init(|| ImpatientFront::of(server));
        let redirect = |url: &mut Url| url.set_port(Some(front.port)).unwrap();
        redirect(&mut plain.token_url);
        plain.profile.iter_mut().for_each(|document| redirect(&mut document.url));
    });
    let broker = TestBroker::with(setup);
    for _ in 0..150 {
        broker.sign_in(&broker.browser(), "ops", "alice").await;
    }
    let answers = front.get().unwrap().closed.load(Ordering::Relaxed);
    report(&format!("{answers} answers of the provider for 150 logins"));
    assert!(answers >= 450, "{answers}");
}
