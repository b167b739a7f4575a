//! Strategies for hickory's messages.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-zA-Z0-9_-]{1,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..=63),
    ]
}

/// `labels` under `parent`, as many as a name has room for.
fn under(labels: &[Vec<u8>], parent: &Name) -> Name {
    labels.iter().fold(parent.clone(), |name, label| {
        name.prepend_label(label.as_slice()).unwrap_or(name)
    })
}

pub(crate) fn name() -> impl Strategy<Value = Name> {
    vec(label(), 0..9).prop_map(|labels| under(&labels, &Name::root()))
}

/// Names that share endings, so that hickory compresses them.
fn related(zone: Name) -> impl Strategy<Value = Name> {
    vec(label(), 0..3).prop_map(move |labels| under(&labels, &zone))
}

fn rdata(zone: Name) -> impl Strategy<Value = RData> {
    let name = || related(zone.clone());
    prop_oneof![
        any::<[u8; 4]>().prop_map(|address| RData::A(A(address.into()))),
        any::<[u8; 16]>().prop_map(|address| RData::AAAA(AAAA(address.into()))),
        name().prop_map(|name| RData::CNAME(CNAME(name))),
        name().prop_map(|name| RData::NS(NS(name))),
        name().prop_map(|name| RData::PTR(PTR(name))),
        (any::<u16>(), name()).prop_map(|(preference, name)| RData::MX(MX::new(preference, name))),
        (any::<[u16; 3]>(), name())
            .prop_map(|([a, b, c], name)| RData::SRV(SRV::new(a, b, c, name))),
        (
            name(),
            name(),
            any::<u32>(),
            any::<[i32; 3]>(),
            any::<u32>()
        )
            .prop_map(
                |(mname, rname, serial, [a, b, c], minimum)| RData::SOA(SOA::new(
                    mname, rname, serial, a, b, c, minimum
                ))
            ),
        vec(vec(any::<u8>(), 0..200), 1..4).prop_map(|strings| {
            RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
        }),
        (1000..u16::MAX, vec(any::<u8>(), 1..80)).prop_map(|(code, bytes)| RData::Unknown {
            code: RecordType::Unknown(code),
            rdata: NULL::with(bytes),
        }),
    ]
}

fn records(zone: Name) -> impl Strategy<Value = Vec<Record>> {
    let record = (related(zone.clone()), any::<u32>(), rdata(zone))
        .prop_map(|(owner, ttl, rdata)| Record::from_rdata(owner, ttl, rdata));
    vec(record, 0..6)
}

pub(crate) fn edns() -> impl Strategy<Value = Edns> {
    // Extended DNS Errors, and codes for which hickory has no form of its own.
    let code = prop_oneof![Just(15), 100..u16::MAX];
    let option = (code, vec(any::<u8>(), 0..20));
    let fields = (any::<u16>(), any::<bool>());
    (fields, vec(option, 0..4)).prop_map(|((size, dnssec_ok), options)| {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        edns.set_dnssec_ok(dnssec_ok);
        for (code, value) in options {
            edns.options_mut().insert(EdnsOption::Unknown(code, value));
        }
        edns
    })
}

pub(crate) fn query() -> impl Strategy<Value = Message> {
    let edns = proptest::option::of(edns());
    let fields = (any::<u16>(), any::<u16>(), any::<[bool; 3]>());
    (fields, name(), edns).prop_map(|((id, qtype, [rd, cd, ad]), name, edns)| {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = rd;
        message.metadata.checking_disabled = cd;
        message.metadata.authentic_data = ad;
        message.add_query(Query::query(name, qtype.into()));
        message.edns = edns;
        message
    })
}

pub(crate) fn response() -> impl Strategy<Value = Message> {
    let sections = name().prop_flat_map(|zone| {
        let question = related(zone.clone());
        (question, [(); 3].map(|()| records(zone.clone())))
    });
    let edns = proptest::option::of(edns());
    let rcode = (any::<u8>(), 0..16_u8);
    let fields = (any::<u16>(), any::<u16>(), rcode);
    (fields, sections, edns).prop_map(|((id, qtype, (high, low)), (name, sections), edns)| {
        let mut message = Message::response(id, OpCode::Query);
        message.metadata.response_code = ResponseCode::from(high, low);
        message.add_query(Query::query(name, qtype.into()));
        let [answers, authorities, additionals] = sections;
        message.add_answers(answers);
        message.add_authorities(authorities);
        message.add_additionals(additionals);
        message.edns = edns;
        message
    })
}
