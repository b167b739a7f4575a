//! A reply's bytes, as people read them. What comes from a nameserver is shown in printable ASCII alone:
//! a terminal takes other bytes for commands.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::rdata::{CNAME, NS, PTR};
use hickory_proto::rr::{RData, Record as Decoded, RecordType};
use serde::Serialize;

/// An Extended DNS Error's option code (RFC 8914).
const EDE: u16 = 15;

/// A reply to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What it comes to.
    pub outcome: Outcome,
    /// As `NOERROR`.
    pub rcode: String,
    /// The answer section, in its order.
    pub records: Vec<Record>,
    /// Why the answer is as it is.
    pub ede: Option<Ede>,
    /// Why the records cannot be shown, if they cannot; clients get them all the same.
    pub unreadable: Option<String>,
}

/// What a reply comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There are records of the type asked for.
    Records,
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// There is no answer.
    Failure,
}

/// A record of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its owner, without final dot.
    pub name: String,
    /// In seconds.
    pub ttl: u32,
    /// As `A`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// As in a zone file.
    pub data: String,
}

/// An Extended DNS Error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ede {
    /// Its code.
    pub code: u16,
    /// What that means, in IANA's words; empty if it is not known here.
    pub meaning: &'static str,
    /// What the sender adds.
    pub text: String,
}

impl Answer {
    /// Reads a reply to a question for `rtype`.
    #[must_use]
    pub fn read(bytes: &[u8], rtype: RecordType) -> Self {
        match Message::from_vec(bytes) {
            Ok(message) => Self::of(&message, rtype),
            Err(error) => Self::unreadable(bytes, &printable(&error.to_string())),
        }
    }

    fn of(message: &Message, rtype: RecordType) -> Self {
        let rcode = message.metadata.response_code;
        let is_asked_for = |record: &Decoded| match rtype {
            RecordType::ANY => true,
            rtype => record.record_type() == rtype,
        };
        let records = || message.answers.iter();
        Self {
            outcome: outcome(rcode, records().any(is_asked_for)),
            rcode: mnemonic(rcode),
            records: records().map(Record::of).collect(),
            ede: ede(message),
            unreadable: None,
        }
    }

    /// What the header says (RFC 1035 section 4.1.1).
    fn unreadable(bytes: &[u8], error: &str) -> Self {
        let rcode = bytes.get(3).map_or(0, |flags| flags & 0xf);
        let rcode = ResponseCode::from_low(rcode);
        let has_answers = bytes.get(6..8).is_some_and(|count| count != [0, 0]);
        Self {
            outcome: outcome(rcode, has_answers),
            rcode: mnemonic(rcode),
            records: Vec::new(),
            ede: None,
            unreadable: Some(error.to_owned()),
        }
    }

    /// The data of the records that were asked for.
    pub(super) fn data(&self, rtype: &str) -> Vec<String> {
        let is_asked_for = |record: &&Record| record.rtype == rtype || rtype == "ANY";
        let asked = self.records.iter().filter(is_asked_for);
        asked.map(|record| record.data.clone()).collect()
    }

    /// The nameserver that the reply comes from or that failed, with what it did.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        let text = &*self.ede.as_ref()?.text;
        (!text.is_empty()).then_some(text)
    }
}

impl Record {
    fn of(record: &Decoded) -> Self {
        let name = record.name.to_string();
        let name = match name.strip_suffix('.') {
            Some(name) if !name.is_empty() => name,
            _ => &name,
        };
        let data = match &record.data {
            RData::CNAME(CNAME(name)) | RData::NS(NS(name)) | RData::PTR(PTR(name)) => {
                let name = name.to_string();
                name.strip_suffix('.').unwrap_or(&name).to_owned()
            }
            RData::Unknown { rdata, .. } => unknown(&rdata.anything),
            data => data.to_string(),
        };
        Self {
            name: printable(name),
            ttl: record.ttl,
            rtype: mnemonic_of(record.record_type()),
            data: printable(&data),
        }
    }
}

/// A type as in a zone file.
pub(super) fn mnemonic_of(rtype: RecordType) -> String {
    match rtype {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        known => known.to_string(),
    }
}

/// Rdata of a type that is not known here (RFC 3597 section 5).
fn unknown(rdata: &[u8]) -> String {
    let mut text = format!("\\# {} ", rdata.len());
    for byte in rdata {
        text.push_str(&format!("{byte:02X}"));
    }
    text
}

fn outcome(rcode: ResponseCode, has_records: bool) -> Outcome {
    match rcode {
        ResponseCode::NoError if has_records => Outcome::Records,
        ResponseCode::NoError => Outcome::NoData,
        ResponseCode::NXDomain => Outcome::NxDomain,
        _ => Outcome::Failure,
    }
}

fn mnemonic(rcode: ResponseCode) -> String {
    match rcode {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => format!("RCODE{}", u16::from(other)),
    }
}

fn ede(message: &Message) -> Option<Ede> {
    let EdnsOption::Unknown(_, value) = message.edns.as_ref()?.option(EdnsCode::from(EDE))? else {
        return None;
    };
    let (code, text) = value.split_first_chunk()?;
    Some(Ede::new(
        u16::from_be_bytes(*code),
        &String::from_utf8_lossy(text),
    ))
}

impl Ede {
    /// A code and its text.
    #[must_use]
    pub fn new(code: u16, text: &str) -> Self {
        Self {
            code,
            meaning: meaning(code),
            text: printable(text),
        }
    }
}

/// IANA's registry of Extended DNS Errors, as far as proxify gives them.
fn meaning(code: u16) -> &'static str {
    match code {
        3 => "Stale Answer",
        13 => "Cached Error",
        14 => "Not Ready",
        15 => "Blocked",
        17 => "Filtered",
        18 => "Prohibited",
        19 => "Stale NXDOMAIN Answer",
        21 => "Not Supported",
        22 => "No Reachable Authority",
        23 => "Network Error",
        32 => "Over Quota",
        _ => "",
    }
}

/// Text without anything that a terminal would obey, or show as what it is not.
fn printable(text: &str) -> String {
    let escaped = |c: char| match c {
        ' '..='~' => vec![c],
        c => c.escape_default().collect(),
    };
    text.chars().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns, OpCode, Query};
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::{A, NULL, TXT};

    use super::*;

    fn name(name: &str) -> Name {
        Name::from_ascii(name).unwrap()
    }

    fn response(records: &[RData]) -> Message {
        let mut message = Message::response(0, OpCode::Query);
        message.add_query(Query::query(name("a.test."), RecordType::A));
        for data in records {
            message.add_answer(Decoded::from_rdata(name("a.test."), 60, data.clone()));
        }
        message
    }

    fn read(message: &Message) -> Answer {
        Answer::read(&message.to_vec().unwrap(), RecordType::A)
    }

    #[test]
    fn records_read_as_in_a_zone_file() {
        let answer = read(&response(&[
            RData::CNAME(CNAME(name("b.test."))),
            RData::A(A::new(10, 0, 1, 17)),
        ]));
        assert_eq!(
            (answer.outcome, &*answer.rcode),
            (Outcome::Records, "NOERROR")
        );
        let shown: Vec<_> = answer
            .records
            .iter()
            .map(|r| (&*r.name, &*r.rtype, &*r.data))
            .collect();
        assert_eq!(
            shown,
            [("a.test", "CNAME", "b.test"), ("a.test", "A", "10.0.1.17")]
        );
    }

    #[test]
    fn a_chain_that_ends_nowhere_is_no_data() {
        let answer = read(&response(&[RData::CNAME(CNAME(name("b.test.")))]));
        assert_eq!(answer.outcome, Outcome::NoData);
        let mut message = response(&[]);
        message.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(read(&message).outcome, Outcome::NxDomain);
    }

    #[test]
    fn a_failure_has_its_reason() {
        let mut message = response(&[]);
        message.metadata.response_code = ResponseCode::ServFail;
        let mut edns = Edns::new();
        let value = [&22_u16.to_be_bytes()[..], b"10.0.0.2:53 did not answer"].concat();
        edns.options_mut().insert(EdnsOption::Unknown(EDE, value));
        message.edns = Some(edns);
        let answer = read(&message);
        assert_eq!(
            (answer.outcome, &*answer.rcode),
            (Outcome::Failure, "SERVFAIL")
        );
        assert_eq!(answer.said(), Some("10.0.0.2:53 did not answer"));
        assert_eq!(answer.ede.unwrap().meaning, "No Reachable Authority");
    }

    #[test]
    fn nothing_is_for_a_terminal_to_obey() {
        let evil = "\x1b]0;pwned\x07\u{202e}\u{9b}2J";
        let answer = Answer::read(
            &response(&[RData::TXT(TXT::new(vec![evil.to_owned()]))])
                .to_vec()
                .unwrap(),
            RecordType::TXT,
        );
        let data = &answer.records[0].data;
        assert!(
            data.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{data:?}"
        );
        assert!(data.contains("pwned"));
        assert!(!Ede::new(0, evil).text.contains('\x1b'));
    }

    #[test]
    fn what_cannot_be_read_is_known_by_its_header() {
        let unknown = RData::Unknown {
            code: RecordType::from(65_280),
            rdata: NULL::with(vec![1, 2, 3]),
        };
        let bytes = response(&[unknown]).to_vec().unwrap();
        let answer = Answer::read(&bytes, RecordType::from(65_280));
        assert_eq!(answer.outcome, Outcome::Records);
        assert_eq!(
            answer.unreadable, None,
            "a type that nobody knows is none to fail on"
        );
        // The rdata of an A record is cut.
        let mut bytes = response(&[RData::A(A::new(10, 0, 0, 1))]).to_vec().unwrap();
        bytes.truncate(bytes.len() - 2);
        let answer = Answer::read(&bytes, RecordType::A);
        assert_eq!(answer.outcome, Outcome::Records);
        assert!(answer.unreadable.is_some());
        for length in 0..bytes.len() {
            let _ = Answer::read(&bytes[..length], RecordType::A);
        }
    }
}
