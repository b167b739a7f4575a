//! Instructions of the hit path, counted by callgrind: the same on every run of the same program, however
//! busy the machine. A change that adds to them shows here, and nowhere else so early.
//!
//! Takes valgrind, and `cargo install --locked gungraun-runner` of the version in Cargo.lock.

// What gungraun's macros write.
#![allow(missing_docs, unused_qualifications)]

use std::hint::black_box;
use std::time::Instant;

use benches::cached::{answer, cached, query};
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use resolver::{MAX_UDP_REPLY, Shard, Step, Transport};
use wire::{Message, Query};

/// Names in the cache: as many as a busy server asks for.
const NAMES: u32 = 1000;

/// Percent that a count may grow over the last run's before the run fails.
const MORE: f64 = 1.0;

const NAME: &str = "host-7.us-east-1.amazonaws.com.";

struct Hit {
    shard: Shard<()>,
    query: Vec<u8>,
    now: Instant,
    out: Vec<u8>,
}

/// A shard that has been asked once before: what is counted is no first time.
fn hit(addresses: u8, alias: bool, edns: bool) -> Hit {
    let (mut shard, queries, now) = cached(NAMES, addresses, alias, edns);
    let query = queries.into_iter().nth(7).unwrap();
    let mut out = vec![0; MAX_UDP_REPLY];
    shard.query(now, (), Transport::Udp, &query, &mut out);
    Hit {
        shard,
        query,
        now,
        out,
    }
}

#[library_benchmark]
#[bench::one_address(hit(1, false, false))]
#[bench::one_address_edns(hit(1, false, true))]
#[bench::cname_and_two_addresses(hit(2, true, true))]
#[bench::twenty_addresses(hit(20, false, true))]
fn shard(mut hit: Hit) -> Hit {
    let query = black_box(&hit.query);
    let step = hit
        .shard
        .query(hit.now, (), Transport::Udp, query, &mut hit.out);
    assert!(matches!(step, Step::Reply(_)));
    // Given back, so that dropping the cache is not counted.
    hit
}

#[library_benchmark]
#[bench::plain(query(NAME, false))]
#[bench::edns(query(NAME, true))]
fn parse(packet: Vec<u8>) -> Vec<u8> {
    assert!(black_box(Query::parse(black_box(&packet))).is_ok());
    packet
}

#[library_benchmark]
#[bench::one_address(answer(&query(NAME, true), 1, false))]
#[bench::twenty_addresses(answer(&query(NAME, true), 20, false))]
fn walk(bytes: Vec<u8>) -> Vec<u8> {
    let message = Message::parse(black_box(&bytes)).unwrap();
    assert!(black_box(message.records().count()) > 0);
    bytes
}

library_benchmark_group!(name = hits, benchmarks = [shard]);
library_benchmark_group!(name = messages, benchmarks = [parse, walk]);

main!(
    config = LibraryBenchmarkConfig::default().tool(
        Callgrind::with_args(["--cache-sim=no"])
            .format([EventKind::Ir])
            .soft_limits([(EventKind::Ir, MORE)])
    ),
    library_benchmark_groups = [hits, messages]
);
