//! What an address is, by itself and by the name that it was found under.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::name::Kind;

/// What traffic to an address meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nature {
    /// A service's own name, at addresses within the VPC.
    InterfaceEndpoint,
    /// An endpoint's regional or zonal name.
    EndpointName,
    /// Another party's service behind PrivateLink.
    EndpointService,
    /// Within the VPC, under a name that is not AWS's: a host, or a private hosted zone's.
    InVpc,
    /// A private address outside the VPC: peering, a transit gateway, Direct Connect.
    PrivateElsewhere,
    /// A private address where the VPC's blocks are not known.
    PrivateSomewhere,
    /// S3 or DynamoDB at a public address, as a gateway endpoint leaves it.
    Gateway,
    /// This machine.
    Loopback,
    /// Everything else.
    Public,
}

impl Nature {
    /// Whether traffic stays off the internet whatever the route table says.
    pub(crate) fn is_private(self) -> bool {
        !matches!(self, Self::Gateway | Self::Loopback | Self::Public)
    }
}

impl fmt::Display for Nature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::InterfaceEndpoint => "interface endpoint",
            Self::EndpointName => "endpoint's own name",
            Self::EndpointService => "endpoint service",
            Self::InVpc => "in the VPC",
            Self::PrivateElsewhere => "private, outside the VPC",
            Self::PrivateSomewhere => "private, VPC's blocks unknown",
            Self::Gateway => "gateway service",
            Self::Loopback => "loopback",
            Self::Public => "public",
        })
    }
}

/// What is known of where addresses are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    /// The VPC's blocks, IPv4 and IPv6.
    pub(crate) blocks: Vec<IpNet>,
    /// Addresses that zonal names gave, with their zone.
    pub(crate) zones: HashMap<IpAddr, String>,
    /// Addresses of endpoints of endpoint services.
    pub(crate) services: Vec<IpAddr>,
}

impl Map {
    /// Judges `address`, found under the names of one chain from the one asked for to its last target.
    pub(crate) fn judge(&self, address: IpAddr, chain: &[Kind]) -> Nature {
        let address = address.to_canonical();
        let is = |wanted: fn(&Kind) -> bool| chain.iter().any(wanted);
        if address.is_loopback() || address.is_unspecified() {
            return Nature::Loopback;
        }
        let is_in_vpc = self.blocks.iter().any(|block| block.contains(&address));
        if !is_in_vpc && !is_private(address) {
            let is_gateway = is(|kind| *kind == Kind::Gateway);
            return if is_gateway {
                Nature::Gateway
            } else {
                Nature::Public
            };
        }
        let is_service = is(|kind| {
            matches!(
                kind,
                Kind::Endpoint {
                    is_service: true,
                    ..
                }
            )
        });
        if is_service || self.services.contains(&address) {
            return Nature::EndpointService;
        }
        if is(|kind| matches!(kind, Kind::Endpoint { .. })) {
            return Nature::EndpointName;
        }
        let is_aws = is(|kind| matches!(kind, Kind::Service | Kind::Gateway));
        match (is_in_vpc, self.blocks.is_empty(), is_aws) {
            (true, _, true) => Nature::InterfaceEndpoint,
            (true, _, false) => Nature::InVpc,
            (false, true, _) => Nature::PrivateSomewhere,
            (false, false, _) => Nature::PrivateElsewhere,
        }
    }
}

/// Whether no packet to this address crosses the internet: RFC 1918, RFC 6598, RFC 3927, RFC 4193 and
/// RFC 4291 §2.5.6.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            v4.is_private() || v4.is_link_local() || is_shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(map: &Map, name: &str, address: &str) -> Nature {
        map.judge(address.parse().unwrap(), &[Kind::of(name)])
    }

    fn map() -> Map {
        Map {
            blocks: vec![
                "10.0.0.0/16".parse().unwrap(),
                "2600:1f18::/56".parse().unwrap(),
            ],
            services: vec!["10.0.1.40".parse().unwrap()],
            ..Map::default()
        }
    }

    #[test]
    fn an_address_is_judged_by_where_it_is_and_whose_it_is() {
        let ec2 = "ec2.us-east-1.amazonaws.com";
        let s3 = "s3.us-east-1.amazonaws.com";
        let own = "vpce-0123-abcd.ec2.us-east-1.vpce.amazonaws.com";
        let service = "vpce-0123-abcd.vpce-svc-0fed.us-east-1.vpce.amazonaws.com";
        for (name, address, nature) in [
            (ec2, "10.0.1.17", Nature::InterfaceEndpoint),
            (ec2, "2600:1f18::17", Nature::InterfaceEndpoint),
            (s3, "10.0.1.21", Nature::InterfaceEndpoint),
            (ec2, "10.1.1.17", Nature::PrivateElsewhere),
            (ec2, "100.64.0.1", Nature::PrivateElsewhere),
            (ec2, "100.128.0.1", Nature::Public),
            (ec2, "fd00:ec2:7::17", Nature::PrivateElsewhere),
            (ec2, "3.218.180.17", Nature::Public),
            (ec2, "::ffff:3.218.180.17", Nature::Public),
            (ec2, "::ffff:10.0.1.17", Nature::InterfaceEndpoint),
            (ec2, "127.0.0.1", Nature::Loopback),
            (ec2, "0.0.0.0", Nature::Loopback),
            (s3, "52.216.8.45", Nature::Gateway),
            (own, "10.0.1.17", Nature::EndpointName),
            (own, "3.218.180.17", Nature::Public),
            (service, "10.0.1.41", Nature::EndpointService),
            ("keys.partner.example", "10.0.1.40", Nature::EndpointService),
            ("kv.kv.internal", "10.0.1.50", Nature::InVpc),
            ("kv.kv.internal", "192.168.0.50", Nature::PrivateElsewhere),
        ] {
            assert_eq!(judge(&map(), name, address), nature, "{name} {address}");
        }
    }

    #[test]
    fn without_blocks_nothing_is_called_an_endpoint() {
        let map = Map::default();
        let name = "ec2.us-east-1.amazonaws.com";
        assert_eq!(judge(&map, name, "10.0.1.17"), Nature::PrivateSomewhere);
        assert_eq!(judge(&map, name, "3.218.180.17"), Nature::Public);
    }

    #[test]
    fn an_alias_of_s3_is_s3() {
        let chain = [
            Kind::of("bucket.example"),
            Kind::of("s3-r-w.us-east-1.amazonaws.com"),
        ];
        let nature = map().judge("52.216.58.210".parse().unwrap(), &chain);
        assert_eq!(nature, Nature::Gateway);
    }
}
