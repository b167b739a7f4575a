//! What we write is read back by hickory.

use hickory_proto::op::Message as HickoryMessage;
use hickory_proto::rr::rdata::opt::EdnsOption;
use proptest::prelude::*;
use wire::{
    CLASS_IN, Ede, EdnsReply, Flags, HEADER, Message, Writer, age_ttl, rtype, set_id, set_ttl,
};

use crate::generate::{name, response};
use wire::fuzz::cased;

fn ttls(message: &HickoryMessage) -> Vec<u32> {
    message.all_sections().map(|record| record.ttl).collect()
}

proptest! {
    #[test]
    fn ttls_are_patched_and_nothing_else(written in response(), age in any::<u32>(), ttl in any::<u32>()) {
        let bytes = written.to_vec().unwrap();
        let offsets: Vec<usize> = Message::parse(&bytes)
            .unwrap()
            .records()
            .filter(|record| record.rtype != rtype::OPT)
            .map(|record| record.ttl_at)
            .collect();
        let patched = |patch: &dyn Fn(&mut [u8], usize)| {
            let mut bytes = bytes.clone();
            offsets.iter().for_each(|&at| patch(&mut bytes, at));
            HickoryMessage::from_vec(&bytes).unwrap()
        };
        let aged = patched(&|bytes, at| age_ttl(bytes, at, age));
        let expected: Vec<u32> = ttls(&written).iter().map(|ttl| ttl.saturating_sub(age)).collect();
        prop_assert_eq!(ttls(&aged), expected);
        let set = patched(&|bytes, at| set_ttl(bytes, at, ttl));
        prop_assert!(ttls(&set).iter().all(|&other| other == ttl));
        let mut undone = set;
        let sections = [&mut undone.answers, &mut undone.authorities, &mut undone.additionals];
        for (record, ttl) in sections.into_iter().flatten().zip(ttls(&written)) {
            record.ttl = ttl;
        }
        prop_assert_eq!(undone, HickoryMessage::from_vec(&bytes).unwrap());
    }

    #[test]
    fn an_opt_record_reads_back(
        udp_size in 512..=u16::MAX,
        rcode_high in any::<u8>(),
        dnssec_ok in any::<bool>(),
        ede in proptest::option::of((any::<u16>(), "\\PC{0,60}")),
    ) {
        let ede = ede.as_ref().map(|(code, text)| Ede { code: *code, text });
        let opt = EdnsReply { udp_size, rcode_high, dnssec_ok, ede };
        let mut buffer = [0; 512];
        let mut out = Writer::new(&mut buffer);
        out.header(9, Flags(Flags::QR), [0, 0, 0, 1]).unwrap();
        opt.write(&mut out).unwrap();
        prop_assert_eq!(out.len(), HEADER + opt.len());
        let edns = HickoryMessage::from_vec(out.written()).unwrap().edns.unwrap();
        prop_assert_eq!(edns.max_payload(), udp_size);
        prop_assert_eq!(edns.rcode_high(), rcode_high);
        prop_assert_eq!(edns.version(), 0);
        prop_assert_eq!(edns.flags().dnssec_ok, dnssec_ok);
        prop_assert_eq!(edns.flags().z, 0);
        let value = ede.map(|ede| [&ede.code.to_be_bytes(), ede.text.as_bytes()].concat());
        let option = value.map(|value| EdnsOption::Unknown(15, value));
        prop_assert_eq!(edns.option(15.into()), option.as_ref());
    }

    #[test]
    fn a_question_reads_back(name in name(), id in any::<u16>(), qtype in any::<u16>()) {
        let mut buffer = [0; 512];
        let mut out = Writer::new(&mut buffer);
        out.header(0, Flags(Flags::RD | Flags::CD), [1, 0, 0, 0]).unwrap();
        out.bytes(&cased(&name)).unwrap();
        out.u16(qtype).unwrap();
        out.u16(CLASS_IN).unwrap();
        set_id(out.written(), id);
        let message = HickoryMessage::from_vec(out.written()).unwrap();
        prop_assert_eq!(message.metadata.id, id);
        prop_assert!(message.metadata.recursion_desired && message.metadata.checking_disabled);
        prop_assert!(message.queries[0].name.eq_case(&name));
        prop_assert_eq!(u16::from(message.queries[0].query_type), qtype);
    }
}

#[test]
fn without_room_nothing_is_written_past_the_end() {
    let opt = EdnsReply {
        udp_size: 1232,
        ede: Some(Ede {
            code: 3,
            text: "why",
        }),
        ..EdnsReply::default()
    };
    for room in 0..opt.len() {
        let mut buffer = vec![0; room];
        let mut out = Writer::new(&mut buffer);
        assert_eq!(opt.write(&mut out), None);
        assert!(out.len() <= room);
    }
    let mut buffer = [0; 3];
    let mut out = Writer::new(&mut buffer);
    assert_eq!(out.u16(1), Some(()));
    assert_eq!(out.u16(2), None);
    assert_eq!(out.written(), [0, 1]);
    assert_eq!(out.u8(3), Some(()));
    out.truncate(1);
    assert_eq!(out.written(), [0]);
}

#[test]
fn a_patch_outside_the_message_changes_nothing() {
    let mut bytes = [1, 2, 3, 4, 5];
    for at in [2, 5, 6, usize::MAX] {
        set_ttl(&mut bytes, at, 0);
        age_ttl(&mut bytes, at, 1);
    }
    set_id(&mut bytes[..1], 0);
    assert_eq!(bytes, [1, 2, 3, 4, 5]);
}
