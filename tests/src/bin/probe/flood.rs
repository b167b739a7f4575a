//! Programs of the enclave that flood the stub, beside one that asks for names as ever.

use std::fs;
use std::io::{self, IoSlice, Write as _};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tests::known::{self, Known};

use crate::{Outcome, STUB, TIMEOUT, addresses, query};

/// Connections of the silent.
const CONNECTIONS: u64 = 10_000;

/// The most that one frame over TCP is (RFC 7766 §8), and one datagram over IPv4.
const LARGEST: usize = 65_535;
const LARGEST_DATAGRAM: usize = 65_507;

/// Connections over which the largest queries come, and of those the ones whose last byte never comes:
/// more than the stub keeps.
const LARGE_CONNECTIONS: usize = 300;

/// Where a flood may have got ahead of the stub before it waits, bytes of packets: less than the socket
/// keeps, so that what is lost was lost by the stub.
const AHEAD: usize = 150_000;

/// Packets that go out by one system call, and between two looks at the clock.
const BUNCH: usize = 64;
const PAUSE: Duration = Duration::from_micros(500);

/// Packets that may be due at once: 10 ms of 50,000 a second. What a busy processor kept from going out
/// beyond that is not made up for.
const MOST_DUE: usize = 500;

/// Of who asks for known names, between two lookups: the processor is for the flood and the stub.
const REST: Duration = Duration::from_micros(200);

/// How long after a flood everything must be normal.
const NORMAL_WITHIN: Duration = Duration::from_secs(1);

/// Descriptors that may be open beside those from before: of connections to the parent.
const FEW: usize = 8;

/// What proxify's code takes as it ships, KiB. A build for tests has several times as much, so what is a
/// file's is not counted.
const CODE: u64 = 3 * 1024;

/// Between two looks at the stub's memory.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Names that nobody asked for before.
    Names,
    /// TCP connections that say nothing.
    Silent,
    /// Queries as long as can be, by UDP and TCP.
    Large,
    /// Random bytes, cut and bent queries, responses.
    Malformed,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "names" => Self::Names,
            "silent" => Self::Silent,
            "large" => Self::Large,
            "malformed" => Self::Malformed,
            other => return Err(format!("{other} is no kind of flood")),
        })
    }
}

impl Kind {
    /// What a flood sends at least, however many lookups are made beside it meanwhile: of packets what is
    /// to come in three seconds.
    fn least(self, rate: u32) -> u64 {
        match self {
            Self::Names | Self::Malformed => 3 * u64::from(rate),
            Self::Silent => CONNECTIONS,
            Self::Large => 1000,
        }
    }
}

/// Floods the stub with `rate` packets a second, as far as the processor allows, until `lookups` lookups
/// of known names have been made beside. Each of these must be answered in time and rightly, process
/// `pid` must stay under `memory` KiB, and a second later everything must be as before.
pub(crate) fn flood(kind: Kind, rate: u32, lookups: u64, pid: &str, memory: u64) -> Outcome {
    let hot: Vec<Known> = known::names();
    for known in &hot {
        right(known)?;
    }
    let descriptors_before = descriptors(pid)?;
    let over = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let start = Instant::now();
    let (most, asked) = thread::scope(|scope| {
        let (over, sent, hot) = (&over, &sent, &hot);
        // What fails is told once nobody waits for more of it.
        let ends = |_: &_| over.store(true, Ordering::Relaxed);
        let flooding: Vec<_> = match kind {
            Kind::Silent => vec![scope.spawn(move || silent(over, sent).inspect_err(ends))],
            Kind::Large => vec![
                scope.spawn(move || packets(kind, rate, over, sent).inspect_err(ends)),
                scope.spawn(move || large_frames(over, sent).inspect_err(ends)),
            ],
            _ => vec![scope.spawn(move || packets(kind, rate, over, sent).inspect_err(ends))],
        };
        let looking = scope.spawn(|| most_memory(pid, over));
        let asked = ask(hot, lookups, || {
            sent.load(Ordering::Relaxed) < kind.least(rate) && !over.load(Ordering::Relaxed)
        });
        over.store(true, Ordering::Relaxed);
        for flooding in flooding {
            flooding.join().map_err(|_| "a panic")??;
        }
        let most = looking.join().map_err(|_| "a panic")??;
        let asked = asked
            .map_err(|error| format!("{error}; {} packets not taken", not_taken().unwrap_or(0)))?;
        Ok::<_, Box<dyn std::error::Error>>((most, asked))
    })?;
    let took = start.elapsed();
    let ended = Instant::now();
    let sent = sent.into_inner();
    eprintln!(
        "{kind:?}: {sent} in {took:?}, {:.0} a second; at most {most} KiB; {} packets not taken; {asked} lookups",
        sent as f64 / took.as_secs_f64(),
        not_taken()?
    );
    println!("names answered");
    if most > memory {
        return Err(format!("{most} KiB").into());
    }
    println!("memory bounded");
    loop {
        // Within this second a new name may still wait for the quota.
        let asked = ended.elapsed();
        let new = Known {
            name: format!(
                "after-{kind:?}-{}.{}",
                ended.elapsed().as_micros(),
                known::NEW
            ),
            addresses: [known::NEW_ADDRESS].into(),
        };
        let is_answered = right(&new);
        let left = descriptors(pid)?;
        if is_answered.is_ok() && left <= descriptors_before + FEW && asked <= NORMAL_WITHIN {
            break;
        }
        if asked > NORMAL_WITHIN {
            return Err(format!("after a second: {is_answered:?}, {left} descriptors").into());
        }
        thread::sleep(LOOK);
    }
    println!("normal again");
    Ok(())
}

/// Asks for each name in turn, so many times in all and for as long as `goes_on` says. How often that was.
fn ask(hot: &[Known], lookups: u64, goes_on: impl Fn() -> bool) -> Result<u64, String> {
    for (asked, known) in (0..).zip(hot.iter().cycle()) {
        if asked >= lookups && !goes_on() {
            return Ok(asked);
        }
        right(known).map_err(|error| format!("lookup {asked}: {error}"))?;
        thread::sleep(REST);
    }
    Ok(0)
}

/// One lookup of a known name, one packet there and one back.
fn right(known: &Known) -> Result<(), String> {
    let Known {
        name,
        addresses: expected,
    } = known;
    let ask = || -> Result<Message, Box<dyn std::error::Error>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.connect(STUB)?;
        socket.send(&query(7, name, RecordType::A)?)?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer)?;
        Ok(Message::from_vec(&buffer[..length])?)
    };
    let reply = ask().map_err(|error| format!("{name}: {error}"))?;
    let code = match expected.is_empty() {
        true => ResponseCode::NXDomain,
        false => ResponseCode::NoError,
    };
    let expected: Vec<_> = expected.iter().copied().filter(IpAddr::is_ipv4).collect();
    match reply.response_code == code && addresses(&reply) == expected {
        true => Ok(()),
        false => Err(format!("{name}: {reply}")),
    }
}

/// Sends packets until it is over, so many a second as the processor allows. A build for tests reads
/// fewer than come: there, after some bytes of them goes a query that the stub answers by itself, and while
/// that is unanswered, none is sent.
fn packets(kind: Kind, rate: u32, over: &AtomicBool, sent: &AtomicU64) -> Result<(), String> {
    let result = || -> io::Result<()> {
        let flood = UdpSocket::bind("127.0.0.1:0")?;
        flood.connect(STUB)?;
        let fence = UdpSocket::bind("127.0.0.1:0")?;
        fence.connect(STUB)?;
        fence.set_read_timeout(Some(TIMEOUT))?;
        let fence_query = question(1, "localhost.")?;
        let mut chance = StdRng::seed_from_u64(rate.into());
        let mut headers = MultiHeaders::preallocate(BUNCH, None);
        let mut pace = Pace::new(rate);
        let (mut count, mut since_fence) = (0, 0);
        while !over.load(Ordering::Relaxed) {
            let due = pace.due().min(BUNCH);
            if due == 0 {
                thread::sleep(PAUSE);
                continue;
            }
            let bunch = (0..due)
                .map(|number| packet(kind, count + number, &mut chance))
                .collect::<io::Result<Vec<_>>>()?;
            let slices: Vec<_> = bunch.iter().map(|packet| [IoSlice::new(packet)]).collect();
            let gone = sendmmsg(
                flood.as_raw_fd(),
                &mut headers,
                &slices,
                vec![None::<SockaddrStorage>; due],
                [],
                MsgFlags::empty(),
            )?
            .count();
            count += gone;
            pace.sent += gone;
            sent.fetch_add(gone as u64, Ordering::Relaxed);
            // A packet takes that much in the socket besides its bytes.
            since_fence += bunch.iter().map(|packet| packet.len() + 768).sum::<usize>();
            if cfg!(debug_assertions) && since_fence >= AHEAD {
                since_fence = 0;
                fence.send(&fence_query)?;
                fence.recv(&mut [0; 512])?;
            }
        }
        Ok(())
    };
    result().map_err(|error| format!("the stub reads no more: {error}"))
}

/// So many a second, and nothing made up for that was missed: that would be a burst.
struct Pace {
    rate: u32,
    start: Instant,
    sent: usize,
}

impl Pace {
    fn new(rate: u32) -> Self {
        Self {
            rate,
            start: Instant::now(),
            sent: 0,
        }
    }

    /// How many are to go out now.
    fn due(&mut self) -> usize {
        let due = self.start.elapsed().as_micros() * u128::from(self.rate) / 1_000_000;
        let due = usize::try_from(due).unwrap_or(usize::MAX);
        self.sent = self.sent.max(due.saturating_sub(MOST_DUE));
        due - self.sent
    }
}

fn packet(kind: Kind, count: usize, chance: &mut StdRng) -> io::Result<Vec<u8>> {
    let mut packet = new_name(count);
    match kind {
        Kind::Large => pad(&mut packet, LARGEST_DATAGRAM),
        Kind::Malformed => match count % 4 {
            0 => packet.truncate(chance.random_range(0..packet.len())),
            1 => {
                let place = chance.random_range(2..packet.len());
                packet[place] ^= chance.random_range(1..=255);
                // Never a query that upstream would be asked: two questions.
                packet[5] = 2;
            }
            2 => packet[2] |= 0x80,
            _ => chance.fill_bytes(&mut packet),
        },
        Kind::Names | Kind::Silent => {}
    }
    Ok(packet)
}

/// A query for the address of a name that has not been asked for; made by hand, since there are many.
fn new_name(count: usize) -> Vec<u8> {
    let number = format!("f{count}");
    let labels = [&*number, "flood"];
    let labels = labels.into_iter().chain(known::NEW.split('.'));
    // Id 0, RD, one question.
    let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        packet.push(u8::try_from(label.len()).unwrap_or(0));
        packet.extend(label.as_bytes());
    }
    // Type A, class IN.
    packet.extend([0, 1, 0, 1]);
    packet
}

fn question(id: u16, name: &str) -> io::Result<Vec<u8>> {
    query(id, name, RecordType::A).map_err(|error| io::Error::other(error.to_string()))
}

/// Makes a query `size` bytes long by the book: with OPT, and in it padding (RFC 7830).
fn pad(packet: &mut Vec<u8>, size: usize) {
    /// Root, OPT, 1232 bytes, no flags; and padding's number.
    const OPT: [u8; 9] = [0, 0, 41, 4, 208, 0, 0, 0, 0];
    const PADDING: [u8; 2] = [0, 12];
    packet[11] = 1;
    packet.extend(OPT);
    let rest = size - packet.len() - 2;
    for (length, kind) in [(rest, &[][..]), (rest - 4, &PADDING)] {
        packet.extend(kind);
        packet.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    }
    packet.resize(size, 0);
}

/// Frames of the largest size, over connection after connection; each of these is then left without the
/// last byte of its second frame.
fn large_frames(over: &AtomicBool, sent: &AtomicU64) -> Result<(), String> {
    let result = || -> io::Result<()> {
        let name = format!("large.flood.{}", known::NEW);
        let mut packet = question(0, &name)?;
        pad(&mut packet, LARGEST);
        let mut frame = LARGEST.to_be_bytes()[size_of::<usize>() - 2..].to_vec();
        frame.extend(packet);
        let mut held = Vec::new();
        while !over.load(Ordering::Relaxed) {
            if held.len() >= LARGE_CONNECTIONS {
                held.remove(0);
            }
            let mut stream = TcpStream::connect(STUB)?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            // The stub may have closed it to make room, or for what came.
            let _ = stream.write_all(&frame);
            let _ = stream.write_all(&frame[..frame.len() - 1]);
            held.push(stream);
            sent.fetch_add(2, Ordering::Relaxed);
        }
        Ok(())
    };
    result().map_err(|error| format!("over TCP: {error}"))
}

/// Opens connections and holds them until it is over.
fn silent(over: &AtomicBool, sent: &AtomicU64) -> Result<(), String> {
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(STUB).map_err(|error| format!("connect: {error}"))?;
        held.push(stream);
        sent.fetch_add(1, Ordering::Relaxed);
    }
    while !over.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Packets that the stub's sockets did not take, for want of room or since they are longer than a query
/// (proc_net(5)).
fn not_taken() -> io::Result<u64> {
    let is_stubs = |line: &&str| {
        let local = line.split_whitespace().nth(1);
        local.is_some_and(|local| local.ends_with(":0035"))
    };
    let drops = |line: &str| line.split_whitespace().last()?.parse::<u64>().ok();
    let sockets = fs::read_to_string("/proc/net/udp")?;
    Ok(sockets.lines().filter(is_stubs).filter_map(drops).sum())
}

fn most_memory(pid: &str, over: &AtomicBool) -> Result<u64, String> {
    let mut most = 0;
    while !over.load(Ordering::Relaxed) {
        let own = status(pid, "RssAnon:").map_err(|error| error.to_string())?;
        most = most.max(own + CODE);
        thread::sleep(LOOK);
    }
    Ok(most)
}

/// Resident memory of a process, KiB (proc_pid_status(5)).
pub(crate) fn resident(pid: &str) -> io::Result<u64> {
    status(pid, "VmRSS:")
}

/// A number that /proc says of a process.
pub(crate) fn status(pid: &str, field: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("process {pid} has no {field}")))
}

/// Descriptors that a process has open.
pub(crate) fn descriptors(pid: &str) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
