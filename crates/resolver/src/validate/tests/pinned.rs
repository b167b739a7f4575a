//! What of an answer is judged by pins: `www.test` and all under `pinned.test` lead to 10.0.0.0/24 and
//! fd00::/64 only.

use hickory_proto::op::Message as HickoryMessage;
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};
use wire::{Malformed, rtype};

use super::super::{Answer, Invalid};
use super::www;
use crate::key::Key;
use crate::pins::{Lead, Pin, Pins};
use crate::records::{With, a, aaaa, cname, name, opaque, response, soa};

fn pins() -> Pins {
    let pin = |suffix: &str| Pin {
        suffix: suffix.parse().unwrap(),
        networks: ["10.0.0.0/24", "fd00::/64"]
            .map(|network| network.parse().unwrap())
            .to_vec(),
    };
    Pins::new(vec![pin("www.test"), pin("pinned.test")]).unwrap()
}

/// Judged as the answer to the question that it repeats.
fn judge(message: &HickoryMessage) -> Result<Answer, Invalid> {
    let query = &message.queries[0];
    let name: wire::Name = query.name().to_string().parse().unwrap();
    let question = wire::Question {
        name: name.as_bytes(),
        qtype: query.query_type().into(),
        qclass: 1,
    };
    let bytes = message.to_vec().unwrap();
    Answer::validate(&Key::new(&question, 0), &bytes, &pins())
}

/// What is outside; `None` for an answer that is let through.
fn outside(message: &HickoryMessage) -> Option<Lead> {
    match judge(message) {
        Ok(_) => None,
        Err(Invalid::Outside(outside)) => Some(outside.lead),
        Err(other) => panic!("{other}"),
    }
}

fn public(owner: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::A(A::new(3, 218, 180, 17)))
}

fn public_v6(owner: &str) -> Record {
    let address = AAAA::new(0x2600, 0, 0, 0, 0, 0, 0, 1);
    Record::from_rdata(name(owner), 60, RData::AAAA(address))
}

fn address(text: &str) -> Option<Lead> {
    Some(Lead::Address(text.parse().unwrap()))
}

fn wire_name(text: &str) -> Vec<u8> {
    text.parse::<wire::Name>().unwrap().as_bytes().to_vec()
}

/// The rdata of a service binding.
fn binding(target: &str, parameters: &[(u16, &[u8])]) -> Vec<u8> {
    let mut rdata = vec![0, 1];
    rdata.extend(wire_name(target));
    for (key, value) in parameters {
        rdata.extend(key.to_be_bytes());
        rdata.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        rdata.extend(*value);
    }
    rdata
}

#[test]
fn one_address_outside_is_enough() {
    let inside = www()
        .answer(a("www.test", 60, 1))
        .answer(a("www.test", 60, 2));
    assert_eq!(outside(&inside), None);
    let one = inside.answer(public("www.test"));
    assert_eq!(outside(&one), address("3.218.180.17"));
    let v6 = || response("www.test", RecordType::AAAA).answer(aaaa("www.test", 60, 1));
    assert_eq!(outside(&v6()), None);
    assert_eq!(
        outside(&v6().answer(public_v6("www.test"))),
        address("2600::1")
    );
    let free = response("free.test", RecordType::A).answer(public("free.test"));
    assert_eq!(outside(&free), None);
    // Addresses of another type than asked for, and where none belong.
    assert_eq!(
        outside(&www().answer(public_v6("www.test"))),
        address("2600::1")
    );
    let authority = www().authority(public("www.test"));
    assert_eq!(outside(&authority), address("3.218.180.17"));
}

#[test]
fn an_alias_leads_within_the_pins_of_both_its_ends() {
    let out = www().answer(cname("www.test", 60, "free.test"));
    assert_eq!(outside(&out), None, "it leads nowhere");
    assert_eq!(outside(&out.clone().answer(a("free.test", 60, 1))), None);
    let out = out.answer(public("free.test"));
    assert_eq!(outside(&out), address("3.218.180.17"));
    let into = response("free.test", RecordType::A)
        .answer(public("www.test"))
        .answer(cname("free.test", 60, "www.test"));
    assert_eq!(outside(&into), address("3.218.180.17"));
}

#[test]
fn a_denial_passes() {
    let nodata = www().authority(soa("test", 60, 60));
    assert_eq!(outside(&nodata), None);
}

#[test]
fn hints_are_addresses() {
    let inside: (u16, &[u8]) = (4, &[10, 0, 0, 1, 10, 0, 0, 2]);
    let outside_v4: (u16, &[u8]) = (4, &[10, 0, 0, 1, 3, 218, 180, 17]);
    let v6 = [0x26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let alpn: (u16, &[u8]) = (1, b"\x02h2");
    for rtype in [rtype::SVCB, rtype::HTTPS] {
        let answer = |parameters: &[(u16, &[u8])]| {
            let rdata = binding(".", parameters);
            response("www.test", rtype.into()).answer(opaque("www.test", 60, rtype, &rdata))
        };
        assert_eq!(outside(&answer(&[])), None);
        assert_eq!(outside(&answer(&[alpn, inside])), None);
        assert_eq!(
            outside(&answer(&[alpn, outside_v4])),
            address("3.218.180.17")
        );
        assert_eq!(
            outside(&answer(&[alpn, inside, (6, &v6)])),
            address("2600::1")
        );
        for broken in [&[(4, &[10, 0, 0][..])][..], &[(6, &[0xfd, 0])]] {
            let malformed = Invalid::Malformed(Malformed::Record);
            assert_eq!(judge(&answer(broken)).err(), Some(malformed));
        }
    }
}

#[test]
fn a_service_binding_names_a_host_of_the_same_pin() {
    let hint: (u16, &[u8]) = (4, &[3, 218, 180, 17]);
    for (owner, target, parameters, is_outside) in [
        ("a.pinned.test", ".", &[][..], None),
        ("a.pinned.test", "b.pinned.test", &[], None),
        ("a.pinned.test", "evil.test", &[], Some(Lead::Name)),
        ("a.pinned.test", "www.test", &[], Some(Lead::Name)),
        ("free.test", "evil.test", &[hint], None),
        ("free.test", "www.test", &[], None),
        ("free.test", "www.test", &[hint], address("3.218.180.17")),
    ] {
        let rdata = binding(target, parameters);
        let record = opaque(owner, 60, rtype::HTTPS, &rdata);
        let answer = response(owner, RecordType::HTTPS).answer(record);
        assert_eq!(outside(&answer), is_outside, "{owner} {target}");
    }
}

#[test]
fn so_do_srv_and_mx() {
    for (rtype, before) in [(rtype::SRV, 6), (rtype::MX, 2)] {
        let answer = |target: &str| {
            let rdata = [vec![0; before], wire_name(target)].concat();
            response("a.pinned.test", rtype.into()).answer(opaque(
                "a.pinned.test",
                60,
                rtype,
                &rdata,
            ))
        };
        assert_eq!(outside(&answer("b.pinned.test")), None);
        assert_eq!(outside(&answer(".")), None, "there is no such service");
        assert_eq!(outside(&answer("evil.test")), Some(Lead::Name));
    }
}

/// Rdata that is not what its type says must not be read into the next record.
#[test]
fn rdata_of_a_pinned_name_is_readable_or_refused() {
    let malformed = Some(Invalid::Malformed(Malformed::Record));
    let name = b"\x01b\x06pinned\x04test\0";
    let mut binding_past_its_end = vec![0, 1, 0, 0, 4, 0, 8];
    binding_past_its_end.extend([10, 0, 0, 1]);
    for (rtype, rdata) in [
        (rtype::A, &[10, 0, 0][..]),
        (rtype::AAAA, &[10, 0, 0, 1]),
        (rtype::SRV, &[0, 0]),
        (rtype::SRV, name),
        (rtype::MX, &[0]),
        (rtype::HTTPS, &[0]),
        (rtype::HTTPS, &[0, 1, 1, b'a']),
        (rtype::HTTPS, &binding_past_its_end),
        (rtype::HTTPS, &[0, 1, 0, 0, 4]),
    ] {
        let of = |owner: &str| {
            let next = opaque(owner, 60, 65280, &[0; 16]);
            response(owner, rtype.into())
                .answer(opaque(owner, 60, rtype, rdata))
                .answer(next)
        };
        assert_eq!(judge(&of("www.test")).err(), malformed, "{rtype} {rdata:?}");
        assert_eq!(judge(&of("free.test")).err(), None, "{rtype} {rdata:?}");
    }
}

#[test]
fn no_address_comes_along_in_the_additional_section() {
    let mut with_more = response("free.test", RecordType::SRV);
    with_more.additionals.push(public("www.test"));
    let packed = judge(&with_more).unwrap().packed;
    assert_eq!((packed.counts, packed.tail().len()), ([0; 3], 0));
}
