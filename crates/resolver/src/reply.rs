//! What goes back to a client: its own id, question, case and limits around an answer's bytes.

use wire::{Ede, Edns, EdnsReply, Flags, HEADER, Query, Question, Writer, opcode};

use crate::failure::Shown;
use crate::packed::{Extent, Packed, Ttls};

/// Room that a reply over TCP may need, in bytes.
pub const MAX_REPLY: usize = u16::MAX as usize;

/// Largest reply over UDP in bytes, whatever the client offers: the usual upper size of EDNS
/// buffers; more comes over TCP.
pub const MAX_UDP_REPLY: usize = 4096;

/// Largest reply to a client without EDNS (RFC 1035 section 2.3.4).
const PLAIN_UDP_REPLY: usize = 512;

/// UDP size that we offer, to clients and upstream, in bytes: what passes any path unfragmented
/// (DNS Flag Day 2020).
pub(crate) const UDP_SIZE: u16 = 1232;

/// How a query came, and so how its reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: the reply is cut to what the client takes.
    Udp,
    /// A stream.
    Tcp,
}

/// Whom a reply is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) id: u16,
    pub(crate) flags: Flags,
    pub(crate) question: Question<'a>,
    pub(crate) edns: Option<Edns>,
    pub(crate) transport: Transport,
}

/// What a reply says.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    Answer {
        packed: &'a Packed,
        ttls: Ttls,
        turn: u16,
        ede: Option<Ede<'a>>,
    },
    /// Records written out by policy; no name in them is compressed.
    Local {
        rcode: u8,
        answer: &'a [u8],
        authority: &'a [u8],
    },
    Failure(&'a Shown),
}

impl Content<'_> {
    /// The code of its Extended DNS Error, whether the client sees it or not.
    pub(crate) fn ede(&self) -> Option<u16> {
        match self {
            Self::Answer { ede, .. } => ede.map(|ede| ede.code),
            Self::Local { .. } => None,
            Self::Failure(shown) => Some(shown.code),
        }
    }
}

impl<'a> Asker<'a> {
    pub(crate) fn new(query: &Query<'a>, transport: Transport) -> Self {
        Self {
            id: query.id,
            flags: query.flags,
            question: query.question,
            edns: query.edns,
            transport,
        }
    }

    fn limit(&self) -> usize {
        match (self.transport, self.edns) {
            (Transport::Tcp, _) => MAX_REPLY,
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_size).min(MAX_UDP_REPLY),
            (Transport::Udp, None) => PLAIN_UDP_REPLY,
        }
    }

    /// Writes the reply into `out` and gives its length. One that is larger than the client takes,
    /// or than `out`, is sent with TC and, of its records, the addresses that fit, as RFC 2181
    /// section 9 allows: a client that knows no TCP, such as musl before 1.2.4, has these at least.
    pub(crate) fn reply(&self, content: Content<'_>, out: &mut [u8]) -> usize {
        let limit = self.limit().min(out.len());
        let Some(out) = out.get_mut(..limit) else {
            return 0;
        };
        let mut out = Writer::new(out);
        if self.write(&mut out, content, None).is_none() {
            out.truncate(0);
            if self.write(&mut out, content, Some(limit)).is_none() {
                return 0;
            }
        }
        out.len()
    }

    /// With `cut`, as much as fits into that many bytes.
    fn write(&self, out: &mut Writer<'_>, content: Content<'_>, cut: Option<usize>) -> Option<()> {
        let (rcode, mut counts, ede) = match content {
            Content::Answer { packed, ede, .. } => (packed.rcode(), packed.counts, ede),
            Content::Local {
                rcode,
                answer,
                authority,
            } => {
                let has = |records: &[u8]| u16::from(!records.is_empty());
                (rcode, [has(answer), has(authority), 0], None)
            }
            Content::Failure(shown) => {
                let ede = Ede {
                    code: shown.code,
                    text: &shown.text,
                };
                (shown.rcode, [0; 3], Some(ede))
            }
        };
        let opt = self.edns.map(|edns| EdnsReply {
            udp_size: UDP_SIZE,
            rcode_high: 0,
            dnssec_ok: edns.dnssec_ok,
            ede,
        });
        let mut flags =
            Flags::QR | Flags::RA | self.flags.0 & (Flags::RD | Flags::CD) | u16::from(rcode);
        let mut part = match content {
            Content::Answer { packed, .. } => packed.whole(),
            _ => Extent::default(),
        };
        if let Some(limit) = cut {
            flags |= Flags::TC;
            let fixed = HEADER + self.question.name.len() + 4 + opt.map_or(0, |opt| opt.len());
            if let Content::Answer { packed, .. } = content {
                part = packed.cut(limit.saturating_sub(fixed));
            }
            counts = part.counts;
        }
        counts[2] = counts[2].checked_add(self.edns.is_some().into())?;
        out.header(self.id, Flags(flags), [1, counts[0], counts[1], counts[2]])?;
        out.bytes(self.question.name)?;
        out.u16(self.question.qtype)?;
        out.u16(self.question.qclass)?;
        match content {
            Content::Answer {
                packed, ttls, turn, ..
            } => packed.write(out, part, ttls, turn)?,
            Content::Local {
                answer, authority, ..
            } if cut.is_none() => {
                out.bytes(answer)?;
                out.bytes(authority)?;
            }
            Content::Local { .. } | Content::Failure(_) => {}
        }
        opt.map_or(Some(()), |opt| opt.write(out))
    }
}

/// Turns a packet that is not a query to be answered into its refusal, with no records.
pub(crate) fn reject(packet: &[u8], rcode: u8, question_end: usize, out: &mut [u8]) -> usize {
    let mut out = Writer::new(out);
    let written = write_reject(packet, rcode, question_end, &mut out);
    if written.is_some() { out.len() } else { 0 }
}

fn write_reject(packet: &[u8], rcode: u8, question_end: usize, out: &mut Writer<'_>) -> Option<()> {
    let header = wire::Header::read(packet)?;
    let question = packet.get(HEADER..question_end).unwrap_or_default();
    // An extended code needs OPT for its high bits.
    let (low, high) = (rcode & 0xf, rcode >> 4);
    let echoed = header.flags.0 & (Flags::RD | Flags::CD);
    let opcode = u16::from(header.flags.opcode()) << 11;
    let available = if header.flags.opcode() == opcode::QUERY {
        Flags::RA
    } else {
        0
    };
    let flags = Flags(Flags::QR | opcode | echoed | available | u16::from(low));
    let counts = [u16::from(!question.is_empty()), 0, 0, u16::from(high > 0)];
    out.header(header.id, flags, counts)?;
    out.bytes(question)?;
    if high > 0 {
        let opt = EdnsReply {
            udp_size: UDP_SIZE,
            rcode_high: high,
            ..EdnsReply::default()
        };
        opt.write(out)?;
    }
    Some(())
}

/// The query that goes upstream: id 0, for the driver to overwrite, and OPT unless the nameserver
/// cannot read it.
pub(crate) fn upstream_query(name: &[u8], qtype: u16, cd: bool, edns: Option<bool>) -> Vec<u8> {
    let mut buffer = [0; HEADER + wire::MAX_NAME + 4 + 11];
    let mut out = Writer::new(&mut buffer);
    let flags = Flags(Flags::RD | if cd { Flags::CD } else { 0 });
    let written = || -> Option<()> {
        out.header(0, flags, [1, 0, 0, u16::from(edns.is_some())])?;
        out.bytes(name)?;
        out.u16(qtype)?;
        out.u16(wire::CLASS_IN)?;
        edns.map_or(Some(()), |dnssec_ok| {
            EdnsReply {
                udp_size: UDP_SIZE,
                dnssec_ok,
                ..EdnsReply::default()
            }
            .write(&mut out)
        })
    }();
    debug_assert!(written.is_some(), "a name has at most MAX_NAME bytes");
    out.written().to_vec()
}
