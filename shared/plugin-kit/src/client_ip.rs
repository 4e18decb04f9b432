//! `clientIp`: whose address counts as the client's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use log::warn;

use crate::config::{At, ConfigError};
use crate::property;
use crate::request::Request;

/// How a plugin finds the address of the client. What `clientIp` means is said once per plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase", deny_unknown_fields, default))]
pub struct ClientIp {
    /// `envoy`: `source.address`, as Envoy itself determined it. `xForwardedFor`: an entry of that header, which a
    /// client can write too, so count `trustedHops` right.
    pub source: ClientIpSource,
    /// With `xForwardedFor`: the Nth address from the right. Default 1.
    pub trusted_hops: u8,
    /// How many bits of an IPv4 address make the key. Default 32.
    pub ipv4_prefix: u8,
    /// How many bits of an IPv6 address make the key. Default 64: a client usually has a whole /64.
    pub ipv6_prefix: u8,
}

/// Where the address comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum ClientIpSource {
    /// `source.address`.
    #[default]
    Envoy,
    /// `x-forwarded-for`.
    XForwardedFor,
}

crate::choices!(ClientIpSource { "envoy" => Envoy, "xForwardedFor" => XForwardedFor });

crate::fields!(ClientIp {
    "source" => source,
    "trustedHops" => trusted_hops,
    "ipv4Prefix" => ipv4_prefix,
    "ipv6Prefix" => ipv6_prefix,
});

impl Default for ClientIp {
    fn default() -> Self {
        Self { source: ClientIpSource::Envoy, trusted_hops: 1, ipv4_prefix: 32, ipv6_prefix: 64 }
    }
}

impl ClientIp {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Where one is out of its range.
    pub fn check(self) -> Result<Self, ConfigError> {
        let within = |field: &str, value: u8, from: u8, to: u8| {
            if (from..=to).contains(&value) {
                return Ok(());
            }
            Err(ConfigError::new(format!("must be from {from} to {to}, not {value}"))).at(field)
        };
        within("trustedHops", self.trusted_hops, 1, 32)?;
        within("ipv4Prefix", self.ipv4_prefix, 0, 32)?;
        within("ipv6Prefix", self.ipv6_prefix, 0, 128)?;
        Ok(self)
    }

    /// The client's address; `None` where there is none, or where `x-forwarded-for` has too few entries or no address at
    /// the trusted place.
    pub(crate) fn find(&self, request: &Request) -> Option<IpAddr> {
        let address = match self.source {
            ClientIpSource::Envoy => return peer_of(request),
            ClientIpSource::XForwardedFor => {
                let all = request.joined_header("x-forwarded-for")?;
                let hops = usize::from(self.trusted_hops).checked_sub(1)?;
                entry(all.rsplit(|&byte| byte == b',').nth(hops)?)?
            }
        };
        Some(address.to_canonical())
    }

    /// Logs a warning where a client can choose the address by which something is decided: with `source: envoy`, on a
    /// proxy that takes `source.address` from `x-forwarded-for`. Call it at configure time, and only where the address
    /// decides.
    pub fn warn_if_forgeable(&self) {
        if self.source == ClientIpSource::Envoy && is_forgeable(node_type().as_deref()) {
            warn!(
                "clientIp: on a sidecar or waypoint, source.address is the last entry of x-forwarded-for, which a \
                 client can write; decide by it only behind a gateway that sets the header"
            );
        }
    }

    /// The part of an address that makes a key.
    #[must_use]
    pub fn key(&self, address: IpAddr) -> String {
        match masked(address, self.ipv4_prefix, self.ipv6_prefix) {
            IpAddr::V4(address) => dotted(address),
            IpAddr::V6(address) => address.to_string(),
        }
    }
}

/// The peer's address as Envoy has it.
pub(crate) fn peer_of(request: &Request) -> Option<IpAddr> {
    Some(peer(&request.property(&["source", "address"])?)?.to_canonical())
}

/// `sidecar`, `router` or `waypoint`: the first part of the node id that Istio gives a proxy.
fn node_type() -> Option<String> {
    let id = property::get_str(&["xds", "node", "id"])?;
    id.split_once('~').map(|(kind, _)| kind.to_owned())
}

/// Istio sets `use_remote_address: false` on inbound listeners of sidecars and on waypoints. Which listener it is cannot be
/// read at configure time (Envoy 1.40).
fn is_forgeable(node_type: Option<&str>) -> bool {
    matches!(node_type, Some("sidecar" | "waypoint"))
}

/// As `Display` writes it, which takes five times as long.
fn dotted(address: Ipv4Addr) -> String {
    let mut text = String::with_capacity("255.255.255.255".len());
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        for (unit, digit) in [(100, octet / 100), (10, octet / 10 % 10), (1, octet % 10)] {
            if octet >= unit || unit == 1 {
                text.push(char::from(b'0' | digit));
            }
        }
    }
    text
}

fn text(raw: &[u8]) -> Option<&str> {
    std::str::from_utf8(raw).ok().map(str::trim)
}

/// `10.0.0.1:80`, `[::1]:80`, or an address alone.
fn peer(raw: &[u8]) -> Option<IpAddr> {
    let text = text(raw)?;
    text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse()).ok()
}

/// One entry of `x-forwarded-for`: an address, for some proxies with a port or in brackets.
fn entry(raw: &[u8]) -> Option<IpAddr> {
    let text = text(raw)?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| peer(raw))
}

/// The network that the first bits of an address name.
pub(crate) fn masked(address: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let hidden = 32_u32.saturating_sub(ipv4_prefix.into());
            Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(hidden).unwrap_or(0)).into()
        }
        IpAddr::V6(address) => {
            let hidden = 128_u32.saturating_sub(ipv6_prefix.into());
            Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(hidden).unwrap_or(0)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_is_written_as_usual(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(dotted(address), address.to_string());
        }
    }

    fn forwarded(lines: &[&[u8]], hops: u8) -> Option<String> {
        let headers: Vec<(&str, &[u8])> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let rule =
            ClientIp { source: ClientIpSource::XForwardedFor, trusted_hops: hops, ..ClientIp::default() };
        Request::detached(&headers).with_client_ip(rule).client_ip().map(|address| address.to_string())
    }

    #[test]
    fn envoy_knows_the_peer() {
        for (property, address) in [
            ("10.0.0.1:4711", "10.0.0.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1"),
        ] {
            let request = Request::detached(&[]).with_property("source.address", property.as_bytes());
            assert_eq!(request.client_ip().unwrap().to_string(), address);
        }
        assert_eq!(Request::detached(&[]).client_ip(), None);
    }

    #[test]
    fn a_forwarded_address_is_counted_from_the_right_over_all_lines() {
        let lines: [&[u8]; 2] = [b"6.6.6.6, 1.1.1.1", b"2.2.2.2 "];
        assert_eq!(forwarded(&lines, 1).as_deref(), Some("2.2.2.2"));
        assert_eq!(forwarded(&lines, 2).as_deref(), Some("1.1.1.1"));
        assert_eq!(forwarded(&lines, 4), None);
        assert_eq!(forwarded(&[b"[2001:db8::1]:1234"], 1).as_deref(), Some("2001:db8::1"));
        assert_eq!(forwarded(&[b"\xff"], 1), None);
    }

    #[test]
    fn without_a_usable_entry_the_key_is_the_peers_address() {
        for line in [&b"garbage"[..], b"2.2.2.2, garbage", b"", b"\xff"] {
            let rule = ClientIp { source: ClientIpSource::XForwardedFor, ..ClientIp::default() };
            let request = Request::detached(&[("x-forwarded-for", line)])
                .with_property("source.address", b"10.0.0.9:80")
                .with_client_ip(rule);
            assert_eq!(request.client_ip(), None, "{line:?}");
            assert_eq!(request.client_ip_key().as_deref(), Some("10.0.0.9"), "{line:?}");
        }
    }

    #[test]
    fn a_client_can_forge_its_address_on_inbound_sidecars_and_waypoints() {
        for (node_type, forgeable) in
            [(Some("sidecar"), true), (Some("waypoint"), true), (Some("router"), false), (None, false)]
        {
            assert_eq!(is_forgeable(node_type), forgeable, "{node_type:?}");
        }
    }

    #[test]
    fn a_key_is_a_network() {
        let rule = ClientIp { ipv4_prefix: 24, ..ClientIp::default() };
        assert_eq!(rule.key("10.1.2.3".parse().unwrap()), "10.1.2.0");
        assert_eq!(rule.key("2001:db8:1:2:3::4".parse().unwrap()), "2001:db8:1:2::");
        let all = ClientIp { ipv4_prefix: 0, ipv6_prefix: 0, ..ClientIp::default() };
        assert_eq!(all.key("10.1.2.3".parse().unwrap()), "0.0.0.0");
        assert_eq!(all.key("::1".parse().unwrap()), "::");
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let rule = ClientIp { ipv4_prefix: 33, ..ClientIp::default() };
        assert_eq!(rule.check().unwrap_err().to_string(), "ipv4Prefix: must be from 0 to 32, not 33");
    }
}
