//! The wire between parent instance and VPC, made over rtnetlink(7): a veth pair, addresses, routes.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::addresses::{AMAZON_DNS_IPV6, AMAZON_DNS_LINK_LOCAL, PARENT_IPV6, VpcCidr};
use crate::imds;

/// The parent's interface, as Amazon Linux names the first one.
const PARENT_INTERFACE: &str = "eth0";
const VPC_INTERFACE: &str = "vpc0";

/// Index of the VPC's end; new namespaces use the low ones for interfaces of their own.
const VPC_INDEX: u32 = 100;

/// Index of the parent's end. The kernel starts a veth pair at once only if the two differ, else up to 1 s later
/// (`linkwatch_urgent_event`).
const PARENT_INDEX: u32 = 101;

/// `lo` is the first interface of every namespace.
const LOOPBACK: u32 = 1;

const IPV4_BITS: u8 = 32;

/// AmazonDNS's IPv6 address and the parent's are on one link.
const IPV6_PREFIX: u8 = 64;

/// Makes the VPC's namespace and moves this thread into it; the parent's is the one it came from. `services` are the
/// addresses at which the VPC shall be reached besides its router, resolver and IMDS. Says whether there is IPv6.
pub(crate) async fn make(vpc: VpcCidr, services: HashSet<Ipv4Addr>) -> Result<bool, NetworkError> {
    // A netlink socket stays in the namespace it was opened in.
    let parent = connect()?;
    let parent_namespace = File::open("/proc/self/ns/net").map_err(NetworkError::Socket)?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(NetworkError::Namespace)?;
    let ours = connect()?;

    let far_end = LinkMessageBuilder::<LinkUnspec>::new()
        .name(PARENT_INTERFACE)
        .index(PARENT_INDEX)
        .setns_by_fd(parent_namespace.as_raw_fd())
        .build();
    let pair = LinkVeth::new(VPC_INTERFACE, PARENT_INTERFACE)
        .index(VPC_INDEX)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)));
    ours.link()
        .add(pair.build())
        .execute()
        .await
        .map_err(|error| NetworkError::set("make the veth pair", error))?;

    up(&ours, LOOPBACK).await?;
    address(&ours, VPC_INDEX, vpc.router(), vpc.prefix_len()).await?;
    address(&ours, VPC_INDEX, vpc.amazon_dns(), vpc.prefix_len()).await?;
    address(&ours, LOOPBACK, AMAZON_DNS_LINK_LOCAL, IPV4_BITS).await?;
    address(&ours, LOOPBACK, imds::ADDRESS, IPV4_BITS).await?;
    for service in services {
        if belongs_to_vpc(service, vpc) {
            address(&ours, LOOPBACK, service, IPV4_BITS).await?;
        }
    }
    up(&ours, VPC_INDEX).await?;

    up(&parent, LOOPBACK).await?;
    address(&parent, PARENT_INDEX, vpc.parent(), vpc.prefix_len()).await?;
    up(&parent, PARENT_INDEX).await?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(vpc.router())
        .build();
    let added = parent.route().add(route).execute().await;
    added.map_err(|error| NetworkError::set("add the parent's default route", error))?;

    let both = async {
        ipv6(&ours, VPC_INDEX, AMAZON_DNS_IPV6).await?;
        ipv6(&parent, PARENT_INDEX, PARENT_IPV6).await
    };
    let made = both.await;
    if let Err(error) = &made {
        tracing::info!(%error, "no IPv6 here");
    }
    Ok(made.is_ok())
}

/// Whether an address out of a zone is for the VPC to hold: not if someone else has it or no one can.
fn belongs_to_vpc(address: Ipv4Addr, vpc: VpcCidr) -> bool {
    let taken = [
        vpc.router(),
        vpc.amazon_dns(),
        vpc.parent(),
        AMAZON_DNS_LINK_LOCAL,
        imds::ADDRESS,
    ];
    let unusable = address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast();
    !unusable && !taken.contains(&address)
}

fn connect() -> Result<Handle, NetworkError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(NetworkError::Socket)?;
    tokio::spawn(connection);
    Ok(handle)
}

async fn up(netlink: &Handle, interface: u32) -> Result<(), NetworkError> {
    let message = LinkUnspec::new_with_index(interface).up().build();
    let set = netlink.link().set(message).execute().await;
    set.map_err(|error| NetworkError::set(format!("bring interface {interface} up"), error))
}

async fn address(
    netlink: &Handle,
    interface: u32,
    address: Ipv4Addr,
    prefix: u8,
) -> Result<(), NetworkError> {
    let request = netlink
        .address()
        .add(interface, IpAddr::V4(address), prefix);
    let added = request.execute().await;
    added.map_err(|error| {
        NetworkError::set(
            format!("add {address}/{prefix} to interface {interface}"),
            error,
        )
    })
}

/// An address that is there at once: nobody else is on the link to have it already (RFC 4862 §5.4).
async fn ipv6(netlink: &Handle, interface: u32, address: Ipv6Addr) -> Result<(), rtnetlink::Error> {
    let mut request = netlink
        .address()
        .add(interface, IpAddr::V6(address), IPV6_PREFIX);
    request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    request.execute().await
}

/// What could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error("cannot open a netlink socket: {0}")]
    Socket(io::Error),
    #[error("cannot make the VPC's network namespace: {}", _0.desc())]
    Namespace(Errno),
    #[error("cannot {what}: {error}")]
    Set {
        what: String,
        error: rtnetlink::Error,
    },
}

impl NetworkError {
    fn set(what: impl Into<String>, error: rtnetlink::Error) -> Self {
        let what = what.into();
        Self::Set { what, error }
    }
}
