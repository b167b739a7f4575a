//! `--nameservers`: which sources of nameservers an operator allows.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::{BasePlusTwoError, amazon_dns, base_plus_two, parse_cidr};

/// Where DNS is served (RFC 1035 §4.2).
pub(crate) const DNS_PORT: u16 = 53;

/// The value of `--nameservers`: `auto`, `parent`, `imds`, or a list of `IP[:PORT]`, `cidr:CIDR` and
/// `amazon`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Nameservers {
    /// Every source that there is, in order.
    #[default]
    Auto,
    /// What the parent's resolv.conf names, as our relay or an old parent's getter tells it, and
    /// nothing else.
    Parent,
    /// Base + 2 of the VPC's primary block, as the parent instance's metadata has it, and nothing
    /// else.
    Imds,
    /// These, in this order: at least one, at most [`resolv::MAX_NAMESERVERS`], each once.
    Fixed(Vec<SocketAddr>),
}

impl FromStr for Nameservers {
    type Err = ParseNameserversError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "parent" => Ok(Self::Parent),
            "imds" => Ok(Self::Imds),
            list => nameserver_list(list).map(Self::Fixed),
        }
    }
}

/// Reads a list of `IP[:PORT]`, `cidr:CIDR` and `amazon`: at least one nameserver, at most
/// [`resolv::MAX_NAMESERVERS`], each once.
///
/// # Errors
///
/// [`ParseNameserversError`]
pub fn nameserver_list(list: &str) -> Result<Vec<SocketAddr>, ParseNameserversError> {
    let mut addresses = Vec::new();
    for item in list.split(',') {
        let named = match (item, item.strip_prefix("cidr:")) {
            ("amazon", _) => [amazon_dns::LINK_LOCAL, amazon_dns::IPV6]
                .map(|ip| SocketAddr::new(ip, DNS_PORT))
                .to_vec(),
            (_, Some(block)) => {
                vec![SocketAddr::new(
                    base_plus_two(parse_cidr(block)?)?,
                    DNS_PORT,
                )]
            }
            (_, None) => vec![address(item)?],
        };
        for address in named {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    if addresses.len() > resolv::MAX_NAMESERVERS {
        return Err(ParseNameserversError::TooMany {
            count: addresses.len(),
        });
    }
    Ok(addresses)
}

/// `IP`, `IP:PORT`, `[v6]` or `[v6]:PORT`. Loopback is allowed: it is the parent's, and the relay's
/// policy decides on it.
fn address(item: &str) -> Result<SocketAddr, ParseNameserversError> {
    let bare = item
        .strip_prefix('[')
        .and_then(|item| item.strip_suffix(']'))
        .unwrap_or(item);
    let parsed = match bare.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, DNS_PORT)),
        Err(_) => item.parse::<SocketAddr>(),
    };
    let address = parsed.map_err(|_| ParseNameserversError::Syntax {
        item: item.to_owned(),
    })?;
    let unusable = !resolv::ResolvConf::usable(address.ip()) && !address.ip().is_loopback();
    if unusable || address.port() == 0 {
        return Err(ParseNameserversError::Unusable { address });
    }
    Ok(address)
}

impl fmt::Display for Nameservers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Parent => f.write_str("parent"),
            Self::Imds => f.write_str("imds"),
            Self::Fixed(addresses) => {
                for (index, address) in addresses.iter().enumerate() {
                    write!(f, "{}{address}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

/// Text that is no list of nameservers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameserversError {
    /// Neither a source nor an address.
    #[error(
        "`{item}` is no nameserver: write amazon, cidr:10.0.0.0/16, or addresses such as 10.0.0.2 or \
         [fd00:ec2::253]:53, with commas between them; --nameservers also takes auto, parent or imds"
    )]
    Syntax {
        /// The item of the list.
        item: String,
    },
    /// An address that no query can be sent to.
    #[error(
        "{address} cannot be a nameserver: write the address of one host, and a port other than 0"
    )]
    Unusable {
        /// What was written.
        address: SocketAddr,
    },
    /// More than the stub keeps connections for.
    #[error(
        "{count} nameservers are too many: write at most {}",
        resolv::MAX_NAMESERVERS
    )]
    TooMany {
        /// How many were written.
        count: usize,
    },
    /// `cidr:` with a block that has no base + 2.
    #[error(transparent)]
    Cidr(#[from] BasePlusTwoError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Nameservers, ParseNameserversError> {
        text.parse()
    }

    #[test]
    fn each_form_is_read_and_written_back() {
        assert_eq!(read("auto"), Ok(Nameservers::Auto));
        assert_eq!(read("parent"), Ok(Nameservers::Parent));
        assert_eq!(read("imds"), Ok(Nameservers::Imds));
        assert_eq!(Nameservers::Imds.to_string(), "imds");
        for (text, list) in [
            ("10.0.0.2", "10.0.0.2:53"),
            ("10.0.0.2:5353", "10.0.0.2:5353"),
            ("fd00:ec2::253", "[fd00:ec2::253]:53"),
            ("[fd00:ec2::253]", "[fd00:ec2::253]:53"),
            ("[fd00:ec2::253]:54", "[fd00:ec2::253]:54"),
            ("cidr:10.7.0.0/16", "10.7.0.2:53"),
            (
                "10.0.0.2,cidr:10.7.0.0/16,10.0.0.2:53",
                "10.0.0.2:53,10.7.0.2:53",
            ),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("amazon", "169.254.169.253:53,[fd00:ec2::253]:53"),
            (
                "10.0.0.2,amazon",
                "10.0.0.2:53,169.254.169.253:53,[fd00:ec2::253]:53",
            ),
        ] {
            let nameservers = read(text).unwrap();
            assert_eq!(nameservers.to_string(), list, "{text}");
            assert_eq!(read(list), Ok(nameservers));
        }
    }

    #[test]
    fn an_error_names_the_item_and_says_what_to_write() {
        for (text, hint) in [
            ("", "takes auto, parent or imds"),
            ("amazon.example", "`amazon.example` is no nameserver"),
            ("10.0.0.2,", "`` is no nameserver"),
            ("10.0.0.2,auto", "`auto` is no nameserver"),
            ("10.0.0.2:", "`10.0.0.2:` is no nameserver"),
            ("0.0.0.0", "one host"),
            ("224.0.0.251", "one host"),
            ("[::ffff:10.0.0.2]:53", "one host"),
            ("10.0.0.2:0", "other than 0"),
            ("cidr:10.0.0.0/31", "/30 is the least"),
            ("cidr:", "such as 10.0.0.0/16"),
            (
                "10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6,10.0.0.7,10.0.0.8,10.0.0.9",
                "at most 8",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
