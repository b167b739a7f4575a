//! Base + 2 of a VPC's IPv4 block (Amazon VPC User Guide, "Subnet sizing" and "Amazon DNS server").

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// The longest prefix that holds a base + 2. (A VPC's own block is a /16 to a /28.)
const LONGEST_PREFIX: u8 = 30;

/// Where AmazonDNS answers in the VPC whose primary block is `block`.
///
/// # Errors
///
/// A block that is not a VPC's IPv4 base block; each error says what to write in its place.
pub fn base_plus_two(block: IpNet) -> Result<IpAddr, BasePlusTwoError> {
    let IpNet::V4(block) = block else {
        return Err(BasePlusTwoError::Ipv6 { block });
    };
    if block.addr() != block.network() {
        return Err(BasePlusTwoError::HostBits {
            block,
            base: block.trunc(),
        });
    }
    if block.prefix_len() > LONGEST_PREFIX {
        return Err(BasePlusTwoError::TooSmall { block });
    }
    Ok(Ipv4Addr::from_bits(block.network().to_bits() | 2).into())
}

/// Reads a block such as `10.0.0.0/16`, as it stands in the VPC's console.
///
/// # Errors
///
/// [`BasePlusTwoError::Syntax`].
pub fn parse_cidr(text: &str) -> Result<IpNet, BasePlusTwoError> {
    text.parse().map_err(|_| BasePlusTwoError::Syntax {
        text: text.to_owned(),
    })
}

/// Why a block has no base + 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BasePlusTwoError {
    /// Not a CIDR block at all.
    #[error(
        "`{text}` is not a CIDR block: write the VPC's primary IPv4 block, such as 10.0.0.0/16"
    )]
    Syntax {
        /// What was written.
        text: String,
    },
    /// AmazonDNS has no base + 2 over IPv6.
    #[error(
        "{block} is IPv6, where AmazonDNS is not at base + 2: write the VPC's primary IPv4 block, or \
         the address fd00:ec2::253"
    )]
    Ipv6 {
        /// What was written.
        block: IpNet,
    },
    /// An address within the block where its base belongs; which block was meant is a guess that we
    /// do not take.
    #[error(
        "{block} is not the base of its block: write {base}, if that is the VPC's primary IPv4 \
         block"
    )]
    HostBits {
        /// What was written.
        block: Ipv4Net,
        /// The block of that size that it lies in.
        base: Ipv4Net,
    },
    /// No third address.
    #[error(
        "{block} is too small to have a base + 2: /{LONGEST_PREFIX} is the least (and a VPC's block \
         is a /28 or larger)"
    )]
    TooSmall {
        /// What was written.
        block: Ipv4Net,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<IpAddr, BasePlusTwoError> {
        parse_cidr(text).and_then(base_plus_two)
    }

    #[test]
    fn is_the_third_address_of_the_block() {
        for (block, nameserver) in [
            ("10.0.0.0/16", "10.0.0.2"),
            ("10.7.0.0/16", "10.7.0.2"),
            ("172.31.0.0/16", "172.31.0.2"),
            ("192.168.4.16/28", "192.168.4.18"),
            ("192.168.4.252/30", "192.168.4.254"),
            ("100.64.0.0/10", "100.64.0.2"),
        ] {
            assert_eq!(of(block), Ok(nameserver.parse().unwrap()), "{block}");
        }
    }

    #[test]
    fn an_error_says_what_to_write() {
        for (block, hint) in [
            ("10.0.0.0/31", "/30 is the least"),
            ("10.0.0.2/32", "/30 is the least"),
            ("10.0.1.17/16", "write 10.0.0.0/16"),
            ("2600:1f18::/56", "fd00:ec2::253"),
            ("10.0.0.0", "such as 10.0.0.0/16"),
            ("10.0.0.0/33", "such as 10.0.0.0/16"),
            ("", "such as 10.0.0.0/16"),
        ] {
            let error = of(block).unwrap_err().to_string();
            assert!(error.contains(hint), "{block}: {error}");
        }
    }
}
