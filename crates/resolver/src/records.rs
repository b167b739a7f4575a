//! Messages for the tests, made with hickory-proto.

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NULL, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

pub(crate) fn name(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    name
}

/// `owner A 10.0.0.host`.
pub(crate) fn a(owner: &str, ttl: u32, host: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(10, 0, 0, host)))
}

pub(crate) fn aaaa(owner: &str, ttl: u32, host: u16) -> Record {
    let address = AAAA::new(0xfd00, 0, 0, 0, 0, 0, 0, host);
    Record::from_rdata(name(owner), ttl, RData::AAAA(address))
}

pub(crate) fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

pub(crate) fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let soa = SOA::new(name("ns"), name("admin"), 1, 2, 3, 4, minimum);
    Record::from_rdata(name(zone), ttl, RData::SOA(soa))
}

/// A TXT record of about `size` bytes.
pub(crate) fn txt(owner: &str, ttl: u32, size: usize) -> Record {
    let strings = vec!["x".repeat(99); size / 100];
    Record::from_rdata(name(owner), ttl, RData::TXT(TXT::new(strings)))
}

/// A record of any type, known or not, with any rdata.
pub(crate) fn opaque(owner: &str, ttl: u32, rtype: u16, rdata: &[u8]) -> Record {
    let rdata = RData::Unknown {
        code: RecordType::from(rtype),
        rdata: NULL::with(rdata.to_vec()),
    };
    Record::from_rdata(name(owner), ttl, rdata)
}

/// A response to `owner rtype`, without records yet.
pub(crate) fn response(owner: &str, rtype: RecordType) -> Message {
    let mut message = Message::response(0, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(Query::query(name(owner), rtype));
    message
}

/// What is put into a response.
pub(crate) trait With: Sized {
    fn answer(self, record: Record) -> Self;
    fn authority(self, record: Record) -> Self;
    fn says(self, rcode: ResponseCode) -> Self;
}

impl With for Message {
    fn answer(mut self, record: Record) -> Self {
        self.answers.push(record);
        self
    }

    fn authority(mut self, record: Record) -> Self {
        self.authorities.push(record);
        self
    }

    fn says(mut self, rcode: ResponseCode) -> Self {
        self.metadata.response_code = rcode;
        self
    }
}
