//! A query on its way: what is sent, which replies are its own, and what failing looks like.

use std::net::SocketAddr;

use rand::random;
use wire::{Ede, EdnsReply, Flags, Header, Malformed, Message, Writer, rcode, set_id};

/// The longest query that is sent, in bytes: what every server takes over UDP (RFC 1035 §2.3.4). The
/// stub's are at most 282: header, the longest question, OPT without options. As 1,024 of a
/// connection may wait, this also bounds its memory.
const MAX_QUERY: usize = 512;

/// The UDP size that our OPT records announce: what fits everywhere (DNS flag day 2020).
const UDP_SIZE: u16 = 1232;

/// The longest text of an Extended DNS Error that is sent, in bytes: a line, not a story.
const MAX_TEXT: usize = 128;

/// Bits of a query that a response repeats: opcode, RD and CD (RFC 1035 §4.1.1, RFC 4035 §3.2.2).
const REPEATED: u16 = 0x7800 | Flags::RD | Flags::CD;

/// Type and class behind a question's name, in bytes.
const TYPE_AND_CLASS: usize = 4;

/// What a frame from the enclave holds.
#[derive(Debug)]
pub(super) enum Frame {
    /// To be sent.
    Query(Query),
    /// Cannot be matched with a reply, or is too long, so it is answered here, with FORMERR.
    Unreadable(Vec<u8>),
    /// No header, or a response.
    NotAQuery,
}

/// One query, with an id of its own (RFC 5452 §9.2): the enclave's ids are counted, not random.
#[derive(Debug)]
pub(super) struct Query {
    bytes: Vec<u8>,
    client_id: u16,
    id: u16,
    flags: Flags,
    /// Bytes of header and question.
    question_end: usize,
    /// DO, if the query had an OPT record.
    dnssec_ok: Option<bool>,
}

impl Frame {
    pub(super) fn parse(frame: &[u8]) -> Self {
        match (Header::read(frame), Message::parse(frame)) {
            (Some(header), _) if header.flags.has(Flags::QR) => Self::NotAQuery,
            (None, _) | (_, Err(Malformed::Header)) => Self::NotAQuery,
            (Some(header), Ok(message)) if frame.len() <= MAX_QUERY => {
                Self::Query(Query::new(frame, &header, &message))
            }
            (Some(header), _) => Self::Unreadable(format_error(&header)),
        }
    }
}

impl Query {
    fn new(frame: &[u8], header: &Header, message: &Message<'_>) -> Self {
        let id = random();
        let mut bytes = frame.to_vec();
        set_id(&mut bytes, id);
        Self {
            bytes,
            client_id: header.id,
            id,
            flags: header.flags,
            question_end: message.records_at(),
            dnssec_ok: message.edns.map(|edns| edns.dnssec_ok),
        }
    }

    /// What goes to the nameserver.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether this is the nameserver's reply to this query: id, QR, opcode and question agree. A
    /// server that could not read the query may leave the question out (RFC 1035 §4.1.1, and what
    /// servers without EDNS do); a reply with data may not.
    pub(super) fn is_answered_by(&self, reply: &[u8]) -> bool {
        let Some(header) = Header::read(reply) else {
            return false;
        };
        let agrees = header.id == self.id
            && header.flags.has(Flags::QR)
            && header.flags.opcode() == self.flags.opcode();
        let failed = !matches!(header.flags.rcode(), rcode::NOERROR | rcode::NXDOMAIN);
        match header.counts {
            [0, 0, 0, _] => agrees && failed,
            [1, ..] => agrees && self.same_question(reply).unwrap_or(false),
            _ => false,
        }
    }

    /// The reply as the enclave gets it: with the id that it sent.
    pub(super) fn restore(&self, mut reply: Vec<u8>) -> Vec<u8> {
        set_id(&mut reply, self.client_id);
        reply
    }

    /// SERVFAIL, with the reason for a client that sent OPT (RFC 8914).
    pub(super) fn servfail(&self, code: u16, text: &str) -> Vec<u8> {
        let end = text.floor_char_boundary(MAX_TEXT);
        let ede = Ede {
            code,
            text: text.get(..end).unwrap_or_default(),
        };
        let opt = self.dnssec_ok.map(|dnssec_ok| EdnsReply {
            udp_size: UDP_SIZE,
            rcode_high: 0,
            dnssec_ok,
            ede: Some(ede),
        });
        let question = self
            .bytes
            .get(wire::HEADER..self.question_end)
            .unwrap_or_default();
        failure(
            self.client_id,
            self.flags,
            rcode::SERVFAIL,
            question,
            opt.as_ref(),
        )
    }

    /// Names are equal without regard to case (RFC 4343); type and class are numbers. A question is
    /// the first name of its message, so it is never compressed.
    fn same_question(&self, reply: &[u8]) -> Option<bool> {
        let name_end = self.question_end.checked_sub(TYPE_AND_CLASS)?;
        let name = |bytes: &[u8]| {
            bytes
                .get(wire::HEADER..name_end)
                .map(<[u8]>::to_ascii_lowercase)
        };
        let numbers = name_end..self.question_end;
        Some(
            name(reply)? == name(&self.bytes)?
                && reply.get(numbers.clone())? == self.bytes.get(numbers)?,
        )
    }
}

/// Whether a reply was cut and the whole must be asked for over TCP.
pub(super) fn is_truncated(reply: &[u8]) -> bool {
    Header::read(reply).is_some_and(|header| header.flags.has(Flags::TC))
}

/// "203.0.113.7:53 did not answer" and the like, on one line.
pub(super) fn reason(nameserver: SocketAddr, what: impl std::fmt::Display) -> String {
    format!("{nameserver}: {what}")
}

fn format_error(header: &Header) -> Vec<u8> {
    failure(header.id, header.flags, rcode::FORMERR, &[], None)
}

fn failure(
    id: u16,
    asked: Flags,
    rcode: u8,
    question: &[u8],
    opt: Option<&EdnsReply<'_>>,
) -> Vec<u8> {
    let flags = Flags(Flags::QR | Flags::RA | asked.0 & REPEATED | u16::from(rcode));
    let counts = [
        u16::from(!question.is_empty()),
        0,
        0,
        u16::from(opt.is_some()),
    ];
    let mut bytes = vec![0; wire::HEADER + question.len() + opt.map_or(0, EdnsReply::len)];
    let mut out = Writer::new(&mut bytes);
    // The buffer was made to measure.
    let _ = out.header(id, flags, counts);
    let _ = out.bytes(question);
    let _ = opt.map(|opt| opt.write(&mut out));
    let length = out.len();
    bytes.truncate(length);
    bytes
}
