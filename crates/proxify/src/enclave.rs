//! Whether this is an enclave: a machine whose only network interface is `lo`.
//!
//! Outside one proxify would take over a host's resolv.conf. So it stops there, before anything is
//! changed, unless it is told otherwise.

use std::collections::BTreeSet;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use tracing::warn;

/// What the kernel adds to each network namespace by itself where tunnels are built in (its
/// `fb_tunnels_only_for_init_net` lists them). They are down until somebody sets them up.
const FALLBACK_TUNNELS: [&str; 9] = [
    "tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0",
];

/// Makes sure that there is no network here that proxify would cut off; false if there is one and
/// `force` says to go on.
///
/// # Errors
///
/// Other interfaces than `lo`, without `force`.
pub(crate) fn check(force: bool) -> Result<bool, NotAnEnclave> {
    let found = getifaddrs().map_err(|source| NotAnEnclave::Unknown { source })?;
    judge(found.map(|each| (each.interface_name, each.flags)), force)
}

/// An interface is listed once for each of its addresses.
fn judge(
    found: impl Iterator<Item = (String, InterfaceFlags)>,
    force: bool,
) -> Result<bool, NotAnEnclave> {
    let others: BTreeSet<_> = found
        .filter(|(name, flags)| is_network(name, *flags))
        .map(|(name, _)| name)
        .collect();
    let interfaces = others.into_iter().collect::<Vec<_>>().join(", ");
    if interfaces.is_empty() {
        return Ok(true);
    }
    if force {
        warn!(interfaces, "not an enclave: going on, as --force says");
        return Ok(false);
    }
    Err(NotAnEnclave::Interfaces { interfaces })
}

fn is_network(name: &str, flags: InterfaceFlags) -> bool {
    let idle_tunnel = FALLBACK_TUNNELS.contains(&name) && !flags.contains(InterfaceFlags::IFF_UP);
    // Another proxify's way out, which this one will share.
    let ours = name == egress::DEVICE;
    !flags.contains(InterfaceFlags::IFF_LOOPBACK) && !idle_tunnel && !ours
}

/// Why proxify does not start here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAnEnclave {
    #[error(
        "this is not an enclave: it has the interfaces {interfaces} beside lo, and proxify would \
         take over its resolv.conf. To try it on this machine, run `sandbox`; to go on all the \
         same, say --force"
    )]
    Interfaces { interfaces: String },
    #[error("cannot list the network interfaces: {source}; to go on all the same, say --force")]
    Unknown { source: nix::Error },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespaces::in_namespaces;

    #[test]
    fn lo_and_idle_tunnels_are_no_network() {
        let up = InterfaceFlags::IFF_UP;
        assert!(!is_network("lo", up | InterfaceFlags::IFF_LOOPBACK));
        assert!(!is_network("sit0", InterfaceFlags::IFF_NOARP));
        assert!(is_network("sit0", up));
        assert!(is_network("eth0", up));
        assert!(!is_network(egress::DEVICE, up), "another proxify's");
        assert!(
            is_network("wlan0", InterfaceFlags::empty()),
            "a laptop offline is no enclave"
        );
    }

    #[test]
    fn a_network_namespace_with_lo_alone_is_an_enclave() {
        in_namespaces(
            "enclave::tests::a_network_namespace_with_lo_alone_is_an_enclave",
            || {
                assert!(check(false).unwrap());
            },
        );
    }

    #[test]
    fn another_interface_is_named_with_the_way_out() {
        let flags = InterfaceFlags::IFF_UP;
        let lo = ("lo".to_owned(), flags | InterfaceFlags::IFF_LOOPBACK);
        let networks = || {
            let names = ["wlan0", "eth0", "eth0"].map(|name| (name.to_owned(), flags));
            names.into_iter().chain([lo.clone()])
        };
        let error = judge(networks(), false).unwrap_err().to_string();
        for word in ["eth0, wlan0", "sandbox", "--force"] {
            assert!(error.contains(word), "{error}");
        }
        assert!(!judge(networks(), true).unwrap());
        assert!(judge([lo.clone()].into_iter(), false).unwrap());
    }
}
