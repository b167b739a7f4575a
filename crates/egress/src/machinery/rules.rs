//! Which packets go where.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;

use super::Way;
use crate::netfilter::{Family, Rule, Test, Verdict};
use crate::tun::DEVICE;

/// The rules of `nat`: what turns connections to the forwarder's `port`, and DNS to a nameserver that
/// the stub stands in for.
pub(super) fn nat(
    way: Way,
    family: Family,
    port: u16,
    stub: &[SocketAddr],
    nameservers: &[SocketAddr],
) -> Vec<Rule> {
    let rule = |test, verdict| Rule { test, verdict };
    let mut rules = stays(family);
    // A redirection goes to this address of loopback, and to no other.
    let loopback: IpAddr = match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    if let Some(stub) = stub.iter().find(|stub| stub.ip() == loopback) {
        let to_stub = Verdict::Redirect(stub.port());
        let of_family = nameservers
            .iter()
            .map(SocketAddr::ip)
            .filter(|nameserver| nameserver.is_ipv4() == loopback.is_ipv4());
        for nameserver in of_family {
            rules.push(rule(Test::DnsUdp { nameserver }, to_stub));
            rules.push(rule(Test::DnsTcp { nameserver }, to_stub));
        }
    }
    let turned = match way {
        Way::Detour => Test::MarkedSyn { interface: DEVICE },
        Way::Redirect => Test::Tcp,
    };
    rules.push(rule(turned, Verdict::Redirect(port)));
    rules
}

/// The rules of `filter`: what goes nowhere and is not TCP is refused at once, in place of being lost.
pub(super) fn filter(family: Family) -> Vec<Rule> {
    let mut rules = stays(family);
    rules.push(Rule {
        test: Test::Tcp,
        verdict: Verdict::Return,
    });
    rules.push(Rule {
        test: Test::Any,
        verdict: Verdict::Reject,
    });
    rules
}

/// What goes to this machine's own addresses, loopback or not, is left alone.
fn stays(family: Family) -> Vec<Rule> {
    let tests = match family {
        Family::V4 => vec![Test::ToThisMachine],
        // With the redirect's routes every address counts as one of this machine: see `routes`.
        Family::V6 => own_v6().map(|ip| Test::To(ip.into())).collect(),
    };
    let verdict = Verdict::Return;
    tests
        .into_iter()
        .map(|test| Rule { test, verdict })
        .collect()
}

/// The IPv6 addresses of this machine. `::1` is one wherever there is IPv6.
pub(super) fn own_v6() -> impl Iterator<Item = Ipv6Addr> {
    let others = getifaddrs().into_iter().flatten().filter_map(|each| {
        let address = each.address?;
        Some(address.as_sockaddr_in6()?.ip())
    });
    iter::once(Ipv6Addr::LOCALHOST).chain(others.filter(|ip| !ip.is_loopback()))
}
