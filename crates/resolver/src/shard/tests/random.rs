//! Everything at once, in random order, with a seed: the promises that hold whatever happens.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::lab::{
    FIRST, Lab, Query, SECOND, THIRD, config, error, ms, query, routes, secs, servfail_with,
};
use crate::records::{a, soa};
use crate::{Ask, Config, Failed};

const CACHE: usize = 6000;

fn some_query(random: &mut StdRng) -> Query {
    let rtype = match random.random_range(0..12) {
        0..8 => RecordType::A,
        8..11 => RecordType::AAAA,
        _ => RecordType::ANY,
    };
    let name = match random.random_range(0..30) {
        0 => "www.localhost".to_owned(),
        number => format!("{}{number}.Test", ["", "sub."][random.random_range(0..2)]),
    };
    let asker = query(&name, rtype).id(random.random());
    let asker = if random.random() {
        asker.edns(1232)
    } else {
        asker
    };
    let asker = if random.random() { asker.tcp() } else { asker };
    if random.random_bool(0.1) {
        asker.dnssec_ok()
    } else {
        asker
    }
}

/// What a nameserver may say, from good to absurd.
fn some_answer(random: &mut StdRng, ask: &Ask) -> Message {
    let mut message = error(ask, ResponseCode::NoError);
    let asked = message.queries[0].clone();
    match random.random_range(0..20) {
        0..10 if asked.query_type == RecordType::A => {
            let ttl = random.random_range(0..60);
            message.add_answer(a(&asked.name.to_string(), ttl, 1));
        }
        0..14 => {
            let ttl = random.random_range(0..60);
            message.metadata.response_code =
                [ResponseCode::NoError, ResponseCode::NXDomain][random.random_range(0..2)];
            message.add_authority(soa("test", ttl, ttl));
        }
        14 => message.metadata.response_code = ResponseCode::ServFail,
        15 => message.metadata.response_code = ResponseCode::Refused,
        16 => message.metadata.response_code = ResponseCode::FormErr,
        17 => {
            let relays = 0xC000 * random.random_range(0..2);
            message = servfail_with(ask, relays + random.random_range(20..25));
        }
        18 => message.metadata.truncation = true,
        _ => {
            message.add_answer(a("other.test", 60, 1));
        }
    }
    message
}

/// One thing that happens.
fn step(lab: &mut Lab, random: &mut StdRng, answered: &mut Vec<Ask>) {
    match random.random_range(0..100) {
        0..50 => {
            lab.query(&some_query(random));
        }
        50..75 if !lab.asks.is_empty() => {
            let at = random.random_range(0..lab.asks.len());
            let ask = lab.asks.swap_remove(at);
            match random.random_range(0..10) {
                0 => lab.fail(&ask, Failed::Link),
                1 => lab.fail(&ask, Failed::Unreachable),
                2 => {
                    let mut bytes = some_answer(random, &ask).to_vec().unwrap();
                    let at = random.random_range(0..bytes.len());
                    bytes[at] = random.random();
                    lab.answer_bytes(&ask, &bytes);
                }
                _ => lab.answer(&ask, &some_answer(random, &ask)),
            }
            answered.push(ask);
        }
        // The link is cut: all is lost.
        75 => {
            for ask in std::mem::take(&mut lab.asks) {
                lab.fail(&ask, Failed::Link);
            }
        }
        76 => lab.link_is_up(),
        77 => {
            let lists = [
                &[][..],
                &[FIRST],
                &[SECOND],
                &[SECOND, FIRST],
                &[FIRST, SECOND, THIRD],
            ];
            lab.set_nameservers(lists[random.random_range(0..lists.len())]);
        }
        // An answer for the second time.
        78..82 if !answered.is_empty() => {
            let ask = &answered[random.random_range(0..answered.len())];
            lab.answer(ask, &some_answer(random, ask));
        }
        82..84 => lab.pass(secs(random.random_range(0..40))),
        _ => lab.pass(ms(random.random_range(0..200))),
    }
}

/// Each name keeps to the nameservers of its route.
fn assert_routed(ask: &Ask) {
    let asked = Message::from_vec(&ask.message).unwrap();
    let name = asked.queries[0].name().to_string().to_lowercase();
    let nameservers = match &*name {
        "sub.5.test." => &[FIRST][..],
        "5.test." => &[THIRD, SECOND],
        _ => &[FIRST, SECOND, THIRD],
    };
    assert!(nameservers.contains(&ask.nameserver), "{name}");
}

#[test]
fn every_query_has_one_reply_in_time() {
    for seed in 0..100 {
        let mut random = StdRng::seed_from_u64(seed);
        let routes = routes(&[("5.test", &[THIRD, SECOND]), ("sub.5.test", &[FIRST])]);
        let config = Config {
            upstream_pps: [0, 10, 50][random.random_range(0..3)],
            ..config(routes, CACHE)
        };
        let mut lab = Lab::configured(&[FIRST, SECOND], config);
        let mut answered = Vec::new();
        // One reply a query, its id, question and time are checked by the lab.
        for _ in 0..500 {
            step(&mut lab, &mut random, &mut answered);
            assert_eq!(lab.forgotten(), 0, "seed {seed}");
            lab.asks.last().iter().for_each(|ask| assert_routed(ask));
            assert!(lab.shard.counters().cache_bytes <= CACHE as u64);
        }
        lab.pass(secs(4));
        assert_eq!(lab.waiting(), 0, "seed {seed}");
        assert_eq!(lab.shard.next_tick(), None);
        assert_eq!(lab.shard.counters().queued, 0);
    }
}
