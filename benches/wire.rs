//! DNS bytes in place: a query parsed, an answer walked, a reply's parts written.
//!
//! hickory-proto, which makes owned values of the same bytes, stands beside the first two.

use std::hint::black_box;

use benches::cached::{answer, query};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hickory_proto::op::Message as Owned;
use wire::{EdnsReply, Flags, Message, Query, Writer};

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse a query");
    for (case, edns) in [("plain", false), ("EDNS", true)] {
        let packet = query("host-7.us-east-1.amazonaws.com.", edns);
        group.bench_function(BenchmarkId::new("wire", case), |bencher| {
            bencher.iter(|| assert!(black_box(Query::parse(black_box(&packet))).is_ok()));
        });
        group.bench_function(BenchmarkId::new("hickory-proto", case), |bencher| {
            bencher.iter(|| assert!(black_box(Owned::from_vec(black_box(&packet))).is_ok()));
        });
    }
    group.finish();
}

fn walk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("walk an answer");
    for (case, addresses, alias) in [
        ("one address", 1, false),
        ("CNAME and 2 addresses", 2, true),
        ("20 addresses", 20, false),
    ] {
        let query = query("host-7.us-east-1.amazonaws.com.", true);
        let bytes = answer(&query, addresses, alias);
        let records = usize::from(addresses) + usize::from(alias);
        group.bench_function(BenchmarkId::new("wire", case), |bencher| {
            bencher.iter(|| {
                let message = Message::parse(black_box(&bytes)).unwrap();
                let walked = message.records().count();
                assert_eq!(black_box(walked), records);
            });
        });
        group.bench_function(BenchmarkId::new("hickory-proto", case), |bencher| {
            bencher.iter(|| {
                let message = Owned::from_vec(black_box(&bytes)).unwrap();
                assert_eq!(black_box(message.answers.len()), records);
            });
        });
    }
    group.finish();
}

fn write(criterion: &mut Criterion) {
    let packet = query("host-7.us-east-1.amazonaws.com.", true);
    let parsed = Query::parse(&packet).unwrap();
    let mut out = [0; 512];
    criterion.bench_function("write header, question and OPT", |bencher| {
        bencher.iter(|| {
            let mut writer = Writer::new(black_box(&mut out));
            let written = || -> Option<usize> {
                writer.header(parsed.id, Flags(Flags::QR), [1, 0, 0, 1])?;
                writer.bytes(parsed.question.name)?;
                writer.u16(parsed.question.qtype)?;
                writer.u16(parsed.question.qclass)?;
                EdnsReply::default().write(&mut writer)?;
                Some(writer.len())
            }();
            assert!(black_box(written).is_some());
        });
    });
}

criterion_group!(benches, parse, walk, write);
criterion_main!(benches);
