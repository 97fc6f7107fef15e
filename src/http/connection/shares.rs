//! How many connections each address has open. One address gets a share of them only, so that it cannot take all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::domain::metric;
use crate::state::limits::network;

/// The open connections of a listener, by address. An IPv6 /64 counts as one.
#[derive(Debug)]
pub struct Shares {
    limit: usize,
    /// Proxies, whose connections are those of many users.
    exempt: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One open connection. It no longer counts when this is dropped.
#[derive(Debug)]
pub struct Share(Option<(Arc<Shares>, IpAddr)>);

impl Shares {
    /// At most `limit` connections for each address that is not exempt.
    pub fn new(limit: usize, exempt: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { limit, exempt, open: Mutex::default() })
    }

    /// Counts a new connection; `None` if its address has too many.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let address = address.to_canonical();
        if self.exempt.iter().any(|proxies| proxies.contains(&address)) {
            return Some(Share(None));
        }
        let address = network(address);
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if *count >= self.limit {
            metrics::counter!(metric::CONNECTIONS_REFUSED.name).increment(1);
            return None;
        }
        *count += 1;
        Some(Share(Some((Arc::clone(self), address))))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((shares, address)) = self.0.take() else { return };
        let mut open = shares.open();
        match open.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_share() {
        let shares = Shares::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let take = |text| shares.take(address(text));
        let (one, two) = (take("192.0.2.1"), take("::ffff:192.0.2.1"));
        assert!(one.is_some() && two.is_some() && take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
        let networks = [take("2001:db8::1"), take("2001:db8::2"), take("2001:db8::3")];
        assert_eq!(networks.iter().flatten().count(), 2, "an IPv6 /64 counts as one");
        let proxy: Vec<_> = (0..9).map(|_| take("10.1.2.3")).collect();
        assert!(proxy.iter().all(Option::is_some), "a proxy has no share");
        drop(one);
        assert!(take("192.0.2.1").is_some());
        drop((two, networks, proxy));
        assert!(shares.open().is_empty(), "nothing is remembered of closed connections");
    }
}
