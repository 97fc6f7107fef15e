//! A connection between the broker and a server that can go silent without being closed, as behind a firewall that
//! forgets it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A proxy. Connections that were open when [`Self::silence`] was called carry nothing any more; new ones work.
pub struct SilentLink {
    port: u16,
    /// How often it was silenced; [`OVER`] when it is dropped.
    generation: Arc<AtomicUsize>,
}

/// Every connection is closed.
const OVER: usize = usize::MAX;

impl SilentLink {
    /// A proxy in front of a server on this port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let generation = Arc::new(AtomicUsize::new(0));
        let current = generation.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let client = connection.unwrap();
                let server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)));
                let Ok(server) = server else { continue };
                let own = current.load(Ordering::SeqCst);
                let both = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (from, to) in both {
                    let (from, to, current) = (from.unwrap(), to.unwrap(), current.clone());
                    thread::spawn(move || pass(from, to, own, &current));
                }
            }
        });
        Self { port: own_port, generation }
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Silences every open connection for ever.
    pub fn silence(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for SilentLink {
    fn drop(&mut self) {
        self.generation.store(OVER, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, own: usize, current: &AtomicUsize) {
    let mut bytes = [0; 16_384];
    from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    loop {
        let read = from.read(&mut bytes);
        // Neither end learns anything while it is silent.
        while ![own, OVER].contains(&current.load(Ordering::SeqCst)) {
            thread::sleep(Duration::from_millis(20));
        }
        let read = match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock && current.load(Ordering::SeqCst) == own => {
                continue;
            }
            read => read.ok().filter(|_| current.load(Ordering::SeqCst) == own).unwrap_or(0),
        };
        if read == 0 || to.write_all(&bytes[..read]).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}
