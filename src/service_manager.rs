//! systemd, or another service manager that speaks its protocols: sockets that it has bound already
//! (`sd_listen_fds(3)`), and reports about this service (`sd_notify(3)`). Without a service manager, nothing happens.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// The sockets of the listeners: passed by the service manager, or bound here.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    passed: Vec<TcpListener>,
}

impl Sockets {
    /// Takes over the sockets that the service manager has passed to this process. Connections that arrive while the
    /// broker restarts wait in them instead of being refused.
    #[cfg(unix)]
    pub(crate) fn from_service_manager() -> Self {
        let mut given = listenfd::ListenFd::from_env();
        let mut passed = Vec::new();
        for index in 0..given.len() {
            match given.take_tcp_listener(index) {
                Ok(socket) => passed.extend(socket),
                Err(error) => {
                    tracing::warn!(%error, "a passed socket is not used: it does not listen for TCP")
                }
            }
        }
        Self { passed }
    }

    /// There are no such sockets on this system.
    #[cfg(not(unix))]
    pub(crate) fn from_service_manager() -> Self {
        Self::default()
    }

    /// The passed socket that listens on this address, or else a new one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(crate) fn listen(&mut self, address: SocketAddr) -> io::Result<TcpListener> {
        let is_at = |socket: &TcpListener| socket.local_addr().is_ok_and(|bound| bound == address);
        match self.passed.iter().position(is_at) {
            Some(index) => Ok(self.passed.swap_remove(index)),
            None => TcpListener::bind(address),
        }
    }

    /// Closes passed sockets that no listener has taken, and says so: their addresses are not those of the configuration.
    pub(crate) fn close_unused(self) {
        for address in self.passed.iter().filter_map(|socket| socket.local_addr().ok()) {
            tracing::warn!(%address, "a passed socket is not used: neither server.listen nor server.admin_listen is its address");
        }
    }
}

/// Reports that the service has started: it accepts connections.
pub(crate) fn report_ready() {
    #[cfg(unix)]
    report(sd_notify::NotifyState::Ready);
}

/// Reports that the service stops.
pub(crate) fn report_stopping() {
    #[cfg(unix)]
    report(sd_notify::NotifyState::Stopping);
}

#[cfg(unix)]
fn report(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told about the state of this service");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_socket_is_used_for_its_address_only() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut sockets = Sockets { passed: vec![socket] };
        let other = sockets.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(other.local_addr().unwrap(), address);
        assert_eq!(sockets.passed.len(), 1);
        // Bound already: a second socket on this address would be refused.
        assert_eq!(sockets.listen(address).unwrap().local_addr().unwrap(), address);
        assert!(sockets.passed.is_empty());
        sockets.close_unused();
    }
}
