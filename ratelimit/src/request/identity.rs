//! What counts as one client address.

use core::net::{IpAddr, Ipv6Addr};

/// How many leading bits of an IPv6 address tell clients apart: a network of this size is usually
/// one subscriber's (RFC 6177), who can use any address in it.
const IPV6_PREFIX: u32 = 64;

/// The address under which a client is counted: IPv4 as it is, also where it is mapped into IPv6,
/// and the network of an IPv6 address.
pub(super) fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << (128 - IPV6_PREFIX));
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_client_are_one() {
        for (address, counted_as) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("2001:db8:1:3::", "2001:db8:1:3::"),
            ("::1", "::"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(
                client(address),
                counted_as.parse::<IpAddr>().unwrap(),
                "{address}"
            );
        }
    }
}
