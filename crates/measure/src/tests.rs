//! Whole runs against servers on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use wire::{Ede, EdnsReply, Flags, Message, Query, Writer, ede, rcode};

use super::*;

/// A server for the process's life. The first label says how it answers: `nx`, `servfail`, `empty`,
/// `large` (truncated over UDP), `stale` (the reply to another query first), `silent`, anything else.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) udp: Arc<AtomicU64>,
    pub(crate) tcp: Arc<AtomicU64>,
    pub(crate) connections: Arc<AtomicU64>,
    /// Names that were asked for over UDP.
    pub(crate) names: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Over TCP a connection ends after so many replies.
    pub(crate) fn start(replies_a_connection: usize) -> Self {
        Self::start_stalling(replies_a_connection, None)
    }

    /// The query of this number over UDP is answered so much later, and all behind it.
    fn start_stalling(replies_a_connection: usize, stall: Option<(u64, Duration)>) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let server = Self {
            address: udp.local_addr().unwrap(),
            udp: Arc::default(),
            tcp: Arc::default(),
            connections: Arc::default(),
            names: Arc::default(),
        };
        let (count, names) = (Arc::clone(&server.udp), Arc::clone(&server.names));
        thread::spawn(move || {
            let mut query = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut query) {
                let number = count.fetch_add(1, Ordering::SeqCst);
                if let Some((at, time)) = stall
                    && at == number
                {
                    thread::sleep(time);
                }
                let query = &query[..length];
                let name = name(query);
                names.lock().unwrap().push(name.clone());
                if name.starts_with("stale.") {
                    let mut other = reply(query, false).unwrap();
                    other[0] ^= 1;
                    udp.send_to(&other, from).unwrap();
                }
                if let Some(reply) = reply(query, true) {
                    udp.send_to(&reply, from).unwrap();
                }
            }
        });
        let (count, opened) = (Arc::clone(&server.tcp), Arc::clone(&server.connections));
        thread::spawn(move || {
            for stream in tcp.incoming() {
                opened.fetch_add(1, Ordering::SeqCst);
                let count = Arc::clone(&count);
                thread::spawn(move || serve(stream.unwrap(), replies_a_connection, &count));
            }
        });
        server
    }
}

fn serve(mut stream: TcpStream, replies: usize, count: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    for _ in 0..replies {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query)?;
        count.fetch_add(1, Ordering::SeqCst);
        if let Some(reply) = reply(&query, false) {
            let mut frame = Vec::new();
            link::frame::encode(&reply, &mut frame)?;
            // A frame may come in pieces.
            let (head, rest) = frame.split_at(5);
            stream.write_all(head)?;
            stream.flush()?;
            stream.write_all(rest)?;
        }
    }
    Ok(())
}

fn name(query: &[u8]) -> String {
    let message = Message::parse(query).unwrap();
    wire::Name::read(message.question.name, 0)
        .unwrap()
        .to_string()
}

fn reply(query: &[u8], is_udp: bool) -> Option<Vec<u8>> {
    let name = name(query);
    let query = Query::parse(query).unwrap();
    let (rcode, answers, code) = match name.split('.').next().unwrap() {
        "silent" => return None,
        "nx" => (rcode::NXDOMAIN, 0, None),
        "servfail" => (rcode::SERVFAIL, 0, Some(ede::NO_REACHABLE_AUTHORITY)),
        "empty" => (rcode::NOERROR, 0, None),
        _ => (rcode::NOERROR, 1, None),
    };
    let cut = is_udp && name.starts_with("large.");
    let flags = Flags(Flags::QR | if cut { Flags::TC } else { 0 } | u16::from(rcode));
    let mut room = [0; 600];
    let mut out = Writer::new(&mut room);
    let answers = if cut { 0 } else { answers };
    out.header(query.id, flags, [1, answers, 0, 1])?;
    out.bytes(query.question.name)?;
    out.u16(query.question.qtype)?;
    out.u16(query.question.qclass)?;
    if answers > 0 {
        out.bytes(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 1, 17])?;
    }
    let opt = EdnsReply {
        udp_size: 1232,
        ede: code.map(|code| Ede { code, text: "why" }),
        ..EdnsReply::default()
    };
    opt.write(&mut out)?;
    Some(out.written().to_vec())
}

pub(crate) fn questions(names: &[&str], cold: bool) -> Questions {
    let mut questions = Questions::new(cold);
    for name in names {
        questions.add(name, &[Rtype::A]).unwrap();
    }
    questions
}

fn plan(targets: Vec<Target>, names: &[&str]) -> Plan {
    Plan {
        targets,
        questions: questions(names, names[0].starts_with('*')),
        pace: Pace::Closed,
        concurrency: 1,
        duration: Duration::from_millis(300),
        upstream_pps: Some(100),
        timeout: Duration::from_secs(2),
    }
}

fn quietly(plan: &Plan) -> Report {
    run(plan, |_| {}).unwrap()
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::SeqCst)
}

#[test]
fn targets_take_turns_and_failures_are_told_by_kind() {
    let server = Server::start(usize::MAX);
    let targets = vec![
        Target::StubUdp(server.address),
        Target::StubTcp(server.address),
    ];
    let names = [
        "a.example",
        "nx.example",
        "servfail.example",
        "empty.example",
    ];
    let mut seen = Vec::new();
    let plan = plan(targets, &names);
    let report = run(&plan, |progress| seen.push(progress)).unwrap();
    for (target, asked) in report.targets.iter().zip([&server.udp, &server.tcp]) {
        let ended = target.ended();
        assert!(ended >= 4, "{ended}");
        assert_eq!(load(asked), ended + 4, "once more each for the first round");
        let failures: Vec<_> = target.failures.iter().collect();
        let [(no_name, no_names), (failed, failures)] = *failures else {
            panic!("{failures:?}");
        };
        assert_eq!(no_name.to_string(), "NXDOMAIN");
        assert_eq!(
            failed.to_string(),
            "SERVFAIL, EDE 22 (No Reachable Authority)"
        );
        // A quarter of the lookups each.
        assert!(no_names.abs_diff(ended / 4) <= 1 && failures.abs_diff(ended / 4) <= 1);
        assert!(target.empty.abs_diff(ended / 4) <= 1);
        assert_eq!(target.latencies.count() + target.failures.total(), ended);
        assert!(!target.held_back && target.intended.is_none());
        assert!(target.spent >= plan.duration / 2, "its share");
        let points: u64 = target
            .points
            .iter()
            .map(|point| point.answered + point.failed)
            .sum();
        assert_eq!(points, ended);
    }
    assert_eq!(load(&server.connections), 1, "TCP lasts");
    assert!(report.has_answers());
    assert!(
        seen.iter().any(
            |progress| matches!(progress, Progress::Measuring { lookups, .. } if *lookups > 0)
        )
    );
}

#[test]
fn an_open_loop_asks_as_often_as_it_was_told() {
    let server = Server::start(usize::MAX);
    let plan = Plan {
        pace: Pace::Open(200),
        concurrency: 4,
        duration: Duration::from_millis(500),
        ..plan(
            vec![
                Target::StubUdp(server.address),
                Target::StubTcp(server.address),
            ],
            &["a.example"],
        )
    };
    let report = quietly(&plan);
    for target in &report.targets {
        assert_eq!((target.intended, target.ended()), (Some(100), 100));
    }
    assert_eq!((load(&server.udp), load(&server.tcp)), (101, 101));
}

/// The server sleeps 400 ms over one query. A closed loop sees one slow lookup; of an open loop's
/// lookups all that were to begin meanwhile are late.
#[test]
fn a_stall_makes_all_lookups_late_that_were_to_begin_meanwhile() {
    let slow = |pace| {
        let stall = Some((20, Duration::from_millis(400)));
        let server = Server::start_stalling(usize::MAX, stall);
        let plan = Plan {
            pace,
            duration: Duration::from_secs(1),
            ..plan(vec![Target::StubUdp(server.address)], &["a.example"])
        };
        let report = quietly(&plan);
        let latencies = &report.targets[0].latencies;
        latencies
            .values()
            .filter(|(value, _)| *value > Duration::from_millis(100))
            .map(|(_, times)| times)
            .sum::<u64>()
    };
    let (open, closed) = (slow(Pace::Open(100)), slow(Pace::Closed));
    assert!(open >= 29, "one in 10 ms for 300 ms: {open}");
    assert!(closed * 3 < open, "{closed} in a closed loop");
}

#[test]
fn a_rate_that_cannot_be_kept_is_told() {
    let server = Server::start(usize::MAX);
    let plan = Plan {
        pace: Pace::Open(1000),
        duration: Duration::from_millis(200),
        timeout: Duration::from_millis(300),
        ..plan(vec![Target::StubUdp(server.address)], &["silent.example"])
    };
    let report = quietly(&plan);
    let target = &report.targets[0];
    assert_eq!(target.intended, Some(200));
    assert!((1..10).contains(&target.ended()), "{}", target.ended());
    assert_eq!(
        target.failures.iter().next(),
        Some((&Failure::Timeout, target.ended()))
    );
    assert!(!report.has_answers());
    let text = report.remarks().join("\n");
    assert!(text.contains("could not begin in time"), "{text}");
}

#[test]
fn cold_names_are_new_with_each_lookup_and_under_the_quota() {
    let server = Server::start(usize::MAX);
    let other = Server::start(usize::MAX);
    let plan = Plan {
        upstream_pps: Some(50),
        duration: Duration::from_millis(1500),
        ..plan(
            vec![
                Target::StubUdp(server.address),
                Target::StubUdp(other.address),
            ],
            &["*.s3.example"],
        )
    };
    let begun = Instant::now();
    let report = quietly(&plan);
    let most = 5.0 + 45.0 * begun.elapsed().as_secs_f64();
    let mut names = server.names.lock().unwrap().clone();
    names.extend(other.names.lock().unwrap().iter().cloned());
    let asked = names.len();
    // Five at once, then 45 a second.
    let count = f64::from(u32::try_from(asked).unwrap());
    assert!(count > 5.0 && count <= most, "{asked}, {most}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), asked, "no name twice, of any target");
    assert!(names.iter().all(|name| name.ends_with(".s3.example")));
    for target in &report.targets {
        assert!(target.held_back && target.ended() > 0, "{}", target.ended());
    }
    assert!(
        report
            .remarks()
            .join("\n")
            .contains("held back to 50 packets")
    );
}

/// A rate beyond the quota is lowered, not queued.
#[test]
fn a_rate_beyond_the_quota_is_the_quotas() {
    let server = Server::start(usize::MAX);
    let plan = Plan {
        pace: Pace::Open(1000),
        upstream_pps: Some(100),
        duration: Duration::from_millis(1000),
        ..plan(vec![Target::StubUdp(server.address)], &["*.s3.example"])
    };
    let report = quietly(&plan);
    assert_eq!(report.targets[0].intended, Some(90));
    assert_eq!(load(&server.udp), 90);
    assert!(report.targets[0].held_back);
}

#[test]
fn who_is_not_there_is_left_out_with_a_reason() {
    let server = Server::start(usize::MAX);
    let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let closed = gone.local_addr().unwrap();
    drop(gone);
    let nobody = vec![
        Target::StubUdp(closed),
        Target::StubTcp(closed),
        Target::Upstream {
            parent: link::Parent::new(link::Address::Unix("/no/such".into()), 8888),
            nameserver: closed,
        },
    ];
    let mut some = nobody.clone();
    some.push(Target::StubUdp(server.address));
    let report = quietly(&plan(some, &["a.example"]));
    assert_eq!(report.targets.len(), 1);
    let Err(RunError::Nobody { missing }) = run(&plan(nobody, &["a.example"]), |_| {}) else {
        panic!("there is nobody");
    };
    for missing in [missing, report.missing] {
        let mut why: Vec<String> = missing.iter().map(Missing::to_string).collect();
        why.sort();
        assert!(why[0].starts_with("tcp is left out: cannot reach 127.0.0.1:"));
        assert!(
            why[1].starts_with("udp is left out: nobody listens at"),
            "{why:?}"
        );
        assert!(
            why[2].contains("is proxify-relay running there?"),
            "{why:?}"
        );
    }
}

#[test]
fn a_plan_out_of_its_bounds_is_refused() {
    let target = Target::Server(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
    let good = plan(vec![target.clone()], &["a.example"]);
    let no_names = Plan {
        questions: Questions::new(false),
        ..good.clone()
    };
    let targets = Plan {
        targets: vec![target; MAX_TARGETS + 1],
        ..good.clone()
    };
    let concurrency = Plan {
        concurrency: 0,
        ..good
    };
    assert!(matches!(run(&no_names, |_| {}), Err(RunError::NoNames)));
    assert!(matches!(run(&targets, |_| {}), Err(RunError::Targets)));
    assert!(matches!(
        run(&concurrency, |_| {}),
        Err(RunError::Concurrency)
    ));
}

#[test]
fn what_is_known_here_does_not_count_as_past_the_cache() {
    let server = |text: &str| Target::Server(text.parse().unwrap());
    assert!(!server("127.0.0.53:53").is_past_the_cache());
    assert!(server("10.0.0.2:53").is_past_the_cache());
    for is_remote in [false, true] {
        let libc = Target::Getaddrinfo { is_remote };
        assert_eq!(libc.is_past_the_cache(), is_remote);
    }
    let elsewhere = Target::StubUdp("10.0.0.2:53".parse().unwrap());
    assert!(
        elsewhere.is_past_the_cache(),
        "who calls it the stub does not make it one"
    );
    assert_eq!(server("10.0.0.2:53").label(), "10.0.0.2");
    assert_eq!(server("[fd00::2]:5353").label(), "[fd00::2]:5353");
}
