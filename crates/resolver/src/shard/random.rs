//! Everything at once, in random order, against someone naive who remembers what was said: the promises
//! that hold whatever happens. libFuzzer makes the choices, or a seeded generator does.

use std::net::SocketAddr;

use arbitrary::Unstructured;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use self::model::Model;
use super::lab::{
    FIRST, Lab, Query, SECOND, THIRD, config, error, ms, query, routes, secs, servfail_with,
};
use crate::records::{a, aaaa, soa};
use crate::{Ask, Config, Failed, Transport};

mod model;

/// Bytes of a cache in which entries are soon evicted ...
const TIGHT: usize = 6000;

/// ... and of one in which none ever is.
const AMPLE: usize = 1 << 20;

/// Things that happen in one run at most.
const STEPS: usize = 600;

/// What the nameservers of the names that no route takes may be.
const LISTS: [&[SocketAddr]; 5] = [
    &[],
    &[FIRST],
    &[SECOND],
    &[SECOND, FIRST],
    &[FIRST, SECOND, THIRD],
];

/// Has things happen as the bytes choose, and checks each promise after each of them.
pub fn run(bytes: &[u8]) {
    run_through(&mut Choices(Unstructured::new(bytes)));
}

fn run_through(choices: &mut Choices<'_>) {
    let routes = routes(&[("5.test", &[THIRD, SECOND]), ("sub.5.test", &[FIRST])]);
    let upstream_pps = choices.among(&[0, 10, 50]);
    let cache_size = choices.among(&[TIGHT, AMPLE]);
    let config = Config {
        upstream_pps,
        ..config(routes, cache_size)
    };
    let mut lab = Lab::configured(&[FIRST, SECOND], config);
    let mut model = Model::new(upstream_pps, cache_size == AMPLE);
    let mut answered = Vec::new();
    for _ in 0..STEPS {
        if choices.0.is_empty() {
            break;
        }
        // One reply a query, its id, question and time are checked by the lab.
        step(&mut lab, &mut model, choices, &mut answered);
        model.look_at(&mut lab);
        assert_eq!(lab.forgotten(), 0);
        lab.asks.last().iter().for_each(|ask| assert_routed(ask));
        let counters = lab.shard.counters();
        assert!(counters.cache_bytes <= cache_size as u64);
        // At most a second's worth waits.
        assert!(counters.queued <= upstream_pps.into());
    }
    lab.pass(secs(4));
    model.look_at(&mut lab);
    assert_eq!(lab.waiting(), 0);
    assert_eq!(lab.shard.next_tick(), None);
    assert_eq!(lab.shard.counters().queued, 0);
}

/// What is to happen, as bytes have it.
struct Choices<'a>(Unstructured<'a>);

impl Choices<'_> {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end - 1).unwrap_or_default()
    }

    fn seconds(&mut self) -> u32 {
        self.0.int_in_range(0..=59).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 1
    }

    fn among<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// One thing that happens.
fn step(lab: &mut Lab, model: &mut Model, choices: &mut Choices<'_>, answered: &mut Vec<Ask>) {
    match choices.below(100) {
        0..50 => {
            let query = some_query(choices);
            model.ask(lab, &query);
        }
        50..75 if !lab.asks.is_empty() => {
            let ask = lab.asks.swap_remove(choices.below(lab.asks.len()));
            match choices.below(10) {
                0 => {
                    let failed = choices.among(&[Failed::Link, Failed::Lost]);
                    model.fail(lab, &ask, failed);
                }
                1 => {
                    let failed = choices.among(&[Failed::Unreachable, Failed::Closed]);
                    model.fail(lab, &ask, failed);
                }
                2 => {
                    let mut bytes = some_answer(choices, &ask).to_vec().unwrap();
                    let at = choices.below(bytes.len());
                    bytes[at] = choices.byte();
                    model.answer_oddly(lab, &ask, &bytes);
                }
                _ => model.answer(lab, &ask, &some_answer(choices, &ask)),
            }
            answered.push(ask);
        }
        // The link is cut: all is lost.
        75 => {
            for ask in std::mem::take(&mut lab.asks) {
                model.fail(lab, &ask, Failed::Lost);
            }
        }
        76 => lab.link_is_up(),
        77 => model.set_nameservers(lab, choices.among(&LISTS)),
        // An answer for the second time.
        78..82 if !answered.is_empty() => {
            let ask = &answered[choices.below(answered.len())];
            model.answer(lab, ask, &some_answer(choices, ask));
        }
        82 => {
            let length = choices.below(40);
            let packet = choices.0.bytes(length).unwrap_or_default();
            lab.packet(packet.to_vec(), Transport::Udp);
        }
        // Nothing comes of it for a while.
        83 => lab.link_is_silent(secs(choices.below(5) as u64)),
        84 => lab.pass(secs(choices.below(40) as u64)),
        _ => lab.pass(ms(choices.below(200) as u64)),
    }
}

fn some_query(choices: &mut Choices<'_>) -> Query {
    let rtype = match choices.below(12) {
        0..8 => RecordType::A,
        8..11 => RecordType::AAAA,
        _ => RecordType::ANY,
    };
    let name = match choices.below(12) {
        0 => "www.localhost".to_owned(),
        number => format!("{}{number}.Test", choices.among(&["", "sub."])),
    };
    let mut asker = query(&name, rtype).id(u16::from_be_bytes([choices.byte(), choices.byte()]));
    if choices.once_in(2) {
        asker = asker.edns(1232);
    }
    if choices.once_in(2) {
        asker = asker.tcp();
    }
    if choices.once_in(10) {
        asker = asker.dnssec_ok();
    }
    asker
}

/// What a nameserver may say, from good to absurd.
fn some_answer(choices: &mut Choices<'_>, ask: &Ask) -> Message {
    let mut message = error(ask, ResponseCode::NoError);
    let asked = message.queries[0].clone();
    let name = asked.name.to_string();
    match choices.below(20) {
        0..10 => {
            let (ttl, first) = (choices.seconds(), choices.byte());
            for number in 0..=choices.byte() % 3 {
                let host = first.wrapping_add(number);
                message.add_answer(match asked.query_type {
                    RecordType::AAAA => aaaa(&name, ttl, host.into()),
                    _ => a(&name, ttl, host),
                });
            }
        }
        10..14 => {
            let ttl = choices.seconds();
            message.metadata.response_code =
                choices.among(&[ResponseCode::NoError, ResponseCode::NXDomain]);
            message.add_authority(soa("test", ttl, ttl));
        }
        14 => message.metadata.response_code = ResponseCode::ServFail,
        15 => message.metadata.response_code = ResponseCode::Refused,
        16 => message.metadata.response_code = ResponseCode::FormErr,
        17 => message = servfail_with(ask, choices.among(&[22, 23, 32, 49_174, 49_175, 49_184])),
        18 => message.metadata.truncation = true,
        _ => {
            message.add_answer(a("other.test", 60, 1));
        }
    }
    message
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

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn every_promise_holds_in_any_order() {
        for seed in 0..60 {
            let mut bytes = vec![0; 8000];
            StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
            println!("seed {seed}");
            super::run(&bytes);
        }
    }
}
