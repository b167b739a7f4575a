//! What the standard library has no call for: where a redirected connection was going, and packets
//! sent as they are.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{Ip6tOriginalDst, OriginalDst};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, getsockopt,
    sendmsg, socket,
};

use crate::netfilter::Family;

/// Where a connection was going before it was redirected (SO_ORIGINAL_DST).
pub(crate) fn original_destination(
    connection: &impl AsFd,
    family: Family,
) -> Result<SocketAddr, Errno> {
    match family {
        Family::V4 => {
            let address: libc::sockaddr_in = getsockopt(connection, OriginalDst)?;
            Ok(SocketAddr::V4(SockaddrIn::from(address).into()))
        }
        Family::V6 => {
            let address: libc::sockaddr_in6 = getsockopt(connection, Ip6tOriginalDst)?;
            let address = SocketAddrV6::from(SockaddrIn6::from(address));
            // Without the scope, which a link-local address alone would have.
            Ok(SocketAddr::new((*address.ip()).into(), address.port()))
        }
    }
}

/// A socket that sends packets whose headers are ours (raw(7), IPPROTO_RAW), through the packet rules
/// for what this machine sends.
#[derive(Debug)]
pub(crate) struct RawSocket {
    descriptor: OwnedFd,
}

impl RawSocket {
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let descriptor = socket(domain, SockType::Raw, flags, SockProtocol::Raw)?;
        Ok(Self { descriptor })
    }

    pub(crate) fn send(&self, to: SocketAddr, packet: &[u8]) -> io::Result<()> {
        let fd = self.descriptor.as_raw_fd();
        let packet = [IoSlice::new(packet)];
        let none = MsgFlags::empty();
        // A port would be a protocol here.
        match to {
            SocketAddr::V4(to) => {
                let to = SockaddrIn::from(std::net::SocketAddrV4::new(*to.ip(), 0));
                sendmsg(fd, &packet, &[], none, Some(&to))?;
            }
            SocketAddr::V6(to) => {
                let to = SockaddrIn6::from(SocketAddrV6::new(*to.ip(), 0, 0, to.scope_id()));
                sendmsg(fd, &packet, &[], none, Some(&to))?;
            }
        }
        Ok(())
    }
}
