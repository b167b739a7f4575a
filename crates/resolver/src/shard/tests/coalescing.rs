//! Many who ask for one thing: one question upstream.

use hickory_proto::rr::RecordType;

use super::lab::{FIRST, Lab, Look, query, www, www_is};
use crate::records::{With, a, response, txt};

#[test]
fn a_thousand_askers_of_one_name_cost_one_question() {
    let mut lab = Lab::new(&[FIRST]);
    // Each in its own case, with its own id, over UDP or TCP, with OPT or without.
    let asker = |number: u16| {
        let name: String = "www.example.test"
            .char_indices()
            .map(|(at, letter)| match number >> (at % 10) & 1 {
                0 => letter,
                _ => letter.to_ascii_uppercase(),
            })
            .collect();
        let asker = query(&name, RecordType::A).id(number);
        let asker = if number.is_multiple_of(2) {
            asker.tcp()
        } else {
            asker
        };
        if number.is_multiple_of(3) {
            asker.edns(1232)
        } else {
            asker
        }
    };
    let clients: Vec<usize> = (0..1000).map(|number| lab.query(&asker(number))).collect();
    let ask = lab.asked();
    assert!(clients.iter().all(|&client| lab.is_waiting(client)));
    let answer = response("www.example.test", RecordType::A)
        .answer(a("www.example.test", 60, 1))
        .answer(a("www.example.test", 60, 2));
    lab.answer(&ask, &answer);
    // Ids and cases are compared by the lab.
    for (&client, number) in clients.iter().zip(0_u16..) {
        let reply = lab.reply(client);
        let hosts = if number.is_multiple_of(2) {
            [1, 2]
        } else {
            [2, 1]
        };
        assert_eq!(reply.hosts(), hosts);
        assert_eq!(reply.edns.is_some(), number.is_multiple_of(3));
    }
    let counters = lab.shard.counters();
    assert_eq!(
        (counters.misses, counters.coalesced, counters.asked),
        (1, 999, 1)
    );
}

#[test]
fn each_gets_what_its_size_allows() {
    let mut lab = Lab::new(&[FIRST]);
    let asker = query("www.test", RecordType::TXT);
    let askers = [
        (asker.clone(), true),
        (asker.clone().edns(1500), true),
        (asker.clone().edns(3000), false),
        (asker.tcp(), false),
    ];
    let clients = askers.map(|(asker, is_cut)| (lab.query(&asker), is_cut));
    let ask = lab.asked();
    let answer = response("www.test", RecordType::TXT).answer(txt("www.test", 60, 2000));
    lab.answer(&ask, &answer);
    for (client, is_cut) in clients {
        let reply = lab.reply(client);
        assert_eq!(reply.metadata.truncation, is_cut);
        assert_eq!(reply.answers.is_empty(), is_cut);
    }
}

#[test]
fn do_and_cd_are_asked_apart() {
    let mut lab = Lab::new(&[FIRST]);
    let askers = [www(), www().dnssec_ok(), www().checking_disabled()];
    let clients = askers.map(|asker| {
        lab.query(&asker);
        lab.query(&asker)
    });
    let asks = std::mem::take(&mut lab.asks);
    assert_eq!(asks.len(), 3);
    for (ask, host) in asks.iter().zip(1..) {
        lab.answer(ask, &www_is(host, 60));
    }
    for (client, host) in clients.into_iter().zip(1..) {
        assert_eq!(lab.reply(client).hosts(), [host]);
    }
}
