//! Networks: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::net::IpAddr;

use crate::client_ip::masked;
use crate::config::{ConfigError, quoted};

/// The bits before the IPv4 address in an IPv4-mapped IPv6 address.
const MAPPED_BITS: u8 = 96;

/// A network of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Reads `address/bits` or an address alone. Bits below the prefix are ignored. A network of IPv4-mapped IPv6
    /// addresses (RFC 4291, section 2.5.5.2) is the network of IPv4 addresses.
    ///
    /// # Errors
    /// Where it is neither, or is wider than all IPv4-mapped addresses.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let (address, prefix) = Self::parse(text).ok_or_else(|| {
            ConfigError::new(format!("{} is not a network such as 10.0.0.0/8 or 2001:db8::/32", quoted(text)))
        })?;
        let mapped = match address {
            IpAddr::V6(address) => address.to_ipv4_mapped(),
            IpAddr::V4(_) => None,
        };
        let (address, prefix) = match (mapped, prefix.checked_sub(MAPPED_BITS)) {
            (None, _) => (address, prefix),
            (Some(mapped), Some(prefix)) => (mapped.into(), prefix),
            (Some(_), None) => {
                return Err(ConfigError::new(format!(
                    "{} is wider than all IPv4-mapped addresses, ::ffff:0:0/96; write an IPv4 network",
                    quoted(text)
                )));
            }
        };
        Ok(Self { network: masked(address, prefix, prefix), prefix })
    }

    fn parse(text: &str) -> Option<(IpAddr, u8)> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix =
            prefix.map_or(Some(bits), |prefix| prefix.parse().ok().filter(|prefix| *prefix <= bits))?;
        Some((address, prefix))
    }

    /// Whether the address is in the network. An IPv4 address is never in an IPv6 network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4()
            && masked(address, self.prefix, self.prefix) == self.network
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_inside_from_outside() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "10.0.0.1", false),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("::ffff:0:0/96", "8.8.8.8", true),
        ] {
            let network_read = Cidr::new(network).unwrap();
            assert_eq!(network_read.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "example.com",
            "::ffff:0:0/95",
        ] {
            assert!(Cidr::new(text).is_err(), "{text}");
        }
    }
}
