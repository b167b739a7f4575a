//! `CIDR[:PORT]`: how destinations are named at both ends, by the relay's `--allow` and `--deny`
//! and by what the enclave permits itself.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

/// A network, and one port of it or all.
///
/// Written `10.0.0.0/8`, `10.0.0.0/8:443`, `10.0.1.17`, `10.0.1.17:443`; for IPv6 `2001:db8::/32`,
/// `2001:db8::1`, and with a port `[2001:db8::]/32:443`, `[2001:db8::1]:443`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    net: IpNet,
    port: Option<u16>,
}

/// Text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRuleError {
    /// Neither an address nor a network.
    #[error(
        "`{text}` is not CIDR[:PORT]: write 10.0.0.0/8, 10.0.1.17:443, 2001:db8::/32 or [2001:db8::]/32:443"
    )]
    Syntax {
        /// What was given.
        text: String,
    },
    /// Not 1 to 65535.
    #[error("`{port}` in `{text}` is not a port: write a number from 1 to 65535, or none for all")]
    Port {
        /// What was given.
        text: String,
        /// The part that should be a port.
        port: String,
    },
    /// An address inside the network in place of the network.
    #[error("`{text}` has bits set behind its prefix: did you mean {network}?")]
    HostBits {
        /// What was given.
        text: String,
        /// The network that holds it.
        network: IpNet,
    },
}

impl Rule {
    /// Whether `address` is in the network and its port is the rule's.
    pub fn matches(&self, address: SocketAddr) -> bool {
        self.net.contains(&address.ip()) && self.port.is_none_or(|port| port == address.port())
    }

    /// The network.
    pub fn net(&self) -> IpNet {
        self.net
    }
}

impl FromStr for Rule {
    type Err = ParseRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || ParseRuleError::Syntax { text: text.into() };
        let (ip, rest) = split_ip(text).ok_or_else(syntax)?;
        let (prefix, port) = match rest.split_once(':') {
            Some((prefix, port)) => (prefix, Some(port)),
            None => (rest, None),
        };
        let net = match prefix.strip_prefix('/') {
            None if prefix.is_empty() => IpNet::from(ip),
            None => return Err(syntax()),
            Some(length) => {
                let length = length.parse().map_err(|_| syntax())?;
                IpNet::new(ip, length).map_err(|_| syntax())?
            }
        };
        if net.trunc() != net {
            return Err(ParseRuleError::HostBits {
                text: text.into(),
                network: net.trunc(),
            });
        }
        let port = match port {
            None => None,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => {
                    return Err(ParseRuleError::Port {
                        text: text.into(),
                        port: port.into(),
                    });
                }
                Ok(port) => Some(port),
            },
        };
        Ok(Self { net, port })
    }
}

/// The address at the head of a rule, and what follows it.
fn split_ip(text: &str) -> Option<(IpAddr, &str)> {
    if let Some(text) = text.strip_prefix('[') {
        let (ip, rest) = text.split_once(']')?;
        return Some((IpAddr::V6(ip.parse().ok()?), rest));
    }
    // Without brackets the colons of an IPv6 address are its own, up to the slash.
    let v6_end = text.find('/').unwrap_or(text.len());
    let (head, rest) = text.split_at_checked(v6_end)?;
    if let Ok(ip) = head.parse() {
        return Some((ip, rest));
    }
    let v4_end = text.find(['/', ':']).unwrap_or(text.len());
    let (head, rest) = text.split_at_checked(v4_end)?;
    Some((IpAddr::V4(head.parse().ok()?), rest))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.net, self.port) {
            (net, None) => write!(f, "{net}"),
            (IpNet::V4(net), Some(port)) => write!(f, "{net}:{port}"),
            (IpNet::V6(net), Some(port)) => {
                write!(f, "[{}]/{}:{port}", net.addr(), net.prefix_len())
            }
        }
    }
}

#[cfg(test)]
mod tests;
