//! What is asked, and what a right answer to it is.

use std::fs;
use std::path::Path;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question};
use hickory_proto::rr::{Name, RecordType};
use wire::{Flags, HEADER, Header, rcode};

use crate::failure::Failure;

/// UDP size that queries with EDNS offer, in bytes: what passes any path unfragmented (DNS Flag Day
/// 2020).
const UDP_SIZE: u16 = 1232;

/// Queries, ready to be sent but for their id.
pub(crate) struct Questions {
    /// All packets, one behind the other.
    bytes: Vec<u8>,
    each: Vec<Place>,
}

struct Place {
    start: usize,
    end: usize,
    /// Where the packet's question ends, from its start.
    question_end: usize,
    rcode: u8,
}

/// A name, and how it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) rtype: RecordType,
    /// With EDNS; and whether with DO.
    pub(crate) edns: Option<bool>,
    /// The response code of the right answer.
    pub(crate) rcode: u8,
}

/// One query.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) packet: &'a [u8],
    question_end: usize,
    rcode: u8,
}

impl Questions {
    pub(crate) fn new(asked: impl IntoIterator<Item = Asked>) -> Result<Self, Failure> {
        let mut questions = Self {
            bytes: Vec::new(),
            each: Vec::new(),
        };
        for asked in asked {
            questions.add(&asked)?;
        }
        match questions.each.is_empty() {
            true => Err(Failure::NoNames),
            false => Ok(questions),
        }
    }

    /// Reads `NAME [TYPE [RCODE]]` lines; TYPE is A and RCODE 0 where they are not given.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|source| Failure::io(format!("cannot read {}", path.display()), source))?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        Self::new(lines.map(Asked::from_line).collect::<Result<Vec<_>, _>>()?)
    }

    fn add(&mut self, asked: &Asked) -> Result<(), Failure> {
        let bad = || Failure::BadName {
            text: asked.name.clone(),
        };
        let name = Name::from_ascii(&asked.name).map_err(|_| bad())?;
        let mut message = Message::new(0, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        let question_end = HEADER + name.len() + 4;
        message.add_query(Question::query(name, asked.rtype));
        message.edns = asked.edns.map(|dnssec_ok| {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_SIZE).set_dnssec_ok(dnssec_ok);
            edns
        });
        let packet = message.to_vec().map_err(|_| bad())?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&packet);
        self.each.push(Place {
            start,
            end: self.bytes.len(),
            question_end,
            rcode: asked.rcode,
        });
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.each.len()
    }

    /// The query at `index`, counted on from the start behind the last.
    pub(crate) fn at(&self, index: usize) -> Query<'_> {
        let place = &self.each[index % self.each.len()];
        Query {
            packet: &self.bytes[place.start..place.end],
            question_end: place.question_end,
            rcode: place.rcode,
        }
    }
}

impl Asked {
    fn from_line(line: &str) -> Result<Self, Failure> {
        let bad = || Failure::BadName {
            text: line.to_owned(),
        };
        let mut words = line.split_whitespace();
        let name = words.next().ok_or_else(bad)?.to_owned();
        let rtype = words.next().unwrap_or("A").parse().map_err(|_| bad())?;
        let rcode = words.next().unwrap_or("0").parse().map_err(|_| bad())?;
        Ok(Self {
            name,
            rtype,
            edns: None,
            rcode,
        })
    }
}

impl Query<'_> {
    /// Whether `reply`, whose id is right, repeats the question, has the response code that it should, and
    /// records if that is NOERROR.
    pub(crate) fn is_answered_by(self, reply: &[u8]) -> bool {
        let Some(header) = Header::read(reply) else {
            return false;
        };
        let question = HEADER..self.question_end;
        header.flags.has(Flags::QR)
            && !header.flags.has(Flags::TC)
            && header.flags.0.to_be_bytes()[1] & 0xf == self.rcode
            && (self.rcode != rcode::NOERROR || header.counts[1] > 0)
            && reply.get(question.clone()) == self.packet.get(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> Questions {
        Questions::new([Asked::from_line("Host.example.com A 0").unwrap()]).unwrap()
    }

    fn reply_to(packet: &[u8]) -> Vec<u8> {
        let mut reply = packet.to_vec();
        reply[2] |= 0x80;
        reply[7] = 1;
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 1, 17]);
        reply
    }

    #[test]
    fn a_right_answer_has_question_code_and_records() {
        let questions = query();
        let query = questions.at(0);
        let right = reply_to(query.packet);
        assert!(query.is_answered_by(&right));
        type Spoil = fn(&mut Vec<u8>);
        let wrong: [(&str, Spoil); 6] = [
            ("a query", |reply| reply[2] &= !0x80),
            ("cut", |reply| reply[2] |= 0x02),
            ("SERVFAIL", |reply| reply[3] |= 2),
            ("empty", |reply| reply[7] = 0),
            ("another name", |reply| reply[14] ^= 1),
            ("no whole question", |reply| reply.truncate(20)),
        ];
        for (what, spoil) in wrong {
            let mut reply = right.clone();
            spoil(&mut reply);
            assert!(!query.is_answered_by(&reply), "{what}");
        }
    }

    #[test]
    fn a_line_may_leave_type_and_code_out() {
        assert_eq!(
            Asked::from_line("x.example AAAA 3").unwrap(),
            Asked {
                name: "x.example".to_owned(),
                rtype: RecordType::AAAA,
                edns: None,
                rcode: 3
            }
        );
        assert_eq!(Asked::from_line("x.example").unwrap().rtype, RecordType::A);
        assert!(Asked::from_line("x.example NOTYPE").is_err());
    }
}
