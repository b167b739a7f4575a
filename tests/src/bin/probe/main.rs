//! Clients that no package brings: many askers at once, both address types from one socket, a
//! pipelined TCP session, a watch over names while things break and the count of it, floods, a network
//! that loses packets, hickory-resolver, and an old enclave.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_resolver::TokioResolver;

mod ask;
mod dig;
mod flood;
mod impair;
mod sample;
mod storm;

use ask::ask;
use flood::flood;
use impair::impair;
use sample::sample;
use storm::storm;

type Outcome = Result<(), Box<dyn Error>>;

const STUB: &str = "127.0.0.1:53";

/// What libc's resolvers wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["both", name] => both(name),
        ["crowd", name, count] => crowd(name, count.parse()?),
        ["pipeline", name, count] => pipeline(name, count.parse()?),
        ["watch", until, ref pairs @ ..] => watch(Path::new(until), pairs),
        ["until", seconds, name, address] => until(seconds.parse()?, name, address.parse()?),
        ["storm", rate, seconds, quota, queries, ref hot @ ..] => storm(
            rate.parse()?,
            seconds.parse()?,
            quota.parse()?,
            Path::new(queries),
            hot,
        ),
        ["ask", directory, least, rest, transport] => ask(
            Path::new(directory),
            least.parse()?,
            Duration::from_millis(rest.parse()?),
            transport == "tcp",
        ),
        ["flood", kind, rate, lookups, pid, memory] => flood(
            kind.parse()?,
            rate.parse()?,
            lookups.parse()?,
            pid,
            memory.parse()?,
        ),
        ["impair", listen, nameserver, impairment, seed, begun, bad, until] => impair(
            listen.parse()?,
            nameserver.parse()?,
            impairment.parse()?,
            seed.parse()?,
            Path::new(begun),
            Path::new(bad),
            Path::new(until),
        ),
        ["sample", until, proxify, relay] => sample(Path::new(until), proxify, Path::new(relay)),
        ["hickory", name] => hickory(name),
        ["old-enclave", link, nameserver, name] => {
            old_enclave(Path::new(link), nameserver.parse()?, name)
        }
        _ => Err(
            "usage: probe both NAME | crowd NAME COUNT | pipeline NAME COUNT \
                  | watch FILE NAME=ADDRESS… | until SECONDS NAME ADDRESS | hickory NAME \
                  | storm RATE SECONDS QUOTA FILE NAME… | ask DIRECTORY LOOKUPS MILLISECONDS udp|tcp \
                  | flood names|silent|large|malformed RATE LOOKUPS PID KIB \
                  | impair LISTEN NAMESERVER LOSS,TWICE,MILLISECONDS SEED FILE FILE FILE \
                  | sample FILE PID FILE \
                  | old-enclave LINK NAMESERVER NAME"
                .into(),
        ),
    }
}

fn query(id: u16, name: &str, rtype: RecordType) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name)?, rtype));
    Ok(message.to_vec()?)
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0.into()),
            RData::AAAA(address) => Some(address.0.into()),
            _ => None,
        })
        .collect();
    addresses.sort();
    addresses
}

/// A and AAAA at once from one socket, as glibc asks.
fn both(name: &str) -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.connect(STUB)?;
    socket.send(&query(1, name, RecordType::A)?)?;
    socket.send(&query(2, name, RecordType::AAAA)?)?;
    let mut replies = Vec::new();
    let mut buffer = [0; 4096];
    for _ in 0..2 {
        let length = socket.recv(&mut buffer)?;
        replies.push(Message::from_vec(&buffer[..length])?);
    }
    replies.sort_by_key(|reply| reply.id);
    for reply in replies {
        println!(
            "{} {:?} {:?}",
            reply.id,
            reply.response_code,
            addresses(&reply)
        );
    }
    Ok(())
}

/// So many askers of one name at once, each from a socket of its own.
fn crowd(name: &str, count: u16) -> Outcome {
    let mut sockets = Vec::new();
    for id in 0..count {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.connect(STUB)?;
        sockets.push((id, socket));
    }
    for (id, socket) in &sockets {
        socket.send(&query(*id, name, RecordType::A)?)?;
    }
    let mut buffer = [0; 4096];
    let mut answered = 0;
    for (id, socket) in &sockets {
        let length = socket
            .recv(&mut buffer)
            .map_err(|error| format!("asker {id}: {error}"))?;
        let reply = Message::from_vec(&buffer[..length])?;
        answered += u32::from(reply.id == *id && !addresses(&reply).is_empty());
    }
    println!("{answered}");
    Ok(())
}

/// So many queries in one TCP stream before the first answer is read: for hosts 0, 1, … of `name`.
fn pipeline(name: &str, count: u16) -> Outcome {
    let mut stream = TcpStream::connect(STUB)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut bytes = Vec::new();
    for id in 0..count {
        let message = query(id, &format!("host-{id}.{name}"), RecordType::A)?;
        bytes.extend(u16::try_from(message.len())?.to_be_bytes());
        bytes.extend(message);
    }
    stream.write_all(&bytes)?;
    let mut left: BTreeSet<u16> = (0..count).collect();
    while !left.is_empty() {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut message)?;
        let reply = Message::from_vec(&message)?;
        let asked = reply.queries.first().map(|query| query.name().to_ascii());
        let is_right = reply.response_code == ResponseCode::NoError
            && asked == Some(format!("host-{}.{name}", reply.id))
            && !addresses(&reply).is_empty();
        if !is_right || !left.remove(&reply.id) {
            return Err(format!("a wrong answer, or one given twice: {reply}").into());
        }
    }
    println!("{count}");
    Ok(())
}

fn lookup(name: &str) -> Result<BTreeSet<IpAddr>, std::io::Error> {
    Ok((name, 0)
        .to_socket_addrs()?
        .map(|address| address.ip())
        .collect())
}

/// Asks libc for each name in turn until the file exists, and fails if any lookup fails, gives none
/// of the addresses named, or takes as long as a client's timeout.
fn watch(until: &Path, pairs: &[&str]) -> Outcome {
    let mut lookups = 0;
    while !until.exists() {
        for pair in pairs {
            let (name, expected) = pair.split_once('=').ok_or("NAME=ADDRESS[,ADDRESS]")?;
            let start = Instant::now();
            let found =
                lookup(name).map_err(|error| format!("lookup {lookups}, {name}: {error}"))?;
            let is_right = expected.split(',').any(|address| {
                address
                    .parse()
                    .is_ok_and(|address: IpAddr| found.contains(&address))
            });
            if !is_right || start.elapsed() >= TIMEOUT {
                return Err(format!("{name}: {found:?} after {:?}", start.elapsed()).into());
            }
            lookups += 1;
        }
        thread::sleep(Duration::from_millis(2));
    }
    eprintln!("{lookups} lookups");
    println!("right");
    Ok(())
}

/// Waits until libc gives `address` for a name; fails after so many seconds.
fn until(seconds: u64, name: &str, address: IpAddr) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let found = lookup(name);
        if found.as_ref().is_ok_and(|found| found.contains(&address)) {
            println!("{address}");
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("{name} is not {address} after {seconds} s: {found:?}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// As an image with the `proxify` that we replace does under `use-vc`: its preload library sends greeting
/// and request in one write and waits for both answers; then glibc asks for both types at once.
fn old_enclave(link: &Path, nameserver: SocketAddr, name: &str) -> Outcome {
    let mut stream = UnixStream::connect(link)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut bytes = vec![5, 1, 0, 5, 1, 0];
    match nameserver.ip() {
        IpAddr::V4(ip) => {
            bytes.push(1);
            bytes.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(4);
            bytes.extend(ip.octets());
        }
    }
    bytes.extend(nameserver.port().to_be_bytes());
    stream.write_all(&bytes)?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer)?;
    let bound = match answer {
        [5, 0, 5, 0, 0, 1] => 4,
        [5, 0, 5, 0, 0, 4] => 16,
        [5, 0, 5, refusal, ..] => return Err(format!("refused with {refusal}").into()),
        other => return Err(format!("{other:?} is no answer").into()),
    };
    stream.read_exact(&mut vec![0; bound + 2])?;

    let mut bytes = Vec::new();
    for (id, rtype) in [(1, RecordType::A), (2, RecordType::AAAA)] {
        let message = query(id, name, rtype)?;
        bytes.extend(u16::try_from(message.len())?.to_be_bytes());
        bytes.extend(message);
    }
    stream.write_all(&bytes)?;
    let mut found = BTreeSet::new();
    for _ in 0..2 {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut message)?;
        found.extend(addresses(&Message::from_vec(&message)?));
    }
    found.iter().for_each(|address| println!("{address}"));
    Ok(())
}

/// As a Rust service does, with /etc/resolv.conf.
fn hickory(name: &str) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let resolver = TokioResolver::builder_tokio()?.build()?;
    let found = runtime.block_on(resolver.lookup_ip(name))?;
    let addresses: BTreeSet<IpAddr> = found.iter().collect();
    addresses.iter().for_each(|address| println!("{address}"));
    Ok(())
}
