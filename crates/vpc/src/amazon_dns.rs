//! AmazonDNS at the addresses that are the same in every VPC (Amazon VPC User Guide, "Amazon DNS
//! server"): the last resort, taken once one of them has answered.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use link::{Command, Parent, RequestError, frame};

use crate::nameservers::DNS_PORT;
use crate::{Found, Source, relay};

/// Answers on every instance.
pub(crate) const LINK_LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253));

/// Answers on Nitro instances with IPv6.
pub(crate) const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x253));

/// The nameservers of the root, which every resolver knows: id, recursion desired, one question
/// (RFC 1035 §4.1). The id guards against nothing on a stream of our own.
const QUERY: &[u8; 17] = b"px\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01";

/// QR in the third byte of a header.
const IS_RESPONSE: u8 = 0x80;

/// RCODE in the fourth.
const RCODE: u8 = 0x0F;

/// NOERROR and NXDOMAIN: a resolver is at work. (An answer of the relay's own is SERVFAIL.)
const ANSWERS: [u8; 2] = [0, 3];

/// Asks `address` through the link.
pub(crate) async fn probe(
    parent: &Parent,
    address: IpAddr,
    source: Source,
) -> Result<Found, ProbeError> {
    let nameserver = SocketAddr::new(address, DNS_PORT);
    let mut stream = match parent.request(Command::Dns(nameserver)).await {
        Ok(accepted) => accepted.stream,
        // The same frames are DNS over TCP (RFC 7766 §8).
        Err(error) if relay::is_not_ours(&error) => {
            parent.request(Command::Connect(nameserver)).await?.stream
        }
        Err(error) => return Err(error.into()),
    };
    frame::write(&mut stream, QUERY).await?;
    let mut answer = Vec::new();
    frame::read(&mut stream, &mut answer)
        .await?
        .ok_or(ProbeError::Closed)?;
    match answer.first_chunk() {
        Some([b'p', b'x', flags, rcode]) if flags & IS_RESPONSE != 0 => {
            let rcode = rcode & RCODE;
            match ANSWERS.contains(&rcode) {
                true => Ok(Found::only(vec![nameserver], source)),
                false => Err(ProbeError::Failure { rcode }),
            }
        }
        _ => Err(ProbeError::Malformed),
    }
}

/// Why an address was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("asking it failed: {0}")]
    Io(#[from] io::Error),
    #[error("the parent closed the connection to it without an answer")]
    Closed,
    #[error("its answer is no DNS answer to the query")]
    Malformed,
    #[error("it answered with response code {rcode}")]
    Failure { rcode: u8 },
}
