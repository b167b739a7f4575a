//! The few packets of the detour: a SYN as a program sent it, and what is answered to it or sent in
//! its place. RFC 791 and 8200 (IP), RFC 9293 (TCP), RFC 792 and 4443 (ICMP).

use std::net::{IpAddr, SocketAddr};

const VERSION_4: u8 = 4;
const VERSION_6: u8 = 6;
const HEADER_V4: usize = 20;
const HEADER_V6: usize = 40;
const HEADER_TCP: usize = 20;
const HEADER_ICMP: usize = 8;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMP_V6: u8 = 58;

const RST: u8 = 0x04;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
/// Offset of the flags in TCP's header.
const FLAGS: usize = 13;
/// Offset of TCP's checksum in its header.
const TCP_CHECKSUM: usize = 16;

/// Hops that what we send may take; it takes none.
const TTL: u8 = 64;

/// What stands before the data of an ICMP error that must not grow beyond the least MTU of IPv6
/// (RFC 4443 §2.4).
const ICMP_V6_LIMIT: usize = 1280;

/// What a packet from the device is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// The first segment of a connection.
    Syn(Syn),
    /// Another segment: of no connection that is known there.
    Segment(Segment),
    /// Another protocol.
    Other,
    /// Nothing that asks for an answer: a reset, an error, a fragment, not IP.
    Ignored,
}

/// A connection's first segment, with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Syn {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// Its sequence number: a retransmission has the same.
    pub(crate) sequence: u32,
    /// TCP's header with its options, without data.
    header: Vec<u8>,
}

/// A segment that is no SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    acknowledged: Option<u32>,
    /// What its sequence numbers cover.
    length: u32,
}

/// Why a connection cannot be, as far as ICMP can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// ENETUNREACH.
    Network,
    /// EHOSTUNREACH.
    Host,
    /// EACCES for IPv6. IPv4's errors have no such meaning: EHOSTUNREACH.
    Prohibited,
    /// ECONNREFUSED, or for protocols that have no such thing: EHOSTUNREACH.
    Port,
}

impl Packet {
    /// Reads a packet. Bytes are looked at within their bounds only.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        parse(bytes).unwrap_or(Self::Ignored)
    }
}

fn parse(bytes: &[u8]) -> Option<Packet> {
    let (source, destination, protocol, payload) = parse_ip(bytes)?;
    match protocol {
        TCP => {}
        ICMP | ICMP_V6 => return None,
        _ => return Some(Packet::Other),
    }
    let source_port = u16_at(payload, 0)?;
    let destination_port = u16_at(payload, 2)?;
    let from = SocketAddr::new(source, source_port);
    let to = SocketAddr::new(destination, destination_port);
    let sequence = u32_at(payload, 4)?;
    let acknowledged = u32_at(payload, 8)?;
    let header = usize::from(payload.get(12)? >> 4) * 4;
    let flags = *payload.get(FLAGS)?;
    if header < HEADER_TCP {
        return None;
    }
    let (header, data) = payload.split_at_checked(header)?;
    if flags & RST != 0 {
        return None;
    }
    if flags & (SYN | ACK) == SYN {
        return Some(Packet::Syn(Syn {
            from,
            to,
            sequence,
            header: header.to_vec(),
        }));
    }
    // SYN and FIN count as one byte each.
    let marks = u32::from(flags & SYN != 0) + u32::from(flags & 1 != 0);
    Some(Packet::Segment(Segment {
        from,
        to,
        sequence,
        acknowledged: (flags & ACK != 0).then_some(acknowledged),
        length: u32::try_from(data.len()).ok()?.wrapping_add(marks),
    }))
}

/// Source, destination, protocol and payload. Extension headers of IPv6 are not followed: the
/// kernel's TCP sends none.
fn parse_ip(bytes: &[u8]) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
    match bytes.first()? >> 4 {
        VERSION_4 => {
            let header = usize::from(bytes.first()? & 0x0F) * 4;
            let total = usize::from(u16_at(bytes, 2)?);
            let fragment = u16_at(bytes, 6)? & 0x3FFF;
            if header < HEADER_V4 || fragment != 0 {
                return None;
            }
            let source: [u8; 4] = *bytes.get(12..)?.first_chunk()?;
            let destination: [u8; 4] = *bytes.get(16..)?.first_chunk()?;
            let payload = bytes.get(header..total)?;
            Some((source.into(), destination.into(), *bytes.get(9)?, payload))
        }
        VERSION_6 => {
            let length = usize::from(u16_at(bytes, 4)?);
            let source: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let destination: [u8; 16] = *bytes.get(24..)?.first_chunk()?;
            let payload = bytes.get(HEADER_V6..)?.get(..length)?;
            Some((source.into(), destination.into(), *bytes.get(6)?, payload))
        }
        _ => None,
    }
}

impl Syn {
    /// Whether it is one that [`Self::marked`] made.
    pub(crate) fn is_marked(&self) -> bool {
        self.header.get(FLAGS).is_some_and(|flags| flags & PSH != 0)
    }

    /// The refusal that a kernel without such a port would give.
    pub(crate) fn refusal(&self) -> Vec<u8> {
        let header = tcp_header(
            self.to.port(),
            self.from.port(),
            0,
            self.sequence.wrapping_add(1),
            RST | ACK,
        );
        segment(self.to.ip(), self.from.ip(), header)
    }

    /// A reset of the connection by who opened it.
    pub(crate) fn withdrawal(&self) -> Vec<u8> {
        let header = tcp_header(
            self.from.port(),
            self.to.port(),
            self.sequence.wrapping_add(1),
            0,
            RST,
        );
        segment(self.from.ip(), self.to.ip(), header)
    }

    /// The same SYN with PSH.
    pub(crate) fn marked(&self) -> Vec<u8> {
        let mut header = self.header.clone();
        if let Some(flags) = header.get_mut(FLAGS) {
            *flags |= PSH;
        }
        segment(self.from.ip(), self.to.ip(), header)
    }

    /// An ICMP error about it, from where it was going.
    pub(crate) fn error(&self, why: Unreachable) -> Vec<u8> {
        let original = segment(self.from.ip(), self.to.ip(), self.header.clone());
        icmp_error(self.to.ip(), self.from.ip(), &original, why)
    }
}

impl Segment {
    /// The reset that a kernel without such a connection would give (RFC 9293 §3.10.7.1).
    pub(crate) fn reset(&self) -> Vec<u8> {
        let (sequence, acknowledge, flags) = match self.acknowledged {
            Some(acknowledged) => (acknowledged, 0, RST),
            None => (0, self.sequence.wrapping_add(self.length), RST | ACK),
        };
        let header = tcp_header(
            self.to.port(),
            self.from.port(),
            sequence,
            acknowledge,
            flags,
        );
        segment(self.to.ip(), self.from.ip(), header)
    }
}

/// The answer to a packet of a protocol that is not carried, and who gets it; `None` if it is not to be
/// answered.
pub(crate) fn rejection(packet: &[u8]) -> Option<(IpAddr, Vec<u8>)> {
    let (source, destination, ..) = parse_ip(packet)?;
    if destination.is_multicast() || source.is_unspecified() || source.is_multicast() {
        return None;
    }
    let error = icmp_error(destination, source, packet, Unreachable::Port);
    Some((source, error))
}

fn tcp_header(from: u16, to: u16, sequence: u32, acknowledge: u32, flags: u8) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_TCP);
    header.extend_from_slice(&from.to_be_bytes());
    header.extend_from_slice(&to.to_be_bytes());
    header.extend_from_slice(&sequence.to_be_bytes());
    header.extend_from_slice(&acknowledge.to_be_bytes());
    // Five words long; no window, checksum or urgent pointer yet.
    header.extend_from_slice(&[5 << 4, flags, 0, 0, 0, 0, 0, 0]);
    header
}

/// A TCP segment in a packet, with its checksum.
fn segment(from: IpAddr, to: IpAddr, mut header: Vec<u8>) -> Vec<u8> {
    set(&mut header, TCP_CHECKSUM, 0);
    let sum = checksum(&[&pseudo_header(from, to, TCP, header.len()), &header]);
    set(&mut header, TCP_CHECKSUM, sum);
    ip(from, to, TCP, &header)
}

fn icmp_error(from: IpAddr, to: IpAddr, about: &[u8], why: Unreachable) -> Vec<u8> {
    let (protocol, kind, code, quoted) = match from {
        // The header and eight bytes would do (RFC 792); a TCP header is welcome (RFC 1812 §4.3.2.3).
        IpAddr::V4(_) => {
            let code = match why {
                Unreachable::Network => 0,
                Unreachable::Host => 1,
                Unreachable::Port => 3,
                Unreachable::Prohibited => 13,
            };
            (ICMP, 3, code, ICMP_V4_LIMIT)
        }
        IpAddr::V6(_) => {
            let code = match why {
                Unreachable::Network => 0,
                Unreachable::Prohibited => 1,
                Unreachable::Host => 3,
                Unreachable::Port => 4,
            };
            (ICMP_V6, 1, code, ICMP_V6_LIMIT - HEADER_V6 - HEADER_ICMP)
        }
    };
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(about.get(..quoted).unwrap_or(about));
    let sum = match from {
        IpAddr::V4(_) => checksum(&[&message]),
        IpAddr::V6(_) => checksum(&[&pseudo_header(from, to, protocol, message.len()), &message]),
    };
    set(&mut message, 2, sum);
    ip(from, to, protocol, &message)
}

/// What of a packet is quoted to its sender: the error stays within 576 bytes (RFC 1812 §4.3.2.3).
const ICMP_V4_LIMIT: usize = 576 - HEADER_V4 - HEADER_ICMP;

/// A packet of one header and a payload, both of our making and far below 64 KiB.
fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER_V6 + payload.len());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend_from_slice(&[VERSION_4 << 4 | 5, 0]);
            packet.extend_from_slice(&narrow(HEADER_V4 + payload.len()).to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0, 0, TTL, protocol, 0, 0]);
            packet.extend_from_slice(&from.octets());
            packet.extend_from_slice(&to.octets());
            let sum = checksum(&[&packet]);
            set(&mut packet, 10, sum);
        }
        (from, to) => {
            packet.extend_from_slice(&[VERSION_6 << 4, 0, 0, 0]);
            packet.extend_from_slice(&narrow(payload.len()).to_be_bytes());
            packet.extend_from_slice(&[protocol, TTL]);
            packet.extend_from_slice(&octets(from));
            packet.extend_from_slice(&octets(to));
        }
    }
    packet.extend_from_slice(payload);
    packet
}

fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut header = octets(from);
    header.extend_from_slice(&octets(to));
    header.extend_from_slice(&[0, protocol]);
    header.extend_from_slice(&narrow(length).to_be_bytes());
    header
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The Internet checksum (RFC 1071) of pieces, of which all but the last have an even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for word in pieces.iter().flat_map(|piece| piece.chunks(2)) {
        let [high, low] = [word.first(), word.get(1)].map(|byte| byte.copied().unwrap_or(0));
        sum += u32::from(u16::from_be_bytes([high, low]));
    }
    while let carry @ 1.. = sum >> 16 {
        sum = (sum & 0xFFFF) + carry;
    }
    !u16::try_from(sum).unwrap_or(0)
}

fn set(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *field = value.to_be_bytes();
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn narrow(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
