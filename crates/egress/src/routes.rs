//! Routes for every address: without one a connect() fails before any packet rule is met.
//!
//! Each family gets two, for one half of its addresses each. They come before a default route that
//! somebody else may have set, without touching it, and are known as ours. The device is `lo`, or
//! that of the detour. Set by ioctl (SIOCADDRT, netdevice(7)): two structures, and no netlink.

use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::SockaddrIn;

use crate::netfilter::Family;

mod ioctl {
    use nix::libc::{SIOCADDRT, SIOCDELRT, rtentry};

    use super::in6_rtmsg;

    nix::ioctl_write_ptr_bad!(add_v4, SIOCADDRT, rtentry);
    nix::ioctl_write_ptr_bad!(delete_v4, SIOCDELRT, rtentry);
    nix::ioctl_write_ptr_bad!(add_v6, SIOCADDRT, in6_rtmsg);
    nix::ioctl_write_ptr_bad!(delete_v6, SIOCDELRT, in6_rtmsg);
}

/// The device that every network namespace has.
pub(crate) const LOOPBACK: &str = "lo";

const HALVES_V4: [Ipv4Addr; 2] = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(128, 0, 0, 0)];
const HALVES_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::UNSPECIFIED,
    Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0),
];
const HALF_MASK_V4: Ipv4Addr = Ipv4Addr::new(128, 0, 0, 0);
const HALF_PREFIX_V6: u16 = 1;

/// Before the routes that get the default metric (IP6_RT_PRIO_USER, 1024).
const METRIC_V6: u32 = 1;

/// Sends everything that has no nearer route to `device`. What is there already stays.
pub(crate) fn add(family: Family, device: &str) -> io::Result<()> {
    match change(family, device, true) {
        Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => Ok(()),
        done => done,
    }
}

/// Takes away what [`add`] added, if it is there.
pub(crate) fn remove(family: Family, device: &str) -> io::Result<()> {
    match change(family, device, false) {
        Err(error) if is_absent(&error) => Ok(()),
        done => done,
    }
}

/// No such route, no such device, no such family.
fn is_absent(error: &io::Error) -> bool {
    let absent = [
        Errno::ESRCH,
        Errno::ENODEV,
        Errno::ENXIO,
        Errno::EAFNOSUPPORT,
    ];
    absent
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

fn change(family: Family, device: &str, add: bool) -> io::Result<()> {
    match family {
        Family::V4 => HALVES_V4
            .into_iter()
            .try_for_each(|half| change_v4(half, device, add)),
        Family::V6 => HALVES_V6
            .into_iter()
            .try_for_each(|half| change_v6(half, device, add)),
    }
}

fn change_v4(half: Ipv4Addr, device: &str, add: bool) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let device = CString::new(device)?;
    // SAFETY: `rtentry` is plain old data, for which all zeroes are a valid value.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = sockaddr(half);
    route.rt_genmask = sockaddr(HALF_MASK_V4);
    route.rt_flags = libc::RTF_UP;
    route.rt_dev = device.as_ptr().cast_mut();
    // SAFETY: the descriptor is open, and `route` a valid rtentry whose device lives until the end.
    unsafe {
        match add {
            true => ioctl::add_v4(socket.as_raw_fd(), &raw const route),
            false => ioctl::delete_v4(socket.as_raw_fd(), &raw const route),
        }
    }?;
    Ok(())
}

fn change_v6(half: Ipv6Addr, device: &str, add: bool) -> io::Result<()> {
    let socket = UdpSocket::bind("[::1]:0")?;
    let index = if_nametoindex(device)?;
    // A plain route over lo is one that refuses everything, on kernels up to 4.19: there it has to be
    // one to this machine itself.
    let local = match device {
        LOOPBACK => RTF_LOCAL,
        _ => 0,
    };
    let route = in6_rtmsg {
        rtmsg_dst: in6_addr(half),
        rtmsg_src: in6_addr(Ipv6Addr::UNSPECIFIED),
        rtmsg_gateway: in6_addr(Ipv6Addr::UNSPECIFIED),
        rtmsg_type: RTN_LOCAL,
        rtmsg_dst_len: HALF_PREFIX_V6,
        rtmsg_src_len: 0,
        rtmsg_metric: METRIC_V6,
        rtmsg_info: 0,
        rtmsg_flags: u32::from(libc::RTF_UP) | local,
        rtmsg_ifindex: index.cast_signed(),
    };
    // SAFETY: the descriptor is an open IPv6 socket, and `route` a valid in6_rtmsg.
    unsafe {
        match add {
            true => ioctl::add_v6(socket.as_raw_fd(), &raw const route),
            false => ioctl::delete_v6(socket.as_raw_fd(), &raw const route),
        }
    }?;
    Ok(())
}

/// `struct in6_rtmsg` of linux/ipv6_route.h, whose fields the libc crate keeps to itself.
#[allow(non_camel_case_types)]
#[repr(C)]
struct in6_rtmsg {
    rtmsg_dst: libc::in6_addr,
    rtmsg_src: libc::in6_addr,
    rtmsg_gateway: libc::in6_addr,
    rtmsg_type: u32,
    rtmsg_dst_len: u16,
    rtmsg_src_len: u16,
    rtmsg_metric: u32,
    rtmsg_info: libc::c_ulong,
    rtmsg_flags: u32,
    rtmsg_ifindex: libc::c_int,
}

/// RTN_LOCAL of linux/rtnetlink.h.
const RTN_LOCAL: u32 = 2;

/// RTF_LOCAL of linux/ipv6_route.h.
const RTF_LOCAL: u32 = 0x8000_0000;

fn in6_addr(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr {
        s6_addr: ip.octets(),
    }
}

fn sockaddr(ip: Ipv4Addr) -> libc::sockaddr {
    let address = SockaddrIn::from(SocketAddrV4::new(ip, 0));
    let address: &libc::sockaddr_in = address.as_ref();
    // SAFETY: both are plain old data of 16 bytes that start with the family.
    unsafe { std::mem::transmute_copy(address) }
}
