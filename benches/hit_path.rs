//! The hit path: a client's packet in, the cached answer's bytes out, no system call.
//!
//! `floor` copies as many bytes as a reply has; `parse` is what reading the query alone costs. A hit
//! should be a small multiple of both, whatever the size of the cache.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use resolver::{Config, MAX_UDP_REPLY, Routes, Shard, Step, Transport};

const TTL: u32 = 3600;

/// A shard that has an answer with `addresses` addresses, behind a CNAME if `alias`, for each of
/// `names` names, and the queries for them.
fn cached(
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
            routes: Routes::default(),
            upstream_pps: 900,
        },
        start,
    );
    let nameserver = SocketAddr::from(([10, 0, 0, 2], 53));
    let mut actions = Vec::new();
    shard.set_nameservers(start, &[nameserver], &mut actions);
    let mut out = vec![0; MAX_UDP_REPLY];
    let queries = (0..names)
        .map(|index| {
            let name = Name::from_ascii(format!("host-{index}.us-east-1.amazonaws.com.")).unwrap();
            let mut query = Message::new(7, MessageType::Query, OpCode::Query);
            query.metadata.recursion_desired = true;
            query.add_query(Query::query(name.clone(), RecordType::A));
            if edns {
                query.edns = Some(Edns::new());
            }
            let packet = query.to_vec().unwrap();
            let Step::Ask(ask) = shard.query(start, (), Transport::Udp, &packet, &mut out) else {
                panic!("the name is new");
            };
            let answer = answer(&ask.message, name, addresses, alias);
            shard.answer(start, ask.ticket, Ok(&answer), &mut actions);
            actions.clear();
            packet
        })
        .collect();
    (shard, queries, start)
}

fn answer(asked: &[u8], name: Name, addresses: u8, alias: bool) -> Vec<u8> {
    let asked = Message::from_vec(asked).unwrap();
    let mut answer = Message::new(asked.id, MessageType::Response, OpCode::Query);
    answer.add_query(asked.queries[0].clone());
    let mut owner = name;
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

fn hits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hit");
    let cases = [
        ("one address", 1000, 1, false, false),
        ("one address, EDNS", 1000, 1, false, true),
        ("CNAME and 2 addresses, EDNS", 1000, 2, true, true),
        ("20 addresses, EDNS", 1000, 20, false, true),
        ("one address, 100,000 names", 100_000, 1, false, false),
    ];
    let mut out = vec![0; MAX_UDP_REPLY];
    for (case, names, addresses, alias, edns) in cases {
        let (mut shard, queries, now) = cached(names, addresses, alias, edns);
        let mut next = queries.iter().cycle();
        group.bench_function(BenchmarkId::new("shard", case), |bencher| {
            bencher.iter(|| {
                let query = next.next().unwrap();
                let step = shard.query(now, (), Transport::Udp, black_box(query), &mut out);
                assert!(matches!(step, Step::Reply(_)));
            });
        });
    }
    group.finish();
}

fn floors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor");
    let (_, queries, _) = cached(1000, 1, false, false);
    let mut out = vec![0; MAX_UDP_REPLY];
    let mut next = queries.iter().cycle();
    group.bench_function("copy the query and 16 bytes", |bencher| {
        bencher.iter(|| {
            let query = black_box(next.next().unwrap());
            out[..query.len()].copy_from_slice(query);
            out[query.len()..query.len() + 16].copy_from_slice(&[0; 16]);
            black_box(&mut out);
        });
    });
    let mut next = queries.iter().cycle();
    group.bench_function("parse the query", |bencher| {
        bencher.iter(|| {
            let parsed = wire::Query::parse(black_box(next.next().unwrap()));
            assert!(black_box(parsed).is_ok());
        });
    });
    group.finish();
}

criterion_group!(benches, floors, hits);
criterion_main!(benches);
