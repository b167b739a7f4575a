//! getaddrinfo(3), as programs see names: against the floor, and against a model of the path that a
//! lookup took through the `proxify` that ours replaces.

use std::fs;
use std::io::{self, Error};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use link::{Command, Parent, frame};
use tokio::io::AsyncWriteExt as _;

use crate::failure::Failure;
use crate::lab::{Lab, NAMES, Start};
use crate::namespaces::put_over;
use crate::outcome::Outcome;
use crate::questions::{Asked, Questions};
use crate::servers::Program;
use crate::table::{Limit, Row, median};
use crate::zone::Kind;

/// Where a resolv.conf can name the stub.
pub(super) const STUB: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// The same for the floor.
const FLOOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 53);

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
    let time = lab.settings.time / 2;
    let ways = ["floor", "proxify", "the path replaced"];
    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..lab.settings.rounds {
        for (way, figures) in ways.into_iter().zip(&mut figures) {
            figures.push(match way {
                "floor" => {
                    write(&resolv_conf, "nameserver 127.0.0.2\n")?;
                    by_libc(time)?
                }
                "proxify" => {
                    write(&resolv_conf, "nameserver 127.0.0.1\n")?;
                    by_libc(time)?
                }
                _ => by_socks(&lab.parent(), lab.upstream.address, time)
                    .map_err(|source| Failure::io(format!("names by {way}"), source))?
                    .micros(0.5),
            });
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

/// A connection through SOCKS5 for each lookup, and on it A and AAAA over TCP, as `use-vc` makes libc
/// do. What libc and the preloaded library add to that is left out.
fn by_socks(parent: &Parent, nameserver: SocketAddr, time: Duration) -> io::Result<Outcome> {
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
            let request = parent.request(Command::Connect(nameserver)).await;
            let mut stream = request.map_err(Error::other)?.stream;
            stream.write_all(&queries).await?;
            let mut replies = frame::Reader::new(stream);
            let mut is_right = true;
            for index in 0..types.len() {
                let reply = replies.next().await?.unwrap_or_default();
                is_right &= questions.at(index).is_answered_by(reply);
            }
            outcome.record(start.elapsed(), is_right);
        }
        Ok(outcome)
    })
}
