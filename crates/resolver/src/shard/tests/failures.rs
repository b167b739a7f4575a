//! Failures of upstream are remembered for a while (RFC 9520).

use hickory_proto::op::{Message, ResponseCode};

use super::lab::{FIRST, Lab, Look, error, ms, query, secs, www};
use hickory_proto::rr::RecordType;

/// The Extended DNS Error of a failure that is remembered.
const CACHED: Option<u16> = Some(13);

/// Asks, and upstream answers SERVFAIL.
fn fail(lab: &mut Lab) -> Message {
    let client = lab.query(&www());
    let ask = lab.asked();
    lab.answer(&ask, &error(&ask, ResponseCode::ServFail));
    lab.reply(client)
}

/// A lookup that meets silence takes 4 s to fail; that is no time in which all was well.
#[test]
fn silence_is_a_failure_like_any_other() {
    let mut lab = Lab::new(&[FIRST]);
    for seconds in [1, 2, 4, 8, 16, 30] {
        let client = lab.query(&www());
        lab.asks.clear();
        lab.pass(secs(4));
        assert_eq!(lab.reply(client).ede(), Some(22));
        lab.pass(secs(seconds) - ms(1));
        assert_eq!(lab.hit(&www()).ede(), CACHED, "{seconds}");
        lab.pass(ms(1));
    }
}

#[test]
fn a_client_without_opt_gets_the_bare_failure() {
    let mut lab = Lab::new(&[FIRST]);
    fail(&mut lab);
    let reply = lab.hit(&query("www.test", RecordType::A));
    assert_eq!(reply.rcode(), ResponseCode::ServFail);
    assert!(reply.edns.is_none());
}
