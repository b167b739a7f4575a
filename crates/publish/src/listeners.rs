//! The TCP ports that programs listen on, by /proc/net/tcp and tcp6 (proc(5)).
//!
//! The kernel lists listening sockets before all others, so as many connections as there may be, only
//! the first lines are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::proc_net::Socket;

/// The listening sockets of this network namespace, in the order of their addresses.
///
/// # Errors
///
/// /proc is not there, or not to be read.
pub(crate) fn listening() -> io::Result<Vec<Socket>> {
    let mut found = read(BufReader::new(File::open("/proc/net/tcp")?))?;
    match File::open("/proc/net/tcp6") {
        Ok(file) => found.extend(read(BufReader::new(file))?),
        // A kernel without IPv6.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    found.sort();
    Ok(found)
}

/// Where to connect for each port that programs listen on, unless on loopback alone.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Whether a socket is this process's.
    ours: BTreeMap<u64, bool>,
}

impl Watch {
    /// The ports now.
    ///
    /// # Errors
    ///
    /// As [`listening`].
    pub(crate) fn ports(&mut self) -> io::Result<BTreeMap<u16, Vec<SocketAddr>>> {
        let mut listeners = listening()?;
        listeners.retain(|listener| !listener.address.ip().is_loopback());
        if listeners
            .iter()
            .any(|each| !self.ours.contains_key(&each.inode))
        {
            let own = own_sockets()?;
            let known = |each: &Socket| (each.inode, own.contains(&each.inode));
            self.ours = listeners.iter().map(known).collect();
        }
        let mut ports: BTreeMap<u16, Vec<SocketAddr>> = BTreeMap::new();
        for listener in listeners {
            if self.ours.get(&listener.inode) == Some(&false) {
                let port = ports.entry(listener.address.port()).or_default();
                port.push(reachable(listener.address));
            }
        }
        Ok(ports)
    }
}

/// The address to connect to: loopback for a listener on all addresses. `[::1]` reaches one on `[::]`
/// whether it serves IPv4 too or not.
pub(crate) fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// The inodes of this process's sockets.
fn own_sockets() -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for descriptor in fs::read_dir("/proc/self/fd")? {
        // One that has been closed since it was listed is nobody's.
        let Ok(link) = fs::read_link(descriptor?.path()) else {
            continue;
        };
        let name = link.to_str().unwrap_or_default();
        let inode = name
            .strip_prefix("socket:[")
            .and_then(|name| name.strip_suffix(']'));
        inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    Ok(inodes)
}

/// The listeners of one table, up to its first other socket.
fn read(table: impl BufRead) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    for line in table.lines() {
        match Socket::of_line(&line?) {
            Some(socket) if socket.listens => found.push(socket),
            Some(_) => break,
            None => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn tables_are_read_up_to_the_first_that_does_not_listen() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1 x\n   \
            1: 010200C0:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 x\n   \
            2: garbage\n   \
            3: 0100007F:0035 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 43 1 x\n   \
            4: 00000000:0051 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 44 1 x\n";
        let found: Vec<_> = read(table.as_bytes()).unwrap();
        let addresses: Vec<_> = found.iter().map(|each| each.address.to_string()).collect();
        assert_eq!(addresses, ["0.0.0.0:8080", "192.0.2.1:80"]);
        assert_eq!(found[1].inode, 42);
        let table = "header\n \
            0: B80D0120000000000000000001000000:0050 0:0 0A 00:0 00:0 0 0 0 45\n \
            1: 0000000000000000FFFF0000010200C0:0050 0:0 0A 00:0 00:0 0 0 0 46\n \
            2: 00000000000000000000000000000000:0051 0:0 0A\n";
        let found = read(table.as_bytes()).unwrap();
        let addresses: Vec<_> = found.iter().map(|each| each.address.to_string()).collect();
        assert_eq!(addresses, ["[2001:db8::1]:80", "192.0.2.1:80"]);
    }

    #[test]
    fn this_processs_listeners_are_seen_and_known_as_its_own() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Established connections stand behind.
        let _client = TcpStream::connect(("127.0.0.1", address.port())).unwrap();
        let seen = listening().unwrap();
        let seen = seen.iter().find(|each| each.address == address).unwrap();
        assert!(own_sockets().unwrap().contains(&seen.inode));
        let mut watch = Watch::default();
        assert!(!watch.ports().unwrap().contains_key(&address.port()));
        drop(listener);
        assert!(
            listening()
                .unwrap()
                .iter()
                .all(|each| each.address != address)
        );
    }

    #[test]
    fn all_addresses_are_reached_by_loopback() {
        for (listener, to) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[fd00::1]:80", "[fd00::1]:80"),
        ] {
            assert_eq!(reachable(listener.parse().unwrap()), to.parse().unwrap());
        }
    }
}
