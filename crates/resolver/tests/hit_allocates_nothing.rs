//! The hit path allocates nothing: every allocation of this process is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use resolver::{Config, MAX_REPLY, Pins, Route, Routes, Shard, Step, Transport};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came. Counting touches a
// thread-local that needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps this method's contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(of: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    of();
    ALLOCATIONS.get() - before
}

fn query(name: &str, rtype: RecordType, edns: bool) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    message.edns = edns.then(Edns::new);
    message.to_vec().unwrap()
}

fn response(name: &str, rcode: ResponseCode) -> Message {
    let mut message = Message::response(0, OpCode::Query);
    message.metadata.response_code = rcode;
    let name = Name::from_ascii(name).unwrap();
    message.add_query(Query::query(name, RecordType::A));
    message
}

#[test]
fn a_hit_allocates_nothing() {
    let now = Instant::now();
    let nameserver = SocketAddr::from(([10, 0, 0, 2], 53));
    let routed = Route {
        suffix: "routed.test".parse().unwrap(),
        nameservers: vec![nameserver],
    };
    let config = Config {
        cache_size: 1 << 20,
        seed: [1, 2],
        routes: Routes::new(vec![routed]).unwrap(),
        pins: Pins::default(),
        upstream_pps: 900,
    };
    let mut shard = Shard::new(config, now);
    let mut actions = Vec::new();
    shard.set_nameservers(now, &[nameserver], &mut actions);
    let mut out = vec![0; MAX_REPLY];

    let addresses = |name: &str| {
        let mut addresses = response(name, ResponseCode::NoError);
        for host in 1..=3 {
            let address = RData::A(A::new(10, 0, 0, host));
            let name = Name::from_ascii(name).unwrap();
            addresses.add_answer(Record::from_rdata(name, 60, address));
        }
        addresses
    };
    let mut denial = response("gone.test.", ResponseCode::NXDomain);
    let soa = SOA::new(Name::root(), Name::root(), 1, 2, 3, 4, 60);
    let zone = Name::from_ascii("test.").unwrap();
    denial.add_authority(Record::from_rdata(zone, 60, RData::SOA(soa)));
    for answer in [
        addresses("www.test."),
        addresses("www.routed.test."),
        denial,
    ] {
        let packet = query(&answer.queries[0].name.to_ascii(), RecordType::A, true);
        let Step::Ask(ask) = shard.query(now, 0, Transport::Udp, &packet, &mut out) else {
            panic!("not a miss");
        };
        let answer = answer.to_vec().unwrap();
        shard.answer(now, ask.ticket, Ok(&answer), &mut actions);
    }

    let now = now + Duration::from_secs(7);
    let hits = [
        query("www.test.", RecordType::A, true),
        query("WWW.TEST.", RecordType::A, false),
        query("www.routed.test.", RecordType::A, true),
        // Known from the answer for another type.
        query("gone.test.", RecordType::AAAA, true),
        query("gone.test.", RecordType::MX, true),
    ];
    for packet in hits {
        for transport in [Transport::Udp, Transport::Tcp] {
            let count = allocations(|| {
                for _ in 0..100 {
                    let step = shard.query(now, 0, transport, &packet, &mut out);
                    assert!(matches!(step, Step::Reply(_)));
                }
            });
            assert_eq!(count, 0);
        }
    }
    assert_eq!(shard.counters().hits, 1000);

    // Nor while a refresh is under way.
    let now = now + Duration::from_secs(50);
    let packet = query("www.test.", RecordType::A, true);
    let step = shard.query(now, 0, Transport::Udp, &packet, &mut out);
    assert!(matches!(step, Step::ReplyAndAsk(..)));
    let count = allocations(|| {
        let step = shard.query(now, 0, Transport::Udp, &packet, &mut out);
        assert!(matches!(step, Step::Reply(_)));
    });
    assert_eq!(count, 0);
    // The counter does count.
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}
