//! A storm of names that nobody asked for before, beside names that are asked for all the time.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use crate::{Outcome, STUB, TIMEOUT, addresses, query};

/// Queries go out in bunches, one in so long.
const BUNCH: Duration = Duration::from_millis(5);

/// Queries without an answer at which the storm holds: as many as the stub's socket takes. It comes to
/// that where the processor is short.
const UNANSWERED: usize = 3000;

/// The storm's sockets: the system keeps some 200 replies for each, so that none is lost while this
/// program does not run.
const SOCKETS: usize = 32;

/// Between two looks at what has gone upstream.
const LOOK: Duration = Duration::from_millis(100);

/// Asks for `rate` new names a second for so many seconds and meanwhile for the `hot` names, again
/// and again. Every query must be answered in time, each of those for hot names with an address;
/// and `queries`, which has a line for each packet upstream, may grow by `quota` lines a second.
pub(crate) fn storm(
    rate: u16,
    seconds: u16,
    quota: usize,
    queries: &Path,
    hot: &[&str],
) -> Outcome {
    for name in hot {
        served(name)?;
    }
    let total = rate.checked_mul(seconds).ok_or("more names than ids")?;
    let over = AtomicBool::new(false);
    let mut upstream = BufReader::new(File::open(queries)?);
    while upstream.read_line(&mut String::new())? > 0 {}
    let start = Instant::now();
    thread::scope(|scope| {
        let looking = scope.spawn(|| look(upstream, start, quota, &over));
        let serving = scope.spawn(|| -> Result<u32, String> {
            let mut lookups = 0;
            while !over.load(Ordering::Relaxed) {
                for name in hot {
                    served(name).map_err(|error| format!("{name}: {error}"))?;
                    lookups += 1;
                }
                thread::sleep(Duration::from_millis(2));
            }
            Ok(lookups)
        });
        let answered = ask(total, rate);
        over.store(true, Ordering::Relaxed);
        let lookups = serving.join().map_err(|_| "a panic")??;
        let (lines, most) = looking.join().map_err(|_| "a panic")??;
        let (right, refused) = answered?;
        eprintln!(
            "{total} names in {:?}: {right} asked for, {refused} refused, {lines} packets upstream, \
             at most {most} in a second; {lookups} lookups of hot names",
            start.elapsed(),
        );
        println!("all names answered");
        println!("hot names served");
        println!("upstream within {quota} packets a second");
        Ok(())
    })
}

/// One lookup that must give an address in time.
fn served(name: &str) -> Result<(), String> {
    let ask = || -> Result<Message, Box<dyn std::error::Error>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.connect(STUB)?;
        socket.send(&query(1, name, RecordType::A)?)?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer)?;
        Ok(Message::from_vec(&buffer[..length])?)
    };
    let reply = ask().map_err(|error| error.to_string())?;
    match addresses(&reply).is_empty() {
        true => Err(reply.to_string()),
        false => Ok(()),
    }
}

/// Asks for so many names; gives how many were looked up, and how many refused.
fn ask(total: u16, rate: u16) -> Result<(usize, usize), String> {
    let sockets: Vec<UdpSocket> = (0..SOCKETS)
        .map(|_| socket())
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        let sending = scope.spawn(|| send(&sockets, &answered, total, rate));
        let mut replies = Replies {
            right: 0,
            refused: 0,
            seen: vec![false; total.into()],
        };
        let mut last = Instant::now();
        let mut buffer = [0; 4096];
        while answered.load(Ordering::Relaxed) < total.into() {
            let before = answered.load(Ordering::Relaxed);
            for socket in &sockets {
                while let Ok(length) = socket.recv(&mut buffer) {
                    replies.take(&buffer[..length])?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
            if answered.load(Ordering::Relaxed) > before {
                last = Instant::now();
            } else if last.elapsed() > TIMEOUT {
                return Err(format!("{before} of {total} answered, then none"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        sending.join().map_err(|_| "a panic")??;
        Ok((replies.right, replies.refused))
    })
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(STUB)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn send(
    sockets: &[UdpSocket],
    answered: &AtomicUsize,
    total: u16,
    rate: u16,
) -> Result<(), String> {
    let start = Instant::now();
    let mut sent = 0;
    while sent < total {
        let due = start.elapsed().as_secs_f64() * f64::from(rate);
        while f64::from(sent) < due && sent < total {
            let packet = query(sent, &name(sent), RecordType::A);
            let packet = packet.map_err(|error| error.to_string())?;
            let socket = &sockets[usize::from(sent) % SOCKETS];
            socket.send(&packet).map_err(|error| error.to_string())?;
            sent += 1;
        }
        let waited = Instant::now();
        while usize::from(sent) >= answered.load(Ordering::Relaxed) + UNANSWERED {
            if waited.elapsed() > TIMEOUT {
                return Err("the stub answers no more".to_owned());
            }
            thread::sleep(BUNCH);
        }
        thread::sleep(BUNCH);
    }
    Ok(())
}

fn name(id: u16) -> String {
    format!("n{id}.storm.kv.internal.")
}

struct Replies {
    right: usize,
    refused: usize,
    seen: Vec<bool>,
}

impl Replies {
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let reply = Message::from_vec(bytes).map_err(|error| error.to_string())?;
        let asked = reply.queries.first().map(|query| query.name().to_ascii());
        let is_twice = std::mem::replace(&mut self.seen[usize::from(reply.id)], true);
        if is_twice || asked != Some(name(reply.id)) {
            return Err(format!("a wrong answer, or one given twice: {reply}"));
        }
        match reply.response_code {
            ResponseCode::NXDomain => self.right += 1,
            ResponseCode::ServFail => self.refused += 1,
            _ => return Err(format!("neither NXDOMAIN nor SERVFAIL: {reply}")),
        }
        Ok(())
    }
}

/// Watches the packets upstream until the storm is `over`. Late lines are those of an earlier second, so
/// all since the start are compared with the time since; gives them, and the most between looks that
/// are a second apart.
fn look(
    mut upstream: BufReader<File>,
    start: Instant,
    quota: usize,
    over: &AtomicBool,
) -> Result<(usize, usize), String> {
    let mut line = String::new();
    let mut counts: Vec<(Duration, usize)> = Vec::new();
    let mut lines = 0;
    let mut most = 0;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
        while upstream
            .read_line(&mut line)
            .map_err(|error| error.to_string())?
            > 0
        {
            lines += 1;
            line.clear();
        }
        let now = start.elapsed();
        let allowed = now.as_secs_f64().max(1.0) * quota as f64;
        if lines as f64 > allowed {
            return Err(format!("{lines} packets upstream within {now:?}"));
        }
        counts.push((now, lines));
        let earlier = counts
            .iter()
            .rev()
            .find(|(at, _)| *at + Duration::from_secs(1) <= now);
        most = most.max(lines - earlier.map_or(0, |(_, lines)| *lines));
    }
    Ok((lines, most))
}
