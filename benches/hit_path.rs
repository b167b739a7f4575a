//! The hit path: a client's packet in, the cached answer's bytes out, no system call.
//!
//! `floor` copies as many bytes as a reply has; `parse` is what reading the query alone costs. A hit
//! should be a small multiple of both, whatever the size of the cache.

use std::hint::black_box;

use benches::cached::cached;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use resolver::{MAX_UDP_REPLY, Step, Transport};

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
