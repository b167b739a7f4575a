//! getaddrinfo(3), as programs see names: against the floor, and against a model of the path that a
//! lookup took through the `proxify` that ours replaces.
//!
//! There libc asked over TCP (`use-vc`), A and AAAA on one connection, and a preloaded library had that
//! connection made through SOCKS5. No library can be preloaded under the resolver of glibc since 2.34, so the
//! call is put together: libc's own with `use-vc`, straight to a nameserver, and what the same exchange takes
//! longer through SOCKS5 than straight.

use std::fs;
use std::io::{self, Error};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use link::{Command, Parent, Stream, frame};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::failure::Failure;
use crate::lab::{Lab, NAMES, Start};
use crate::namespaces::put_over;
use crate::outcome::Outcome;
use crate::questions::{Asked, Questions};
use crate::servers::Program;
use crate::table::{Limit, Row, median};
use crate::upstream::Upstream;
use crate::zone::Kind;

/// Where a resolv.conf can name the stub.
pub(super) const STUB: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// The same for the floor.
const FLOOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 53);

/// The same for a nameserver that libc asks over TCP.
const STRAIGHT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)), 53);

/// Expects the stub to answer at [`STUB`].
pub(super) fn rows(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    let write = |path: &Path, text: &str| {
        fs::write(path, text)
            .map_err(|source| Failure::io(format!("cannot write {}", path.display()), source))
    };
    let resolv_conf = lab.dir().join("resolv.conf");
    write(&resolv_conf, "")?;
    put_over(&resolv_conf, "/etc/resolv.conf")?;
    let switch = lab.dir().join("nsswitch.conf");
    write(&switch, "hosts: dns\n")?;
    put_over(&switch, "/etc/nsswitch.conf")?;
    let floor = Start {
        address: Some(FLOOR),
        ..Start::default()
    };
    let (_floor, _) = lab.start(Program::Floor, floor)?;
    Upstream::start(STRAIGHT)?;
    let time = lab.settings.time / 2;
    let ways = ["floor", "proxify", "the path replaced"];
    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..lab.settings.rounds {
        for (way, figures) in ways.into_iter().zip(&mut figures) {
            let took = lab.cores.in_enclave(|| match way {
                "floor" => {
                    write(&resolv_conf, "nameserver 127.0.0.2\n")?;
                    by_libc(time)
                }
                "proxify" => {
                    write(&resolv_conf, "nameserver 127.0.0.1\n")?;
                    by_libc(time)
                }
                _ => {
                    let text = format!("nameserver {}\noptions use-vc\n", STRAIGHT.ip());
                    write(&resolv_conf, &text)?;
                    let longer = longer_by_socks(&lab.parent(), lab.upstream.address, time / 3)
                        .map_err(|source| Failure::io(format!("names by {way}"), source))?;
                    Ok(by_libc(time / 3)? + longer)
                }
            })?;
            figures.push(took);
        }
    }
    let mut row = Row::new("getaddrinfo, p50", "µs");
    for (way, figures) in ways.into_iter().zip(figures) {
        if let Some(micros) = median(figures) {
            row.add(way, micros);
        }
    }
    row.ratio_goal("the path replaced", "proxify", Limit::AtLeast(4.0));
    row.ratio_goal("proxify", "floor", Limit::AtMost(1.1));
    Ok(vec![row])
}

/// One lookup after the other, by libc, of names that its nameserver has in its cache.
fn by_libc(time: Duration) -> Result<f64, Failure> {
    let mut questions = measure::Questions::new(false);
    for number in 0..NAMES {
        let asked = questions.add(&Kind::Host.asked(number).name, &[measure::Rtype::A]);
        asked.map_err(|error| Failure::Setting(error.to_string()))?;
    }
    let plan = measure::Plan {
        targets: vec![measure::Target::Getaddrinfo { is_remote: false }],
        questions,
        pace: measure::Pace::Closed,
        concurrency: 1,
        duration: time,
        upstream_pps: None,
        timeout: time,
    };
    let report =
        measure::run(&plan, |_| {}).map_err(|error| Failure::Setting(error.to_string()))?;
    let is_right = |target: &&measure::Measured| target.failures.total() + target.empty == 0;
    match report.targets.first().filter(is_right) {
        Some(target) => Ok(target.latencies.quantile(0.5).as_secs_f64() * 1e6),
        None => Err(Failure::Setting(report.json().to_string())),
    }
}

/// What a lookup takes longer through SOCKS5 than straight, in microseconds.
fn longer_by_socks(parent: &Parent, nameserver: SocketAddr, time: Duration) -> io::Result<f64> {
    let straight = by_tcp(time, async || {
        TcpStream::connect(nameserver).await.map(Stream::Tcp)
    })?;
    let through = by_tcp(time, async || {
        let request = parent.request(Command::Connect(nameserver)).await;
        request
            .map_err(Error::other)
            .map(|accepted| accepted.stream)
    })?;
    Ok(through - straight)
}

/// A connection for each lookup, and on it A and AAAA at once, as `use-vc` makes glibc do; the median in
/// microseconds.
fn by_tcp(time: Duration, connect: impl AsyncFn() -> io::Result<Stream>) -> io::Result<f64> {
    let types = [RecordType::A, RecordType::AAAA];
    let asked = types.map(|rtype| Asked {
        rtype,
        ..Kind::Host.asked(0)
    });
    let questions = Questions::new(asked).map_err(Error::other)?;
    let mut queries = Vec::new();
    for index in 0..types.len() {
        frame::encode(questions.at(index).packet, &mut queries)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut outcome = Outcome::new();
        let end = Instant::now() + time;
        while Instant::now() < end {
            let start = Instant::now();
            let mut stream = connect().await?;
            stream.write_all(&queries).await?;
            let mut replies = frame::Reader::new(stream);
            let mut is_right = true;
            for index in 0..types.len() {
                let reply = replies.next().await?.unwrap_or_default();
                is_right &= questions.at(index).is_answered_by(reply);
            }
            outcome.record(start.elapsed(), is_right);
        }
        Ok(outcome.micros(0.5))
    })
}
