use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum as _};

use crate::failure::Failure;
use crate::floor::{self, Reply};
use crate::lab::{Lab, Settings};
use crate::outcome::count;
use crate::process::cpu;
use crate::questions::Questions;
use crate::report::{self, Machine};
use crate::rows::Part;
use crate::udp::{Plan, Until};
use crate::{namespaces, rows, tcp, udp};

/// Measures proxify's stub beside other DNS caches, and any DNS server by itself.
#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure everything, side by side, in namespaces of its own; takes root or user namespaces.
    Table(Table),
    /// Ask one server, which runs already, and print what came of it as JSON.
    Load(Load),
    /// Answer every query with one address, without looking anything up.
    Floor {
        /// Where to answer.
        #[arg(long, value_name = "IP:PORT")]
        listen: SocketAddr,
        /// Length and response code of replies to names that begin with this letter.
        #[arg(long, value_name = "LETTER=BYTES[:RCODE]")]
        reply: Vec<Reply>,
    },
}

#[derive(Debug, Args)]
struct Table {
    /// The proxify to measure: static, as it goes into an image.
    #[arg(long, value_name = "PATH")]
    proxify: PathBuf,
    /// Its relay.
    #[arg(long, value_name = "PATH")]
    relay: PathBuf,
    /// Where peers.md, peers.json and peers.svg go.
    #[arg(long, value_name = "DIR", default_value = "target/peers")]
    out: PathBuf,
    /// Rounds of each measurement, of which the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of one measurement of one server.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Names where many are needed.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(20_000..))]
    names: u64,
    /// Parts of the table to measure; all if none is given.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Debug, Args)]
struct Load {
    /// Whom to ask.
    #[arg(long, value_name = "IP:PORT")]
    server: SocketAddr,
    /// Lines of `NAME [TYPE [RCODE]]`: what to ask for, and the response code of the right answer.
    #[arg(long, value_name = "FILE")]
    names: PathBuf,
    /// Queries outstanding, over TCP on each connection.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=16384))]
    window: u16,
    /// How long.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Ask over TCP, on so many connections.
    #[arg(long, value_name = "CONNECTIONS")]
    tcp: Option<usize>,
    /// Report the CPU time for each answer of this process, the server.
    #[arg(long)]
    pid: Option<u32>,
}

/// The whole program. Exits 1 with one line when there is no figure; goals that are missed are
/// figures.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Table(table) => measure(table),
        Command::Load(load) => ask(&load),
        Command::Floor { listen, reply } => match floor::serve(listen, &reply) {
            Ok(never) => match never {},
            Err(source) => Err(Failure::io(format!("floor on {listen}"), source)),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(table: Table) -> Result<(), Failure> {
    namespaces::enter()?;
    let load = report::load_average();
    let mut lab = Lab::new(Settings {
        proxify: absolute(&table.proxify)?,
        relay: absolute(&table.relay)?,
        rounds: table.rounds.max(1),
        time: seconds(table.seconds)?,
        many: usize::try_from(table.names).unwrap_or(usize::MAX),
    })?;
    let server_core = lab.cores.server_number;
    let parts = match table.only.as_slice() {
        [] => Part::value_variants(),
        only => only,
    };
    let rows = rows::measure(&mut lab, parts, |row| println!("{}", report::line(row)))?;
    drop(lab);
    report::write(&table.out, &Machine::here(load, server_core), &rows)?;
    println!("written to {}", table.out.display());
    Ok(())
}

fn ask(load: &Load) -> Result<(), Failure> {
    let questions = Questions::read(&load.names)?;
    let time = seconds(load.seconds)?;
    let cpu_now = || load.pid.map(cpu).transpose();
    let before = cpu_now()?;
    let outcome = match load.tcp {
        Some(connections) => {
            let plan = tcp::Plan {
                connections,
                depth: load.window,
                time,
            };
            tcp::ask(load.server, &Arc::new(questions), plan)
        }
        None => {
            let plan = Plan {
                questions: &questions,
                order: None,
                from: 0,
                window: load.window.into(),
                until: Until::Elapsed(time),
            };
            udp::ask(load.server, &plan)
        }
    };
    let outcome =
        outcome.map_err(|source| Failure::io(format!("asking {}", load.server), source))?;
    let mut json = outcome.json();
    if let Some((before, after)) = before.zip(cpu_now()?) {
        let micros = (after - before).as_secs_f64() * 1e6;
        json["cpu_us_per_answer"] = (micros / count(outcome.answered)).into();
    }
    println!("{json:#}");
    Ok(())
}

fn seconds(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| Failure::Setting(format!("--seconds {seconds}: {error}")))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize()
        .map_err(|source| Failure::io(format!("cannot find {}", path.display()), source))
}
