//! One rule as bytes: an entry, its matches, and its target, each aligned to 8 bytes.
//!
//! ```text
//!            IPv4   IPv6
//! addresses  0      0       what every packet is compared with (struct ipt_ip, ip6t_ip6)
//! offsets    88     140     u16 to the target, u16 to the next entry
//! counters   96     152
//! matches    112    168     each u16 size, 29 bytes of name, u8 revision, its own data
//! target                    the same head, its own data
//! ```
//!
//! Numbers are the machine's own, but addresses and the ports of a translation, which are the
//! network's.

use std::net::IpAddr;

use super::Family;

/// Heads of matches and targets (`struct xt_entry_match`, `xt_entry_target`).
const HEAD: usize = 32;
const NAME_LENGTH: usize = 29;

/// XT_ALIGN.
const ALIGNMENT: usize = 8;

/// An interface's name with its terminator (IFNAMSIZ).
const INTERFACE: usize = 16;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// SYN and PSH in TCP's flags (RFC 9293 §3.1).
const SYN_PSH: u8 = 0x02 | 0x08;

/// The verdict of a standard target, where it is no offset: -1 - NF_ACCEPT, and XT_RETURN.
#[cfg(test)]
const ACCEPT: i32 = -2;
const RETURN: i32 = -5;

/// What a packet must be, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) test: Test,
    pub(crate) verdict: Verdict,
}

/// What a packet is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// Nothing: every packet.
    Any,
    /// It goes to an address of this machine, loopback or not, as routes say.
    ToThisMachine,
    /// It goes to this address.
    To(IpAddr),
    /// It is TCP's.
    Tcp,
    /// A SYN with PSH, which no kernel sends, out of this interface.
    MarkedSyn { interface: &'static str },
    /// DNS to this nameserver over UDP (port 53).
    DnsUdp { nameserver: IpAddr },
    /// The same over TCP.
    DnsTcp { nameserver: IpAddr },
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It leaves our chain.
    Return,
    /// It goes to this port of loopback.
    Redirect(u16),
    /// It is dropped, and its sender told: port unreachable.
    Reject,
}

const DNS_PORT: u16 = 53;

impl Family {
    /// Where an entry's matches start.
    pub(super) fn entry_size(self) -> usize {
        match self {
            Self::V4 => 112,
            Self::V6 => 168,
        }
    }

    /// Where an entry's two offsets stand.
    pub(super) fn offsets_at(self) -> usize {
        match self {
            Self::V4 => 88,
            Self::V6 => 140,
        }
    }

    fn address_size(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

impl Rule {
    pub(super) fn render(&self, family: Family) -> Vec<u8> {
        let mut entry = Entry::new(family);
        match &self.test {
            Test::Any => {}
            Test::ToThisMachine => entry.local_destination(),
            Test::To(ip) => entry.destination(*ip),
            Test::Tcp => entry.protocol(TCP),
            Test::MarkedSyn { interface } => {
                entry.protocol(TCP);
                entry.out_interface(interface);
                entry.tcp(ANY_PORT, SYN_PSH);
            }
            Test::DnsUdp { nameserver } => {
                entry.protocol(UDP);
                entry.destination(*nameserver);
                entry.udp(DNS_PORT);
            }
            Test::DnsTcp { nameserver } => {
                entry.protocol(TCP);
                entry.destination(*nameserver);
                entry.tcp([DNS_PORT, DNS_PORT], 0);
            }
        }
        match self.verdict {
            Verdict::Return => entry.standard(RETURN),
            Verdict::Redirect(port) => entry.redirect(port),
            Verdict::Reject => entry.reject(),
        }
    }
}

/// The entry that ends a hook.
#[cfg(test)]
pub(super) fn accept(family: Family) -> Vec<u8> {
    Entry::new(family).standard(ACCEPT)
}

/// The entry that ends a chain of a user's.
pub(super) fn chain_end(family: Family) -> Vec<u8> {
    Entry::new(family).standard(RETURN)
}

/// A rule for every packet that jumps; where to is filled in when the offset is known.
pub(super) fn jump(family: Family) -> Vec<u8> {
    Entry::new(family).standard(0)
}

/// The entry at the head of a user's chain, and, with the name `ERROR`, at a table's end: a packet
/// never meets it.
pub(super) fn label(family: Family, name: &str) -> Vec<u8> {
    /// XT_FUNCTION_MAXNAMELEN.
    const LABEL: usize = 30;
    let mut data = [0; LABEL];
    put(&mut data, name.as_bytes());
    Entry::new(family).target("ERROR", 0, &data)
}

const ANY_PORT: [u16; 2] = [0, u16::MAX];

/// An entry in the making.
struct Entry {
    family: Family,
    bytes: Vec<u8>,
}

impl Entry {
    fn new(family: Family) -> Self {
        let bytes = vec![0; family.entry_size()];
        Self { family, bytes }
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        put(self.bytes.get_mut(at..).unwrap_or_default(), bytes);
    }

    fn destination(&mut self, ip: IpAddr) {
        let size = self.family.address_size();
        match ip {
            IpAddr::V4(ip) => self.set(size, &ip.octets()),
            IpAddr::V6(ip) => self.set(size, &ip.octets()),
        }
        // Behind source and destination stand their masks.
        self.set(3 * size, &[0xFF; 16][..size]);
    }

    fn out_interface(&mut self, name: &str) {
        let at = 4 * self.family.address_size() + INTERFACE;
        self.set(at, name.as_bytes());
        // The mask covers the terminator, so that no longer name fits.
        self.set(at + 2 * INTERFACE, &[0xFF; INTERFACE][..name.len() + 1]);
    }

    fn protocol(&mut self, protocol: u8) {
        let at = 4 * self.family.address_size() + 4 * INTERFACE;
        self.set(at, &u16::from(protocol).to_ne_bytes());
        if self.family == Family::V6 {
            // Behind the protocol stands the traffic class; then IP6T_F_PROTO.
            self.set(at + 3, &[1]);
        }
    }

    /// `addrtype --dst-type LOCAL` (linux/netfilter/xt_addrtype.h).
    fn local_destination(&mut self) {
        /// XT_ADDRTYPE_LOCAL.
        const LOCAL: u16 = 1 << 2;
        let mut data = [0; 8];
        put(&mut data[2..], &LOCAL.to_ne_bytes());
        self.block("addrtype", 1, &data);
    }

    /// Source ports, destination ports, option, mask of flags, flags, inversions.
    fn tcp(&mut self, [first, last]: [u16; 2], flags: u8) {
        let mut data = ports(first, last);
        data.extend_from_slice(&[0, flags, flags, 0]);
        self.block("tcp", 0, &data);
    }

    fn udp(&mut self, port: u16) {
        let mut data = ports(port, port);
        // Inversions, and padding to the alignment of a u16.
        data.extend_from_slice(&[0, 0]);
        self.block("udp", 0, &data);
    }

    fn standard(self, verdict: i32) -> Vec<u8> {
        self.target("", 0, &verdict.to_ne_bytes())
    }

    /// To loopback, at a port (linux/netfilter/nf_nat.h): for IPv4 a list of one range, for IPv6 a
    /// range with room for any address.
    fn redirect(self, port: u16) -> Vec<u8> {
        /// NF_NAT_RANGE_PROTO_SPECIFIED.
        const PORTS: u32 = 1 << 1;
        let mut data = Vec::new();
        let addresses = match self.family {
            Family::V4 => {
                data.extend_from_slice(&1_u32.to_ne_bytes());
                8
            }
            Family::V6 => 32,
        };
        data.extend_from_slice(&PORTS.to_ne_bytes());
        data.resize(data.len() + addresses, 0);
        data.extend_from_slice(&port.to_be_bytes());
        data.extend_from_slice(&port.to_be_bytes());
        self.target("REDIRECT", 0, &data)
    }

    /// ICMP port unreachable, which a socket knows as ECONNREFUSED.
    fn reject(self) -> Vec<u8> {
        /// IPT_ICMP_PORT_UNREACHABLE.
        const V4: u32 = 3;
        /// IP6T_ICMP6_PORT_UNREACH.
        const V6: u32 = 4;
        let with = match self.family {
            Family::V4 => V4,
            Family::V6 => V6,
        };
        self.target("REJECT", 0, &with.to_ne_bytes())
    }

    fn target(mut self, name: &str, revision: u8, data: &[u8]) -> Vec<u8> {
        let target_at = self.bytes.len();
        self.block(name, revision, data);
        let at = self.family.offsets_at();
        self.set(at, &narrow(target_at).to_ne_bytes());
        self.set(at + 2, &narrow(self.bytes.len()).to_ne_bytes());
        self.bytes
    }

    /// A match or target.
    fn block(&mut self, name: &str, revision: u8, data: &[u8]) {
        let start = self.bytes.len();
        let size = (HEAD + data.len()).next_multiple_of(ALIGNMENT);
        self.bytes.resize(start + size, 0);
        self.set(start, &narrow(size).to_ne_bytes());
        self.set(start + 2, name.as_bytes());
        self.set(start + 2 + NAME_LENGTH, &[revision]);
        self.set(start + HEAD, data);
    }
}

/// Any source port, and a range of destination ports.
fn ports(first: u16, last: u16) -> Vec<u8> {
    let [any_first, any_last] = ANY_PORT;
    [any_first, any_last, first, last]
        .iter()
        .flat_map(|port| port.to_ne_bytes())
        .collect()
}

fn put(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Entries are a few hundred bytes.
fn narrow(size: usize) -> u16 {
    u16::try_from(size).unwrap_or(u16::MAX)
}
