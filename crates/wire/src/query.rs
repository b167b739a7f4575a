//! A client's query (RFC 1035 section 4.1, RFC 6891 for OPT).

use crate::edns::Edns;
use crate::header::{Flags, HEADER, Header, opcode, rcode};
use crate::message::Record;
use crate::name::MAX_NAME;
use crate::reader::Reader;
use crate::rtype;

/// A query with one question.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// To be repeated in the reply.
    pub id: u16,
    /// RD and CD are repeated in the reply.
    pub flags: Flags,
    /// What is asked.
    pub question: Question<'a>,
    /// The client's OPT, if it sent one.
    pub edns: Option<Edns>,
}

/// The question as the client wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Name on the wire, in the client's case, with its root; never compressed.
    pub name: &'a [u8],
    /// Type asked for.
    pub qtype: u16,
    /// Class asked for.
    pub qclass: u16,
}

/// Why a packet is not a query to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// No whole header, or a response: an answer could feed a loop, so there is none.
    Ignore,
    /// To be answered with this response code and no records. `question_end` is the length of
    /// header and question where those could be read, so that both can be repeated; else 0.
    Reject {
        /// One of [`rcode`]'s constants.
        rcode: u8,
        /// Length in bytes of what can be repeated.
        question_end: usize,
    },
}

impl<'a> Query<'a> {
    /// Parses a whole packet.
    ///
    /// # Errors
    /// [`QueryError`]: FORMERR for what cannot be read, NOTIMP for another opcode, BADVERS for
    /// another EDNS version.
    pub fn parse(packet: &'a [u8]) -> Result<Self, QueryError> {
        let header = Header::read(packet).ok_or(QueryError::Ignore)?;
        if header.flags.has(Flags::QR) {
            return Err(QueryError::Ignore);
        }
        let reject = |rcode, question_end| QueryError::Reject {
            rcode,
            question_end,
        };
        if header.flags.opcode() != opcode::QUERY {
            return Err(reject(rcode::NOTIMP, 0));
        }
        let [1, 0, 0, additional] = header.counts else {
            return Err(reject(rcode::FORMERR, 0));
        };
        let mut reader = Reader::new(packet, HEADER);
        let question = Question::read(&mut reader).ok_or(reject(rcode::FORMERR, 0))?;
        let end = reader.at();
        let mut edns = None;
        for _ in 0..additional {
            let record = Record::read(&mut reader, packet).ok_or(reject(rcode::FORMERR, end))?;
            if record.rtype != rtype::OPT {
                continue;
            }
            // One OPT, owned by the root (RFC 6891 section 6.1.1).
            let opt = record.edns().ok_or(reject(rcode::FORMERR, end))?;
            if edns.replace(opt).is_some() {
                return Err(reject(rcode::FORMERR, end));
            }
        }
        if !reader.is_empty() {
            return Err(reject(rcode::FORMERR, end));
        }
        if edns.is_some_and(|opt| opt.version != 0) {
            return Err(reject(rcode::BADVERS, end));
        }
        Ok(Self {
            id: header.id,
            flags: header.flags,
            question,
            edns,
        })
    }
}

impl<'a> Question<'a> {
    /// Reads an uncompressed question.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut name = *reader;
        let mut length = 0;
        loop {
            let label = usize::from(name.u8()?);
            length += 1 + label;
            // A pointer has nothing before it to lead to; 64 and more are reserved label types.
            if label > 63 || length > MAX_NAME {
                return None;
            }
            if label == 0 {
                break;
            }
            name.take(label)?;
        }
        Some(Self {
            name: reader.take(length)?,
            qtype: reader.u16()?,
            qclass: reader.u16()?,
        })
    }
}
