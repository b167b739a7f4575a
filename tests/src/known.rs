//! Names whose every answer is known: the zone that a sandbox's AmazonDNS serves, and what each name
//! must resolve to.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names with addresses: that of the same number in 10.0.4.0/24, and some an IPv6 address.
const NAMES: u8 = 16;

/// Their TTLs in turn, seconds: most expire all the time, so that upstream is asked all the time.
const TTLS: [u32; 4] = [1, 2, 3, 60];

/// Under it each name exists, with one address, and was never asked for before.
pub const NEW: &str = "new.known.example.";

/// What each name under [`NEW`] has.
pub const NEW_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 4, 200));

/// A name, and all of its addresses; none for a name that does not exist.
#[derive(Clone, Debug)]
pub struct Known {
    /// With its final dot.
    pub name: String,
    /// IPv4 and IPv6.
    pub addresses: BTreeSet<IpAddr>,
}

/// Names with one address or two, aliases of such, and names that do not exist.
#[must_use]
pub fn names() -> Vec<Known> {
    let mut names = Vec::new();
    for host in 0..NAMES {
        let known = |name| Known {
            name,
            addresses: addresses(host),
        };
        names.push(known(format!("n{host}.known.example.")));
        if host % 4 == 1 {
            names.push(known(format!("alias{host}.known.example.")));
        }
    }
    for host in 0..2 {
        names.push(Known {
            name: format!("missing{host}.known.example."),
            addresses: BTreeSet::new(),
        });
    }
    names
}

/// The same as a master file (RFC 1035 §5).
#[must_use]
pub fn zone() -> String {
    let mut zone = "known.example. 60 IN SOA ns.known.example. root.known.example. 1 60 60 60 2\n\
                    *.new.known.example. 60 IN A 10.0.4.200\n"
        .to_owned();
    for (host, ttl) in (0..NAMES).zip(TTLS.into_iter().cycle()) {
        for address in addresses(host) {
            let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
            let _ = writeln!(zone, "n{host}.known.example. {ttl} IN {rtype} {address}");
        }
        if host % 4 == 1 {
            let _ = writeln!(
                zone,
                "alias{host}.known.example. {ttl} IN CNAME n{host}.known.example."
            );
        }
    }
    zone
}

/// Every second name has an IPv6 address too.
fn addresses(host: u8) -> BTreeSet<IpAddr> {
    let v4 = IpAddr::V4(Ipv4Addr::new(10, 0, 4, host));
    let v6 = IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 4, 0, 0, 0, 0, host.into()));
    [Some(v4), (host % 2 == 1).then_some(v6)]
        .into_iter()
        .flatten()
        .collect()
}
