//! The network of an address: what is kept of where someone signed in.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The network of an address: /24 of IPv4, /48 of IPv6. Enough to recognise a place, too little to name a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressPrefix(IpNet);

/// The text is not the network of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a /24 network of IPv4 or a /48 network of IPv6")]
pub struct InvalidAddressPrefix;

const IPV4: u8 = 24;
const IPV6: u8 = 48;

impl From<IpAddr> for AddressPrefix {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => Ipv4Net::new_assert(address, IPV4).trunc().into(),
            IpAddr::V6(address) => Ipv6Net::new_assert(address, IPV6).trunc().into(),
        })
    }
}

impl FromStr for AddressPrefix {
    type Err = InvalidAddressPrefix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network: IpNet = text.parse().map_err(|_| InvalidAddressPrefix)?;
        let length = if network.addr().is_ipv4() { IPV4 } else { IPV6 };
        let valid = network.prefix_len() == length && network.trunc() == network;
        if valid { Ok(Self(network)) } else { Err(InvalidAddressPrefix) }
    }
}

impl fmt::Display for AddressPrefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept_as_networks_only() {
        for (address, network) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ] {
            let prefix = AddressPrefix::from(address.parse::<IpAddr>().unwrap());
            assert_eq!(prefix.to_string(), network);
            assert_eq!(network.parse::<AddressPrefix>(), Ok(prefix));
        }
        for bad in ["", "192.0.2.77", "192.0.2.77/24", "192.0.2.0/25", "2001:db8::/32"] {
            assert_eq!(bad.parse::<AddressPrefix>(), Err(InvalidAddressPrefix), "{bad}");
        }
    }
}
