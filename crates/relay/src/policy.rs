//! Which addresses an enclave may reach, judged on the address that is connected to.
//!
//! Without rules everything but the parent itself: its loopback, the unspecified address, its own
//! addresses, multicast and broadcast, which reach it too, and IPv4 mapped into IPv6 (RFC 4291
//! §2.5.5.2), which would slip past rules on IPv4. The same IPv4 address behind a VPC's NAT64 (RFC
//! 6052) is judged as that address as well. IMDS (169.254.169.254) is reachable, since that is where
//! SDKs get their credentials.
//!
//! Then, in this order: a `--deny` that names the address refuses it; an `--allow` that names it
//! grants it; and where any `--allow` is given, what none of them names is refused. A rule on a
//! range never opens the parent itself: for that it must name nothing else, that is a network
//! inside 127.0.0.0/8, `::1`, or the parent's address alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use link::Rule;
use nix::ifaddrs::getifaddrs;

/// The rules of a relay.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `--allow`.
    pub allow: Vec<Rule>,
    /// `--deny`, which wins over `--allow`.
    pub deny: Vec<Rule>,
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("it is the parent itself, which only an `--allow` of this address alone opens")]
    Parent,
    #[error("it is a multicast or broadcast address")]
    Group,
    #[error("it is an IPv4 address mapped into IPv6; ask for the IPv4 address")]
    Mapped,
    #[error("`--deny {0}` names it")]
    Rule(Rule),
    #[error("no `--allow` names it")]
    NotAllowed,
}

impl Policy {
    /// Judges `to`; `own` are the parent's addresses at this moment.
    pub(crate) fn judge(&self, to: SocketAddr, own: &[IpAddr]) -> Result<(), Denied> {
        let canonical = SocketAddr::new(canonical(to.ip()), to.port());
        let denying = |rule: &&Rule| rule.matches(to) || rule.matches(canonical);
        if let Some(rule) = self.deny.iter().find(denying) {
            return Err(Denied::Rule(*rule));
        }
        let mut allowing = self.allow.iter().filter(|rule| rule.matches(to)).peekable();
        let listed = allowing.peek().is_some();
        let opened_by = |covers: &dyn Fn(&Rule) -> bool| {
            self.allow
                .iter()
                .any(|rule| rule.matches(to) && covers(rule))
        };
        if is_mapped(to.ip()) && !opened_by(&|rule| is_mapped(rule.net().network())) {
            return Err(Denied::Mapped);
        }
        if is_group(canonical.ip()) {
            return Err(Denied::Group);
        }
        if is_parent(canonical.ip(), own) && !opened_by(&names_only_the_parent) {
            return Err(Denied::Parent);
        }
        if !listed && !self.allow.is_empty() {
            return Err(Denied::NotAllowed);
        }
        Ok(())
    }
}

/// The addresses of this machine's interfaces.
pub(crate) fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let ip_of = |address: nix::ifaddrs::InterfaceAddress| {
        let address = address.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    };
    Ok(getifaddrs()?.filter_map(ip_of).collect())
}

/// The prefix under which a NAT64 such as a VPC's reaches IPv4: 64:ff9b::/96 (RFC 6052 §2.1).
const NAT64: [u16; 6] = [0x64, 0xFF9B, 0, 0, 0, 0];

/// The IPv4 address that an IPv6 address leads to, where it does.
fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) if v6.segments().starts_with(&NAT64) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::from([a, b, c, d])
        }
        ip => ip.to_canonical(),
    }
}

fn is_group(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn is_parent(ip: IpAddr, own: &[IpAddr]) -> bool {
    ip.is_loopback() || ip.is_unspecified() || own.contains(&ip)
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

/// Whether the rule speaks of nothing but the parent: loopback, or one single address.
fn names_only_the_parent(rule: &Rule) -> bool {
    let net = rule.net();
    let single = net.prefix_len() == net.max_prefix_len();
    let loopback = match net {
        // A network that begins in 127.0.0.0/8 and is no larger lies inside it.
        IpNet::V4(net) => net.network().is_loopback() && net.prefix_len() >= 8,
        IpNet::V6(_) => false,
    };
    single || loopback
}

#[cfg(test)]
mod tests;
