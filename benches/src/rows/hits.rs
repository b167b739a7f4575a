//! Answers from the cache.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::floor::Reply;
use crate::lab::{Lab, NAMES, Server, Start, WINDOW};
use crate::outcome::count;
use crate::questions::Questions;
use crate::servers::Program;
use crate::table::{Limit, Row};
use crate::tcp;
use crate::udp::{Plan, Until};
use crate::zone::{Kind, MIXED};

/// Connections over TCP, and queries in flight on each.
const CONNECTIONS: usize = 64;
const DEPTH: u16 = 16;

fn hosts() -> Result<Questions, Failure> {
    Questions::new((0..NAMES).map(|number| Kind::Host.asked(number)))
}

fn plan(questions: &Questions, window: usize, time: Duration) -> Plan<'_> {
    Plan {
        questions,
        order: None,
        from: 0,
        window,
        until: Until::Elapsed(time),
    }
}

/// The same 1000 names, many at once and one at a time.
pub(super) fn rows(lab: &mut Lab, servers: &[&Server]) -> Result<Vec<Row>, Failure> {
    let batches = lab.start(Program::DnsdistInBatches, Start::default())?.0;
    let servers: Vec<&Server> = servers.iter().copied().chain([&batches]).collect();
    let mut rows = cached(lab, &servers)?;
    rows.extend(alone(lab, &servers)?);
    Ok(rows)
}

fn cached(lab: &mut Lab, servers: &[&Server]) -> Result<Vec<Row>, Failure> {
    let questions = hosts()?;
    warm(servers, &questions);
    let plan = plan(&questions, WINDOW, lab.settings.time);
    let figures = lab.rounds(servers, |_, server| {
        let (outcome, cpu) = server.load(&plan)?;
        Ok([cpu, outcome.rate()])
    });
    let mut cpu = Row::new("CPU per cached answer", "µs");
    let mut rate = Row::new("cached answers per second, one core", "/s");
    for (name, [per_answer, per_second]) in figures {
        cpu.add(name, per_answer);
        rate.add(name, per_second);
    }
    cpu.ratio_goal("proxify", "floor", Limit::AtMost(1.15));
    cpu.peer_goal("proxify", Limit::AtMost(0.65));
    rate.peer_goal("proxify", Limit::AtLeast(1.5));
    Ok(vec![cpu, rate])
}

/// What the packet rules of `--egress` cost everything on loopback: the same again, with them.
pub(super) fn with_egress(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    let egress = Start {
        egress: true,
        ..Start::default()
    };
    let servers = [
        lab.start(Program::Floor, Start::default())?.0,
        lab.start(Program::Proxify, egress)?.0,
    ];
    let servers: Vec<&Server> = servers.iter().collect();
    let questions = hosts()?;
    warm(&servers, &questions);
    let plan = plan(&questions, WINDOW, lab.settings.time);
    let figures = lab.rounds(&servers, |_, server| Ok([server.load(&plan)?.1]));
    let mut row = Row::new("CPU per cached answer, with --egress", "µs");
    for (name, [cpu]) in figures {
        row.add(name, cpu);
    }
    Ok(vec![row])
}

fn alone(lab: &mut Lab, servers: &[&Server]) -> Result<Vec<Row>, Failure> {
    let questions = hosts()?;
    let plan = plan(&questions, 1, lab.settings.time / 2);
    let figures = lab.rounds(servers, |_, server| {
        let (outcome, _) = server.load(&plan)?;
        Ok([outcome.micros(0.5), outcome.micros(0.99)])
    });
    let mut p50 = Row::new("one at a time, p50", "µs");
    let mut p99 = Row::new("one at a time, p99", "µs");
    for (name, [half, most]) in figures {
        p50.add(name, half);
        p99.add(name, most);
    }
    p50.difference_goal("proxify", "floor", Limit::AtMost(3.0));
    Ok(vec![p50, p99])
}

/// Answers of all sizes and kinds, beside a floor that sends as many bytes.
pub(super) fn mixed(lab: &mut Lab, servers: &[&Server]) -> Result<Vec<Row>, Failure> {
    let each = |kind: Kind| (0..NAMES / MIXED.len()).map(move |number| kind.asked(number));
    let all = (0..NAMES).map(|index| {
        let (kind, _) = MIXED[index % MIXED.len()];
        kind.asked(index / MIXED.len())
    });
    let all = Questions::new(all)?;
    warm(servers, &all);
    let stub = servers
        .iter()
        .find(|server| server.program == Program::Proxify);
    let Some(&stub) = stub else {
        return Ok(Vec::new());
    };
    let mut replies = Vec::new();
    for (kind, _) in MIXED {
        replies.push(Reply {
            letter: kind.letter(),
            length: reply_length(stub, &Questions::new(each(kind))?)?,
            rcode: kind.rcode(),
        });
    }
    let start = Start {
        replies: &replies,
        ..Start::default()
    };
    let floor = lab.start(Program::Floor, start)?.0;
    let pair = [&floor, stub];
    let mut everyone = vec![&floor];
    everyone.extend(
        servers
            .iter()
            .filter(|server| server.program != Program::Floor),
    );
    let mut rows = Vec::new();
    for (kind, name) in MIXED {
        let questions = Questions::new(each(kind))?;
        rows.push(compared(lab, name, &questions, &pair));
    }
    rows.push(compared(lab, "all of these", &all, &everyone));
    Ok(rows)
}

fn compared(lab: &mut Lab, name: &str, questions: &Questions, servers: &[&Server]) -> Row {
    let mut row = Row::new(format!("CPU per cached answer, {name}"), "µs");
    let plan = plan(questions, WINDOW, lab.settings.time / 2);
    let figures = lab.rounds(servers, |_, server| Ok([server.load(&plan)?.1]));
    for (name, [cpu]) in figures {
        row.add(name, cpu);
    }
    row.ratio_goal("proxify", "floor", Limit::AtMost(1.3));
    row
}

/// The length of a server's reply to the first of the questions.
fn reply_length(server: &Server, questions: &Questions) -> Result<usize, Failure> {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.send(questions.at(0).packet)?;
        socket.recv(&mut [0; 4096])
    };
    ask().map_err(|source| Failure::io("length of a reply", source))
}

pub(super) fn over_tcp(lab: &mut Lab, servers: &[&Server]) -> Result<Vec<Row>, Failure> {
    let questions = Arc::new(hosts()?);
    let plan = tcp::Plan {
        connections: CONNECTIONS,
        depth: DEPTH,
        time: lab.settings.time / 2,
    };
    let mut row = Row::new(format!("CPU per cached answer, TCP × {CONNECTIONS}"), "µs");
    let figures = lab.rounds(servers, |_, server| {
        if !server.program.has_tcp() {
            return Ok([f64::NAN]);
        }
        let before = server.process.cpu()?;
        let outcome = tcp::ask(server.address, &questions, plan)
            .map_err(|source| Failure::io(format!("{} over TCP", server.program.name()), source))?;
        let cpu = server.process.cpu()? - before;
        server.judge(&outcome)?;
        Ok([cpu.as_secs_f64() * 1e6 / count(outcome.answered)])
    });
    for (name, [cpu]) in figures {
        if cpu.is_finite() {
            row.add(name, cpu);
        }
    }
    row.peer_goal("proxify", Limit::AtMost(0.8));
    Ok(vec![row])
}

fn warm(servers: &[&Server], questions: &Questions) {
    for server in servers {
        if let Err(error) = server.warm(questions) {
            eprintln!("{error}");
        }
    }
}
