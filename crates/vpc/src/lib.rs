//! What an enclave can know of its VPC: where AmazonDNS is, and who says so.
//!
//! AmazonDNS (Route 53 Resolver) answers at base + 2 of the VPC's primary IPv4 block: 10.0.0.2 for
//! 10.0.0.0/16 (Amazon VPC User Guide, "Amazon DNS server"). A DHCP option set may name other
//! servers in its place, so the parent instance's own resolv.conf is asked first. [`discover()`]
//! follows a chain of such sources and tells the stub what it finds; the first that is given on the
//! command line ends the chain.

#![forbid(unsafe_code)]

mod base_plus_two;
mod discover;
mod nameservers;
mod relay;

pub use base_plus_two::{BasePlusTwoError, base_plus_two, parse_cidr};
pub use discover::{Found, Source, discover};
pub use nameservers::{Nameservers, ParseNameserversError};
