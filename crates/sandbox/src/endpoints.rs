//! The VPC's interface endpoints, as zone text.
//!
//! An endpoint has one network interface in each zone, so its names have one private address a zone; with private
//! DNS the service's own name has them too. Without the endpoint that name has public addresses, and the endpoint's
//! own names do not exist (AWS PrivateLink Guide, "Access AWS services through interface endpoints").

use std::fmt::Write as _;

use crate::addresses::VpcCidr;

/// The region that all names are in.
const REGION: &str = "us-east-1";

/// Seconds that an endpoint's records live, as AWS has it.
const TTL: u32 = 60;

/// A service with an interface endpoint. Its addresses are `.host` of the VPC's subnets 1 and 2.
pub(crate) struct Service {
    /// As in `NAME.us-east-1.amazonaws.com`.
    pub(crate) name: &'static str,
    host: u8,
}

/// Every service that `--without-endpoint` takes.
pub(crate) const SERVICES: [Service; 11] = [
    Service {
        name: "sns",
        host: 11,
    },
    Service {
        name: "sqs",
        host: 12,
    },
    Service {
        name: "logs",
        host: 13,
    },
    Service {
        name: "ssm",
        host: 14,
    },
    Service {
        name: "ssmmessages",
        host: 15,
    },
    Service {
        name: "autoscaling",
        host: 16,
    },
    Service {
        name: "ec2",
        host: 17,
    },
    Service {
        name: "ec2messages",
        host: 18,
    },
    Service {
        name: "xray",
        host: 19,
    },
    Service {
        name: "aps-workspaces",
        host: 20,
    },
    Service {
        name: "s3",
        host: 21,
    },
];

impl Service {
    /// The names that the endpoint makes, as RFC 1035 master file entries.
    pub(crate) fn with_endpoint(&self, vpc: VpcCidr) -> String {
        let (a, b) = (vpc.at(1, self.host), vpc.at(2, self.host));
        let id = format!("vpce-0123456789abcde{}", self.host);
        let suffix = "a1b2c3d4";
        let domain = format!("{}.{REGION}.vpce.amazonaws.com.", self.name);
        let regional = format!("{id}-{suffix}.{domain}");
        let mut entries = vec![
            (regional.clone(), a),
            (regional.clone(), b),
            (format!("{id}-{suffix}-{REGION}a.{domain}"), a),
            (format!("{id}-{suffix}-{REGION}b.{domain}"), b),
        ];
        if self.name == "s3" {
            // S3's own name stays the gateway endpoint's; its interface endpoint is reached by prefixed names.
            for prefix in [
                "bucket",
                "*.bucket",
                "accesspoint",
                "*.accesspoint",
                "control",
                "*.control",
            ] {
                entries.extend([
                    (format!("{prefix}.{regional}"), a),
                    (format!("{prefix}.{regional}"), b),
                ]);
            }
        } else {
            entries.extend([(self.service_name(), a), (self.service_name(), b)]);
        }
        render(&entries)
    }

    /// The names that are left without the endpoint.
    pub(crate) fn without_endpoint(&self) -> String {
        if self.name == "s3" {
            return String::new();
        }
        render(&[
            (self.service_name(), [3, 218, 180, self.host].into()),
            (self.service_name(), [3, 218, 181, self.host].into()),
        ])
    }

    /// The names of the endpoint's network interfaces, forward and reverse, which AmazonDNS gives each address of the
    /// VPC.
    pub(crate) fn interfaces(&self, vpc: VpcCidr) -> String {
        interface_names(vpc.at(1, self.host)) + &interface_names(vpc.at(2, self.host))
    }

    fn service_name(&self) -> String {
        format!("{}.{REGION}.amazonaws.com.", self.name)
    }
}

/// `ip-10-0-1-17.ec2.internal` and the way back.
pub(crate) fn interface_names(address: std::net::Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!(
        "ip-{a}-{b}-{c}-{d}.ec2.internal. {TTL} IN A {address}\n\
         {d}.{c}.{b}.{a}.in-addr.arpa. {TTL} IN PTR ip-{a}-{b}-{c}-{d}.ec2.internal.\n"
    )
}

fn render(entries: &[(String, std::net::Ipv4Addr)]) -> String {
    entries
        .iter()
        .fold(String::new(), |mut text, (name, address)| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} {TTL} IN A {address}");
            text
        })
}
