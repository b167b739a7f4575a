//! Bytes of an adversary, read in every way that there is, against hickory-proto as the model. For
//! libFuzzer and for the tests on generated messages.

extern crate std;

use std::vec::Vec;

use hickory_proto::op::{Message as HickoryMessage, OpCode};
use hickory_proto::rr::{Name as HickoryName, RData, Record as HickoryRecord};

use crate::{
    Ede, EdnsReply, Flags, MAX_NAME, Message, Name, NameError, Query, QueryError, Reader, Record,
    Section, Writer, rtype, set_id, set_ttl,
};

/// Nothing panics, nothing loops, nothing is read that is not there; and where hickory-proto can read
/// a message too, both read the same.
///
/// # Panics
///
/// Otherwise.
pub fn message(bytes: &[u8]) {
    names(bytes);
    let theirs = HickoryMessage::from_vec(bytes).ok();
    query(bytes, theirs.as_ref());
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    let mut at = message.records_at();
    let mut records = 0;
    for record in message.records() {
        assert!(record.start == at && record.ttl_at > at && record.rdata_at >= record.ttl_at + 6);
        assert_eq!(bytes.get(record.rdata_at..record.end), Some(record.rdata));
        at = record.end;
        records += 1;
    }
    let [_, promised @ ..] = message.header.counts.map(usize::from);
    assert_eq!(records, promised.iter().sum::<usize>());
    if let Some(theirs) = theirs {
        assert_agree(&message, &theirs);
    }
    written(&message);
}

/// At each offset.
fn names(bytes: &[u8]) {
    for at in 0..=bytes.len() {
        if let Ok(name) = Name::read(bytes, at) {
            assert!(name.as_bytes().len() <= MAX_NAME);
            // What is read is a name itself, in full.
            assert_eq!(Name::read(name.as_bytes(), 0), Ok(name));
        }
        let mut reader = Reader::new(bytes, at);
        if reader.skip_name().is_ok() {
            assert!((at + 1..=bytes.len()).contains(&reader.at()));
        }
    }
}

fn query(bytes: &[u8], theirs: Option<&HickoryMessage>) {
    let query = match Query::parse(bytes) {
        Ok(query) => query,
        Err(QueryError::Ignore) => return,
        Err(QueryError::Reject { question_end, .. }) => {
            return assert!(question_end <= bytes.len());
        }
    };
    assert!(query.question.name.len() <= MAX_NAME);
    if let Some(theirs) = theirs {
        assert_eq!(query.id, theirs.metadata.id);
        let [asked] = &*theirs.queries else {
            panic!("hickory reads {} questions", theirs.queries.len());
        };
        assert_eq!(query.question.name, cased(asked.name()));
        assert_eq!(query.question.qtype, u16::from(asked.query_type()));
        assert_eq!(query.edns.is_some(), theirs.edns.is_some());
    }
}

/// The same message, written anew with our OPT in place of its own: it reads as before.
fn written(message: &Message<'_>) {
    let bytes = message.bytes();
    let Some(records) = bytes.get(message.records_at()..) else {
        return;
    };
    let ede = Ede {
        code: 3,
        text: "why",
    };
    let opt = EdnsReply {
        udp_size: 1232,
        rcode_high: 1,
        dnssec_ok: true,
        ede: Some(ede),
    };
    let mut room = std::vec![0; bytes.len() + opt.len()];
    let mut out = Writer::new(&mut room);
    let [_, answers, authorities, additionals] = message.header.counts;
    let last = message.records().last();
    let end = last.map_or(message.records_at(), |record| record.end);
    // A name may go on in bytes behind the records, which are not copied.
    if message.edns.is_some() || additionals == u16::MAX || end < bytes.len() {
        return;
    }
    let counts = [1, answers, authorities, additionals + 1];
    let copied = || -> Option<()> {
        out.header(0, Flags(Flags::QR), counts)?;
        out.bytes(message.question.name)?;
        out.u16(message.question.qtype)?;
        out.u16(message.question.qclass)?;
        out.bytes(records)?;
        opt.write(&mut out)
    }();
    assert!(copied.is_some(), "there is room");
    set_id(out.written(), 4711);
    for record in message.records() {
        // Its own: another could spell a name that leads there anew.
        set_ttl(out.written(), record.ttl_at, record.ttl);
    }
    let copy = Message::parse(out.written()).expect("what we write can be read");
    assert_eq!(copy.header.id, 4711);
    assert_eq!(copy.question.name, message.question.name);
    let edns = copy.edns.expect("OPT was written");
    assert!(edns.dnssec_ok && edns.ede == Some(3) && edns.rcode_high == 1);
    for (copy, record) in copy.records().zip(message.records()) {
        assert_eq!((copy.rtype, copy.rdata), (record.rtype, record.rdata));
        assert_eq!((copy.start, copy.ttl), (record.start, record.ttl));
    }
}

/// Asserts that a record of ours is hickory's.
///
/// # Panics
///
/// Otherwise.
pub fn assert_same(bytes: &[u8], ours: &Record<'_>, theirs: &HickoryRecord) {
    assert_eq!(ours.rtype, u16::from(theirs.record_type()));
    assert_eq!(ours.class, u16::from(theirs.dns_class));
    assert_eq!(ours.ttl, theirs.ttl);
    let owner = Name::read(bytes, ours.start).expect("a parsed message's names can be read");
    assert_eq!(owner.as_bytes(), lower(&theirs.name));
    match &theirs.data {
        RData::A(address) => assert_eq!(ours.rdata, address.octets()),
        RData::AAAA(address) => assert_eq!(ours.rdata, address.octets()),
        RData::CNAME(name) => match Name::read(bytes, ours.rdata_at) {
            Ok(read) => assert_eq!(read.as_bytes(), lower(name)),
            // hickory follows pointers into the header, and many of them.
            Err(error) => assert_eq!(error, NameError::Pointer),
        },
        RData::Unknown { rdata, .. } => assert_eq!(ours.rdata, rdata.anything),
        _ => {}
    }
}

/// Asserts that both read the same records in the same sections.
///
/// # Panics
///
/// Otherwise.
pub fn assert_agree(ours: &Message<'_>, theirs: &HickoryMessage) {
    if theirs.metadata.op_code != OpCode::Query {
        // In an update records stand for something else (RFC 2136), and hickory reads them so.
        return;
    }
    let sections = [
        (Section::Answer, &theirs.answers),
        (Section::Authority, &theirs.authorities),
        (Section::Additional, &theirs.additionals),
    ];
    for (section, theirs) in sections {
        let ours: Vec<_> = ours
            .records()
            .filter(|record| record.section == section && record.rtype != rtype::OPT)
            .map(|record| (record, ours.bytes()))
            .collect();
        assert_eq!(ours.len(), theirs.len());
        for ((ours, bytes), theirs) in ours.iter().zip(theirs) {
            assert_same(bytes, ours, theirs);
        }
    }
}

/// A name on the wire, uncompressed, in lower case.
#[must_use]
pub fn lower(name: &HickoryName) -> Vec<u8> {
    cased(name).to_ascii_lowercase()
}

/// A name on the wire, uncompressed.
///
/// # Panics
///
/// Never: no label is longer than 63 bytes.
#[must_use]
pub fn cased(name: &HickoryName) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name {
        bytes.push(u8::try_from(label.len()).expect("a label's length"));
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}
