//! Which process holds a port: for the error that names it.
//!
//! The kernel lists sockets by inode in /proc/net/{udp,tcp,udp6,tcp6} (proc_net(5)), and each
//! process's descriptors as links to `socket:[INODE]` under /proc/PID/fd.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use publish::Socket;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listener {
    pub(crate) pid: u32,
    /// The name that the kernel knows it by, at most 15 bytes; shown as it is, so escaped.
    pub(crate) comm: String,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.comm.escape_default(), self.pid)
    }
}

/// Looks at the tables, which can miss a socket while others come and go.
const ATTEMPTS: usize = 3;

/// The processes that listen where `address` would, by UDP or TCP. Empty when none can be seen:
/// only root sees the descriptors of others.
pub(crate) fn listeners_of(address: SocketAddr) -> Vec<Listener> {
    let mut looks = std::iter::repeat_with(|| look(address)).take(ATTEMPTS);
    looks.find(|found| !found.is_empty()).unwrap_or_default()
}

fn look(address: SocketAddr) -> Vec<Listener> {
    let proc = Path::new("/proc");
    let inodes: BTreeSet<String> = ["udp", "tcp", "udp6", "tcp6"]
        .into_iter()
        .filter_map(|table| {
            Some((
                table,
                fs::read_to_string(proc.join("net").join(table)).ok()?,
            ))
        })
        .flat_map(|(table, text)| inodes(table.starts_with("tcp"), &text, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return Vec::new();
    }
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let mut found: Vec<Listener> = processes
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let mut descriptors = fs::read_dir(process.path().join("fd")).ok()?.flatten();
            let holds = |path: &Path| {
                fs::read_link(path)
                    .is_ok_and(|to| to.to_str().is_some_and(|to| inodes.contains(to)))
            };
            descriptors
                .any(|descriptor| holds(&descriptor.path()))
                .then_some(())?;
            let comm = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            Some(Listener {
                pid,
                comm: comm.trim_end().to_owned(),
            })
        })
        .collect();
    found.sort();
    found
}

/// The inodes of the sockets of one table that stand in the way of `wanted`.
fn inodes(tcp: bool, table: &str, wanted: SocketAddr) -> Vec<u64> {
    let sockets = table.lines().filter_map(Socket::of_line);
    sockets
        .filter(|socket| (!tcp || socket.listens) && in_the_way(socket.address, wanted))
        .map(|socket| socket.inode)
        .collect()
}

fn in_the_way(local: SocketAddr, wanted: SocketAddr) -> bool {
    let all = local.ip().is_unspecified() && (local.is_ipv6() || wanted.is_ipv4());
    local.port() == wanted.port() && (all || local.ip() == wanted.ip())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};

    use super::*;

    fn names_us(address: SocketAddr) -> bool {
        listeners_of(address)
            .iter()
            .any(|listener| listener.pid == std::process::id())
    }

    #[test]
    fn the_process_that_holds_a_port_is_named() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let every = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert!(names_us(udp.local_addr().unwrap()));
        assert!(names_us(tcp.local_addr().unwrap()));
        let port = every.local_addr().unwrap().port();
        assert!(names_us(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)));
        let listener = listeners_of(udp.local_addr().unwrap()).remove(0);
        assert!(!listener.comm.is_empty() && !listener.comm.ends_with('\n'));
        let address = udp.local_addr().unwrap();
        drop(udp);
        assert!(!names_us(address));
    }

    #[test]
    fn tables_are_read_as_the_kernel_writes_them() {
        let udp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
                   timeout inode ref pointer drops\n \
                   1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 42 2 x 0\n \
                   2: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 43 2 x 0\n \
                   3: 0200007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 44 2 x 0\n \
                   garbage\n 4: 0100007F 5\n";
        assert_eq!(
            inodes(false, udp, "127.0.0.1:53".parse().unwrap()),
            [42, 43]
        );
        assert!(
            inodes(true, udp, "127.0.0.1:53".parse().unwrap()).is_empty(),
            "07 is no listener"
        );
        let tcp6 = "header\n 0: 00000000000000000000000001000000:0035 \
                    00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7\n";
        assert_eq!(inodes(true, tcp6, "[::1]:53".parse().unwrap()), [7]);
    }
}
