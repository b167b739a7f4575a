//! Who has which address in the VPC. AmazonDNS stands at the VPC's base + 2, its router at base + 1
//! (Amazon VPC User Guide, "Amazon DNS server" and "Subnet sizing").

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::Ipv4Net;

/// The longest prefix that holds the sandbox's addresses: two subnets of 256 and what stands below them.
const LONGEST_PREFIX: u8 = 22;

/// The shortest prefix taken: 10.0.0.0/8, the largest private block. (A VPC of AWS is at most a /16.)
const SHORTEST_PREFIX: u8 = 8;

/// AmazonDNS's second address, the same in every VPC (VPC User Guide, "Amazon DNS server").
pub(crate) const AMAZON_DNS_LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);

/// AmazonDNS's IPv6 address, the same in every VPC.
pub(crate) const AMAZON_DNS_IPV6: Ipv6Addr = Ipv6Addr::new(0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x253);

/// The parent instance's IPv6 address, on the link of [`AMAZON_DNS_IPV6`].
pub(crate) const PARENT_IPV6: Ipv6Addr = Ipv6Addr::new(0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x10);

/// A VPC's primary IPv4 block, such as 10.0.0.0/16, known to hold all of the sandbox's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VpcCidr(Ipv4Net);

impl VpcCidr {
    /// The VPC's router, base + 1.
    pub(crate) fn router(self) -> Ipv4Addr {
        self.at(0, 1)
    }

    /// AmazonDNS, base + 2.
    pub(crate) fn amazon_dns(self) -> Ipv4Addr {
        self.at(0, 2)
    }

    /// The parent instance.
    pub(crate) fn parent(self) -> Ipv4Addr {
        self.at(0, 10)
    }

    /// Length of the prefix in bits.
    pub(crate) fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    /// The address `host` in the `subnet`th block of 256: 0 holds the parent, 1 is us-east-1a, 2 us-east-1b.
    /// `subnet` is at most 3, so that every block down to [`LONGEST_PREFIX`] holds it.
    pub(crate) fn at(self, subnet: u8, host: u8) -> Ipv4Addr {
        debug_assert!(subnet <= 3, "a /{LONGEST_PREFIX} has four blocks of 256");
        Ipv4Addr::from_bits(self.0.addr().to_bits() + u32::from(subnet) * 256 + u32::from(host))
    }
}

impl fmt::Display for VpcCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VpcCidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let block: Ipv4Net = text.parse().map_err(|_| CidrError::NotIpv4Cidr {
            text: text.to_owned(),
        })?;
        if block.addr() != block.network() {
            return Err(CidrError::HostBits {
                text: text.to_owned(),
                network: block.trunc(),
            });
        }
        match block.prefix_len() {
            prefix if prefix > LONGEST_PREFIX => Err(CidrError::TooSmall { block }),
            ..SHORTEST_PREFIX => Err(CidrError::TooLarge { block }),
            _ => Ok(Self(block)),
        }
    }
}

/// Why a text is no block for the sandbox's VPC.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CidrError {
    #[error("{text:?} is not an IPv4 block such as 10.0.0.0/16")]
    NotIpv4Cidr { text: String },
    #[error("{text} has host bits set; the block is {network}")]
    HostBits { text: String, network: Ipv4Net },
    #[error("{block} is too small for two subnets of endpoints; use a /{LONGEST_PREFIX} or larger")]
    TooSmall { block: Ipv4Net },
    #[error("{block} is too large; use a /{SHORTEST_PREFIX} or smaller")]
    TooLarge { block: Ipv4Net },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazon_dns_is_base_plus_two() {
        for (block, resolver) in [
            ("10.0.0.0/16", [10, 0, 0, 2]),
            ("10.7.0.0/16", [10, 7, 0, 2]),
            ("172.31.0.0/16", [172, 31, 0, 2]),
            ("192.168.4.0/22", [192, 168, 4, 2]),
        ] {
            let vpc: VpcCidr = block.parse().unwrap();
            assert_eq!(vpc.amazon_dns(), Ipv4Addr::from(resolver), "{block}");
        }
    }

    #[test]
    fn a_block_that_cannot_be_says_why() {
        for (block, why) in [
            ("10.0.0.7/16", "host bits"),
            ("10.0.0.0/24", "too small"),
            ("0.0.0.0/0", "too large"),
            ("fd00::/64", "not an IPv4 block"),
            ("10.0.0.0", "not an IPv4 block"),
        ] {
            let error = block.parse::<VpcCidr>().unwrap_err().to_string();
            assert!(error.contains(why), "{block}: {error}");
        }
    }
}
