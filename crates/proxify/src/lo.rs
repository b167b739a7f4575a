//! Makes `lo` a network that programs believe in.
//!
//! In an enclave whose image has no init `lo` may be down, and then not even 127.0.0.1 can be
//! bound. Up, the kernel gives it 127.0.0.1 and ::1 by itself (netdevice(7)). But glibc's
//! `AI_ADDRCONFIG` does not count those: a lookup of one address family alone, as `curl -4` or
//! `getent ahostsv4` makes it, fails with EAI_NONAME before any nameserver is asked. So `lo` gets
//! an address of each family that is nobody's.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::socket::SockaddrIn;

mod ioctl {
    use nix::libc::{SIOCGIFFLAGS, SIOCSIFADDR, SIOCSIFFLAGS, SIOCSIFNETMASK, ifreq, in6_ifreq};

    nix::ioctl_readwrite_bad!(get_flags, SIOCGIFFLAGS, ifreq);
    nix::ioctl_readwrite_bad!(set_flags, SIOCSIFFLAGS, ifreq);
    nix::ioctl_write_ptr_bad!(set_address, SIOCSIFADDR, ifreq);
    nix::ioctl_write_ptr_bad!(set_netmask, SIOCSIFNETMASK, ifreq);
    nix::ioctl_write_ptr_bad!(add_address_v6, SIOCSIFADDR, in6_ifreq);
}

/// From TEST-NET-1 (RFC 5737), which no VPC can route.
const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A unique local address (RFC 4193).
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

/// The name of the IPv4 address: an alias of `lo` (netdevice(7)).
const ALIAS: &str = "lo:proxify";

/// Sets `lo` up if it is down; says whether it was.
///
/// # Errors
///
/// Mostly a lack of CAP_NET_ADMIN.
pub(crate) fn bring_up() -> Result<bool, LoError> {
    // Any socket of the network namespace will do.
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(|source| LoError::Socket { source })?;
    let mut request = request("lo");
    // SAFETY: the descriptor is open, and `request` is a valid ifreq with a terminated name.
    unsafe { ioctl::get_flags(socket.as_raw_fd(), &raw mut request) }
        .map_err(|source| LoError::Flags { source })?;
    let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: SIOCGIFFLAGS has filled this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    if flags & up != 0 {
        return Ok(false);
    }
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: as above.
    unsafe { ioctl::set_flags(socket.as_raw_fd(), &raw mut request) }
        .map_err(|source| LoError::Up { source })?;
    Ok(true)
}

/// Gives `lo` an address of each family that has none but loopback ones, so that `AI_ADDRCONFIG`
/// counts the family. Says whether anything was added; a family that the kernel does not have is
/// left out.
///
/// # Errors
///
/// Mostly a lack of CAP_NET_ADMIN. Names then still resolve for all who do not ask for one family
/// alone.
pub(crate) fn give_addresses() -> Result<bool, LoError> {
    let addresses = getifaddrs().map_err(|source| LoError::Address { source })?;
    let (mut has_v4, mut has_v6) = (false, false);
    for address in addresses.filter_map(|each| each.address) {
        has_v4 |= address
            .as_sockaddr_in()
            .is_some_and(|v4| !v4.ip().is_loopback());
        has_v6 |= address
            .as_sockaddr_in6()
            .is_some_and(|v6| !v6.ip().is_loopback());
    }
    let mut added = false;
    if !has_v4 {
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(|source| LoError::Socket { source })?;
        add_v4(&socket).map_err(|source| LoError::Address { source })?;
        added = true;
    }
    if !has_v6 && let Ok(socket) = UdpSocket::bind("[::1]:0") {
        add_v6(&socket).map_err(|source| LoError::Address { source })?;
        added = true;
    }
    Ok(added)
}

fn add_v4(socket: &UdpSocket) -> nix::Result<()> {
    let mut request = request(ALIAS);
    request.ifr_ifru.ifru_addr = sockaddr(OWN_V4);
    // SAFETY: the descriptor is open, and `request` is a valid ifreq with a terminated name.
    unsafe { ioctl::set_address(socket.as_raw_fd(), &raw const request) }?;
    // The default is the mask of the address's class, and all of it would be local.
    request.ifr_ifru.ifru_netmask = sockaddr(Ipv4Addr::BROADCAST);
    // SAFETY: as above.
    unsafe { ioctl::set_netmask(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}

fn add_v6(socket: &UdpSocket) -> nix::Result<()> {
    let index = nix::net::if_::if_nametoindex("lo")?;
    let request = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr {
            s6_addr: OWN_V6.octets(),
        },
        ifr6_prefixlen: 128,
        ifr6_ifindex: index.cast_signed(),
    };
    // SAFETY: the descriptor is an open IPv6 socket, and `request` a valid in6_ifreq.
    unsafe { ioctl::add_address_v6(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: `ifreq` is plain old data of the C interface, for which all zeroes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request
}

fn sockaddr(ip: Ipv4Addr) -> libc::sockaddr {
    let address = SockaddrIn::from(SocketAddrV4::new(ip, 0));
    let address: &libc::sockaddr_in = address.as_ref();
    // SAFETY: both are plain old data of 16 bytes that start with the family.
    unsafe { std::mem::transmute_copy(address) }
}

/// Why `lo` is not up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoError {
    #[error("cannot open a socket to look at lo: {source}")]
    Socket { source: std::io::Error },
    #[error("cannot read the flags of lo: {source}")]
    Flags { source: nix::Error },
    #[error(
        "lo is down and cannot be brought up: {source}; run proxify as root, or `ip link set lo \
         up` before it"
    )]
    Up { source: nix::Error },
    #[error(
        "cannot give lo an address of its own: {source}; programs that look up IPv4 addresses alone \
         may find none"
    )]
    Address { source: nix::Error },
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::namespaces::in_namespaces;

    #[test]
    fn a_fresh_namespace_gets_its_loopback() {
        in_namespaces("lo::tests::a_fresh_namespace_gets_its_loopback", || {
            let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
            probe
                .connect("127.0.0.1:53")
                .expect_err("lo is down in a new namespace");
            assert!(bring_up().unwrap());
            assert!(!bring_up().unwrap(), "it is up already");
            let one = UdpSocket::bind("127.0.0.1:0").unwrap();
            one.connect(one.local_addr().unwrap()).unwrap();
            one.send(b"x").unwrap();
            assert_eq!(one.recv(&mut [0; 1]).unwrap(), 1);
        });
    }

    #[test]
    fn lo_gets_an_address_of_each_family_once() {
        in_namespaces("lo::tests::lo_gets_an_address_of_each_family_once", || {
            bring_up().unwrap();
            assert!(give_addresses().unwrap());
            assert!(!give_addresses().unwrap(), "they are there already");
            UdpSocket::bind((OWN_V4, 0)).unwrap();
            // The kernel takes a new IPv6 address into use in a worker of its own.
            let deadline = Instant::now() + Duration::from_secs(10);
            while let Err(error) = UdpSocket::bind((OWN_V6, 0)) {
                assert!(Instant::now() < deadline, "{error}");
                std::thread::yield_now();
            }
            UdpSocket::bind("192.0.2.2:0").expect_err("the rest of the block is not ours");
            UdpSocket::bind("127.0.0.1:0").unwrap();
        });
    }
}
