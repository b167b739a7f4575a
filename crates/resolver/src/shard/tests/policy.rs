//! What is answered here and never goes upstream: special names (RFC 6761), ANY (RFC 8482), types
//! and classes that are not served.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, RecordType};

use super::lab::{FIRST, Lab, Look, query, secs, www, www_is_not};

/// The reply without a nameserver's help; nobody is asked, though one is there.
fn told(name: &str, rtype: RecordType) -> Message {
    Lab::new(&[FIRST]).hit(&query(name, rtype).edns(1232))
}

fn assert_denied(reply: &Message, rcode: ResponseCode) {
    assert_eq!(reply.rcode(), rcode);
    assert!(reply.answers.is_empty());
    // musl takes a negative answer without SOA for a broken server.
    assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
}

#[test]
fn localhost_is_loopback() {
    for name in ["localhost", "LOCALHOST", "a.b.localhost"] {
        let reply = told(name, RecordType::A);
        assert_eq!(reply.answers[0].data.to_string(), "127.0.0.1");
        let reply = told(name, RecordType::AAAA);
        assert_eq!(reply.answers[0].data.to_string(), "::1");
        assert_denied(&told(name, RecordType::MX), ResponseCode::NoError);
    }
}

#[test]
fn loopback_addresses_are_localhost() {
    let v6 = format!("1.{}ip6.arpa", "0.".repeat(31));
    for name in ["1.0.0.127.in-addr.arpa", "1.0.0.127.IN-ADDR.arpa", &v6] {
        let reply = told(name, RecordType::PTR);
        assert_eq!(reply.answers[0].data.to_string(), "localhost.");
    }
}

#[test]
fn invalid_does_not_exist() {
    for name in ["invalid", "www.Invalid"] {
        for rtype in [RecordType::A, RecordType::TXT, RecordType::ANY] {
            assert_denied(&told(name, rtype), ResponseCode::NXDomain);
        }
    }
}

/// Private hosted zones live there.
#[test]
fn other_special_names_go_upstream() {
    let mut lab = Lab::new(&[FIRST]);
    for name in [
        "db.local",
        "db.internal",
        "db.test",
        "db.home.arpa",
        "localhost.com",
        "",
    ] {
        assert!(lab.is_miss(&query(name, RecordType::A)), "{name}");
    }
    for name in [
        "2.0.0.10.in-addr.arpa",
        "2.0.0.127.in-addr.arpa",
        "d.f.ip6.arpa",
    ] {
        assert!(lab.is_miss(&query(name, RecordType::PTR)), "{name}");
    }
}

#[test]
fn any_is_answered_with_hinfo() {
    let reply = told("WWW.test", RecordType::ANY);
    assert_eq!(reply.rcode(), ResponseCode::NoError);
    let RData::HINFO(hinfo) = &reply.answers[0].data else {
        panic!("{reply}");
    };
    assert_eq!((&*hinfo.cpu, &*hinfo.os), (&b"RFC8482"[..], &b""[..]));
    assert_eq!(reply.answers[0].name, reply.queries[0].name);
}

#[test]
fn any_of_a_name_known_not_to_exist_says_so() {
    let mut lab = Lab::new(&[FIRST]);
    lab.miss(&www(), &www_is_not(60));
    let reply = lab.hit(&query("www.test", RecordType::ANY));
    assert_denied(&reply, ResponseCode::NXDomain);
    lab.pass(secs(60));
    let reply = lab.hit(&query("www.test", RecordType::ANY));
    assert_eq!(reply.rcode(), ResponseCode::NoError);
}

#[test]
fn transfers_and_other_questions_between_servers_are_refused() {
    for rtype in [
        RecordType::AXFR,
        RecordType::IXFR,
        RecordType::TSIG,
        RecordType::OPT,
    ] {
        let reply = told("www.test", rtype);
        assert_eq!(
            (reply.rcode(), reply.ede()),
            (ResponseCode::Refused, Some(21))
        );
    }
}

#[test]
fn classes_but_in_are_refused() {
    for class in [DNSClass::CH, DNSClass::HS, DNSClass::ANY] {
        let asker = www().with(|message| {
            message.queries[0].set_query_class(class);
        });
        let reply = Lab::new(&[FIRST]).hit(&asker);
        assert_eq!(
            (reply.rcode(), reply.ede()),
            (ResponseCode::Refused, Some(21))
        );
    }
}
