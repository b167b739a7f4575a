//! The names that the servers are asked for. What stands behind a name is known from its first letter,
//! so that a million names are no data.

use hickory_proto::rr::RecordType;
use wire::{CLASS_IN, EdnsReply, Flags, HEADER, Query, Question, Writer, rcode, rtype};

use crate::questions::Asked;

/// What stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One IPv4 and one IPv6 address.
    Host,
    /// The same, for names that are asked once.
    Fresh,
    /// The same, asked with DO.
    Secure,
    /// 20 addresses.
    Twenty,
    /// Text, 1,200 bytes of reply.
    Large,
    /// Two CNAMEs and an address.
    Alias,
    /// Nothing: NXDOMAIN.
    Absent,
}

/// Kinds of answers that are asked for together, with what a person calls them.
pub(crate) const MIXED: [(Kind, &str); 5] = [
    (Kind::Twenty, "20 addresses"),
    (Kind::Large, "1,200 bytes"),
    (Kind::Secure, "EDNS with DO"),
    (Kind::Absent, "NXDOMAIN"),
    (Kind::Alias, "CNAME chain"),
];

/// Of all names, under which no server has data or rules of its own.
const ZONE: &str = "svc.example.com.";

/// `svc.example.com.` on the wire.
const ZONE_WIRE: &[u8] = b"\x03svc\x07example\x03com\0";

/// Seconds; longer than any run, so that nothing expires under way.
const TTL: u32 = 86_400;

/// Length of the text of [`Kind::Large`]: with header, question, record and OPT 1,200 bytes.
const TEXT: usize = 1135;

/// Longest string in a TXT record.
const STRING: usize = 255;

impl Kind {
    pub(crate) const fn letter(self) -> u8 {
        match self {
            Self::Host => b'h',
            Self::Fresh => b'f',
            Self::Secure => b'd',
            Self::Twenty => b't',
            Self::Large => b'l',
            Self::Alias => b'c',
            Self::Absent => b'n',
        }
    }

    /// The response code of the right answer.
    pub(crate) const fn rcode(self) -> u8 {
        match self {
            Self::Absent => rcode::NXDOMAIN,
            _ => rcode::NOERROR,
        }
    }

    /// The name with this number, and how it is asked for.
    pub(crate) fn asked(self, number: usize) -> Asked {
        Asked {
            name: format!("{}{number:07}.{ZONE}", char::from(self.letter())),
            rtype: match self {
                Self::Large => RecordType::TXT,
                _ => RecordType::A,
            },
            edns: match self {
                Self::Host | Self::Fresh => None,
                Self::Secure => Some(true),
                _ => Some(false),
            },
            rcode: self.rcode(),
        }
    }
}

/// The zone's answer, over UDP or TCP, and its length; none to what is no query.
pub(crate) fn answer(packet: &[u8], out: &mut [u8]) -> Option<usize> {
    let query = Query::parse(packet).ok()?;
    let mut out = Writer::new(out);
    out.bytes(&[0; HEADER])?;
    out.bytes(query.question.name)?;
    out.u16(query.question.qtype)?;
    out.u16(query.question.qclass)?;
    let (code, answers) = records(&query.question, &mut out)?;
    let denies = answers == 0;
    if denies {
        soa(&mut out)?;
    }
    if query.edns.is_some() {
        EdnsReply {
            udp_size: 1232,
            ..EdnsReply::default()
        }
        .write(&mut out)?;
    }
    let flags = Flags(Flags::QR | Flags::RA | query.flags.0 & Flags::RD | u16::from(code));
    let counts = [
        1,
        answers,
        u16::from(denies),
        u16::from(query.edns.is_some()),
    ];
    let mut header = Writer::new(out.written());
    header.header(query.id, flags, counts)?;
    Some(out.len())
}

/// Writes the answer's records and gives the response code and their number.
fn records(question: &Question<'_>, out: &mut Writer<'_>) -> Option<(u8, u16)> {
    let name = question.name;
    let letter = name.get(1).copied().unwrap_or(0).to_ascii_lowercase();
    // In any case: some servers mix it, to see whether it comes back.
    let end = name
        .len()
        .checked_sub(ZONE_WIRE.len())
        .and_then(|at| name.get(at..));
    let is_ours = end.is_some_and(|end| end.eq_ignore_ascii_case(ZONE_WIRE));
    let at_name = 0xc000 | u16::try_from(HEADER).ok()?;
    let is_text = question.qtype == 16;
    match letter {
        _ if !is_ours => Some((rcode::NOERROR, 0)),
        b'n' => Some((rcode::NXDOMAIN, 0)),
        b'l' if is_text => {
            text(at_name, out)?;
            Some((rcode::NOERROR, 1))
        }
        b'c' | b'x' | b'y' => {
            let mut answers = 0;
            let mut owner = at_name;
            for next in *b"xy" {
                if letter < next || letter == b'c' {
                    owner = alias(owner, next, name, out)?;
                    answers += 1;
                }
            }
            let own = address(owner, question.qtype, 17, out)?;
            Some((rcode::NOERROR, answers + own))
        }
        b't' if question.qtype == rtype::A => {
            for last in 1..=20 {
                address(at_name, rtype::A, last, out)?;
            }
            Some((rcode::NOERROR, 20))
        }
        b'h' | b'f' | b'd' => Some((rcode::NOERROR, address(at_name, question.qtype, 17, out)?)),
        _ => Some((rcode::NOERROR, 0)),
    }
}

/// Writes a record's owner, as a pointer, type, class, TTL and the length of its data.
fn record(owner: u16, rtype: u16, length: usize, out: &mut Writer<'_>) -> Option<()> {
    out.u16(owner)?;
    out.u16(rtype)?;
    out.u16(CLASS_IN)?;
    out.u32(TTL)?;
    out.u16(u16::try_from(length).ok()?)
}

/// An address of the type asked for; without one of that type, nothing.
fn address(owner: u16, qtype: u16, last: u8, out: &mut Writer<'_>) -> Option<u16> {
    let mut ip = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let rdata: &[u8] = match qtype {
        rtype::A => {
            ip[..4].copy_from_slice(&[10, 0, 1, last]);
            &ip[..4]
        }
        rtype::AAAA => &ip,
        _ => return Some(0),
    };
    record(owner, qtype, rdata.len(), out)?;
    out.bytes(rdata)?;
    Some(1)
}

/// A CNAME to the question's name with another first letter; gives the pointer to that.
fn alias(owner: u16, letter: u8, name: &[u8], out: &mut Writer<'_>) -> Option<u16> {
    let label = usize::from(*name.first()?) + 1;
    let parent = u16::try_from(HEADER + label).ok()?;
    record(owner, rtype::CNAME, label + 2, out)?;
    let target = u16::try_from(out.len()).ok()?;
    out.u8(*name.first()?)?;
    out.u8(letter)?;
    out.bytes(name.get(2..label)?)?;
    out.u16(0xc000 | parent)?;
    Some(0xc000 | target)
}

fn text(owner: u16, out: &mut Writer<'_>) -> Option<()> {
    record(owner, 16, TEXT, out)?;
    let mut left = TEXT;
    while left > 0 {
        let length = (left - 1).min(STRING);
        out.u8(u8::try_from(length).ok()?)?;
        out.bytes(&[b'a'; STRING][..length])?;
        left -= 1 + length;
    }
    Some(())
}

fn soa(out: &mut Writer<'_>) -> Option<()> {
    let zone = 0xc000 | u16::try_from(out.len()).ok()?;
    out.bytes(ZONE_WIRE)?;
    out.u16(rtype::SOA)?;
    out.u16(CLASS_IN)?;
    out.u32(TTL)?;
    let numbers = [1, 1200, 300, TTL, TTL];
    out.u16(u16::try_from(2 + 6 + 2 + 4 * numbers.len()).ok()?)?;
    out.u16(zone)?;
    out.bytes(b"\x05admin")?;
    out.u16(zone)?;
    numbers.iter().try_for_each(|number| out.u32(*number))
}

#[cfg(test)]
mod tests;
