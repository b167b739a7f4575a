//! What an enclave can know of its VPC: where AmazonDNS is, and who says so.
//!
//! AmazonDNS (Route 53 Resolver) answers at base + 2 of the VPC's primary IPv4 block: 10.0.0.2 for
//! 10.0.0.0/16 (Amazon VPC User Guide, "Amazon DNS server"). A DHCP option set may name other
//! servers in its place, so the parent instance's own resolv.conf is asked first. [`discover()`]
//! follows a chain of such sources and tells the stub what it finds:
//!
//! | source | how it is asked |
//! |---|---|
//! | the command line | ends the chain |
//! | the override file | [`OVERRIDE_FILE`], read |
//! | the parent's resolv.conf | RESOLV_CONF, from the relay |
//! | the old parent's getter | gRPC, through the link: the parent's resolv.conf where our relay does not run |
//! | IMDS | through the link: base + 2 of the VPC's primary block |
//! | the image's resolv.conf | if it names a server that is not loopback |
//! | 169.254.169.253, fd00:ec2::253 | a query through the link, that they must answer |

#![forbid(unsafe_code)]

mod amazon_dns;
mod base_plus_two;
mod chain;
mod discover;
#[cfg(test)]
mod fake_parent;
mod files;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod getter;
mod http;
mod imds;
mod nameservers;
mod relay;

pub use base_plus_two::{BasePlusTwoError, base_plus_two, parse_cidr};
pub use discover::{Found, Source, discover};
pub use files::{Files, OVERRIDE_FILE, read_resolv_conf};
pub use imds::{Place, PlaceError, Via, place};
pub use nameservers::{Nameservers, ParseNameserversError, nameserver_list};
