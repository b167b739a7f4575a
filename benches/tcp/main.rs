//! TCP out of an enclave, against a direct loopback stream and against other ways, in one table:
//!
//! ```text
//! cargo run --release -p benches --bin tcp
//! ```
//!
//! It needs root, `ip` (iproute2), and for the other ways `socat`, `iptables`, `redsocks` and
//! `danted` (Debian: socat, iptables, redsocks, dante-server); a way whose programs are missing is
//! left out. It takes about two minutes, and everything runs in namespaces that end with it.
//!
//! ```text
//! an enclave's network: lo only                         the parent's network
//! load ── TCP ──▶ proxify (egress) ── unix socket ──▶ proxify-relay ── TCP ──▶ 10.0.9.1, server
//! ```
//!
//! # How to read it
//!
//! Each figure of a way is divided by the same figure of a direct connection over loopback, taken
//! right before it; the table has the median of [`ROUNDS`] such ratios. Absolute figures are a
//! machine's, ratios carry over, more or less: on a machine that is busy they scatter.
//!
//! - **one stream**, **32 streams**: throughput, *out* of the enclave and *in*to it. More is better.
//! - **CPU per GiB**: what the forwarding processes (not load and server) spend on one GiB of one
//!   stream, as a multiple of what load and server spend directly. Less is better.
//! - **connections/s**: connect, a byte there and back, close, by 16 threads. More is better.
//! - **latency**: the same by one thread, median. Less is better.
//! - **memory**: of the forwarding processes at 10,000 open connections (proportional set size, so
//!   that what forked processes share counts once). A way that forks for each connection holds 200, others
//!   as many as `ulimit -Hn` lets be, and the figure is scaled.
//!
//! The ways: **old path** is a model of what proxify replaces: the client does the SOCKS5 handshake
//! on the link inside connect() and keeps the link as its connection, the parent copies. **relay
//! alone** is the same client with our relay. **redirect** and **detour** are `proxify --egress`'s two
//! ways, for programs that know of nothing.

mod agent;
mod server;
mod usage;
mod ways;
mod world;

use std::env;
use std::process::ExitCode;

use agent::Load;
use ways::Way;
use world::World;

/// Each ratio is the median of so many.
const ROUNDS: usize = 3;

/// How long a load runs, in milliseconds.
const SLICE: u64 = 700;

/// Connections that are held open, and fewer for ways that fork for each.
const HELD: usize = 10_000;
const HELD_FORKING: usize = 200;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let texts: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let done = match texts.as_slice() {
        [] => world::begin(),
        ["world"] => World::make().and_then(|world| run(&world)),
        ["hold"] => world::hold(),
        ["enter", pid, command @ ..] => world::enter(pid, command),
        ["server"] => server::serve(),
        ["agent"] => agent::serve(),
        ["old-proxy", path] => ways::old_proxy(path),
        ["proxify", ..] => return proxify::main(texts.iter().map(ToString::to_string)),
        ["proxify-relay", ..] => return relay::main(texts.iter().map(ToString::to_string)),
        _ => Err("usage: tcp".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcp: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An error that ends the benchmark, or one way's part in it.
type Error = Box<dyn std::error::Error>;

/// The ratios of one way.
#[derive(Debug, Default)]
struct Ratios {
    /// One stream out, in, 32 streams out, in.
    throughput: [Vec<f64>; 4],
    cpu: [Vec<f64>; 2],
    rate: Vec<f64>,
    latency: Vec<f64>,
    mebibytes: Option<f64>,
}

fn run(world: &World) -> Result<(), Error> {
    let server = world.server()?;
    let mut direct = ways::direct(world, &server)?;
    let mut rows = Vec::new();
    for make in ways::ALL {
        match make(world).and_then(|mut way| {
            let ratios = measure(&mut way, &mut direct)?;
            Ok((way.name, ratios))
        }) {
            Ok(row) => rows.push(row),
            Err(error) => eprintln!("left out: {error}"),
        }
    }
    print(&rows);
    Ok(())
}

/// One load: threads, and whether the bytes go out.
const LOADS: [(usize, bool); 4] = [(1, true), (1, false), (32, true), (32, false)];

fn measure(way: &mut Way, direct: &mut Way) -> Result<Ratios, Error> {
    eprintln!("{}", way.name);
    let mut ratios = Ratios::default();
    for _ in 0..ROUNDS {
        for (index, (streams, out)) in LOADS.into_iter().enumerate() {
            let load = Load::Stream { streams, out };
            let (base, base_cpu) = bytes_and_cpu(direct, load)?;
            let (bytes, cpu) = bytes_and_cpu(way, load)?;
            ratios.throughput[index].push(bytes / base);
            if let Some(ratios) = ratios.cpu.get_mut(index) {
                ratios.push((cpu / bytes) / (base_cpu / base));
            }
        }
        let base = direct.agent.run(Load::Rate { threads: 16 }, SLICE)?;
        let figure = way.agent.run(Load::Rate { threads: 16 }, SLICE)?;
        ratios.rate.push(figure / base);
        let base = direct.agent.run(Load::Latency, SLICE)?;
        let figure = way.agent.run(Load::Latency, SLICE)?;
        ratios.latency.push(figure / base);
    }
    ratios.mebibytes = Some(memory(way)?);
    Ok(ratios)
}

/// Bytes per second, and processor seconds per second: of the forwarding processes, or of load and
/// server where there are none.
fn bytes_and_cpu(way: &mut Way, load: Load) -> Result<(f64, f64), Error> {
    let before = way.cpu()?;
    let bytes = way.agent.run(load, SLICE)?;
    let cpu = way.cpu()? - before;
    Ok((bytes, cpu * 1000.0 / SLICE as f64))
}

/// MiB at 10,000 open connections.
fn memory(way: &mut Way) -> Result<f64, Error> {
    let count = if way.forks {
        HELD_FORKING
    } else {
        HELD.min(world::most_connections()?)
    };
    let idle = way.memory()?;
    way.agent.run(Load::Hold { count }, SLICE)?;
    let full = way.memory()?;
    way.agent.run(Load::Hold { count: 0 }, SLICE)?;
    let each = (full - idle) / count as f64;
    Ok(idle + each * HELD as f64)
}

fn print(rows: &[(&str, Ratios)]) {
    println!(
        "| way | one stream out / in | 32 streams out / in | CPU per GiB out / in | connections/s | latency | MiB at 10,000 |\n\
         |---|---|---|---|---|---|---|"
    );
    for (name, ratios) in rows {
        let [out, inward, many_out, many_in] = &ratios.throughput;
        let [cpu_out, cpu_in] = &ratios.cpu;
        println!(
            "| {name} | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} × / {:.2} × | {:.2} | {:.1} × | {:.0} |",
            median(out),
            median(inward),
            median(many_out),
            median(many_in),
            median(cpu_out),
            median(cpu_in),
            median(&ratios.rate),
            median(&ratios.latency),
            ratios.mebibytes.unwrap_or(f64::NAN),
        );
    }
}

fn median(ratios: &[f64]) -> f64 {
    let mut ratios = ratios.to_vec();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}
