//! A line of the kernel's tables of sockets, /proc/net/{tcp,tcp6,udp,udp6} (proc_net(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a TCP socket that listens.
const LISTEN: &str = "0A";

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// Where it is bound. An IPv4 address that is written in IPv6 is given as IPv4.
    pub address: SocketAddr,
    /// Its number: the descriptors that hold it are links to `socket:[INODE]`.
    pub inode: u64,
    /// Whether it takes connections, if it is one of TCP.
    pub listens: bool,
}

impl Socket {
    /// The socket of this line; `None` for the heading.
    pub fn of_line(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let address = socket_address(fields.nth(1)?)?;
        let listens = fields.nth(1)? == LISTEN;
        let inode = fields.nth(5)?.parse().ok()?;
        Some(Self {
            address,
            inode,
            listens,
        })
    }
}

/// `0100007F:0035`: each 32-bit word of the address in the machine's byte order.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for word in ip.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
        16 => IpAddr::from(Ipv6Addr::from(*bytes.first_chunk::<16>()?)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
