//! A shard with answers in it, and the messages that put them there, for what is measured without a
//! socket.

use std::net::SocketAddr;
use std::time::Instant;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use resolver::{Config, MAX_UDP_REPLY, Pins, Routes, Shard, Step, Transport};

const TTL: u32 = 3600;

/// A shard that has an answer with `addresses` addresses, behind a CNAME if `alias`, for each of
/// `names` names, and the queries for them.
///
/// # Panics
/// When the shard does not ask for a new name.
#[must_use]
pub fn cached(
    names: u32,
    addresses: u8,
    alias: bool,
    edns: bool,
) -> (Shard<()>, Vec<Vec<u8>>, Instant) {
    let start = Instant::now();
    let mut shard = Shard::new(
        Config {
            cache_size: 1 << 30,
            seed: [1, 2],
            pins: Pins::default(),
            routes: Routes::default(),
            // All names are asked for at once.
            upstream_pps: 0,
        },
        start,
    );
    let nameserver = SocketAddr::from(([10, 0, 0, 2], 53));
    let mut actions = Vec::new();
    shard.set_nameservers(start, &[nameserver], &mut actions);
    let mut out = vec![0; MAX_UDP_REPLY];
    let queries = (0..names)
        .map(|index| {
            let packet = query(&format!("host-{index}.us-east-1.amazonaws.com."), edns);
            let Step::Ask(ask) = shard.query(start, (), Transport::Udp, &packet, &mut out) else {
                panic!("the name is new");
            };
            let answer = answer(&ask.message, addresses, alias);
            shard.answer(start, ask.ticket, Ok(&answer), &mut actions);
            actions.clear();
            packet
        })
        .collect();
    (shard, queries, start)
}

/// A query for the name's IPv4 addresses.
///
/// # Panics
/// When `name` is no name.
#[must_use]
pub fn query(name: &str, edns: bool) -> Vec<u8> {
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    if edns {
        query.edns = Some(Edns::new());
    }
    query.to_vec().unwrap()
}

/// The answer to a query: so many addresses, behind a CNAME if `alias`.
///
/// # Panics
/// When `asked` is no query.
#[must_use]
pub fn answer(asked: &[u8], addresses: u8, alias: bool) -> Vec<u8> {
    let asked = Message::from_vec(asked).unwrap();
    let mut answer = Message::new(asked.id, MessageType::Response, OpCode::Query);
    answer.add_query(asked.queries[0].clone());
    let mut owner = asked.queries[0].name().clone();
    if alias {
        let target = Name::from_ascii("target.us-east-1.amazonaws.com.").unwrap();
        let cname = RData::CNAME(CNAME(target.clone()));
        answer.add_answer(Record::from_rdata(owner, TTL, cname));
        owner = target;
    }
    for last in 0..addresses {
        let address = RData::A(A::new(10, 0, 1, last));
        answer.add_answer(Record::from_rdata(owner.clone(), TTL, address));
    }
    answer.to_vec().unwrap()
}
