//! What a run has: the cores, the nameserver behind all, the relay, and servers started and stopped.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::failure::Failure;
use crate::floor::Reply;
use crate::outcome::{Outcome, count};
use crate::process::{Cores, Process};
use crate::questions::Questions;
use crate::servers::{PEERS, Paths, Program, Setting};
use crate::table::median;
use crate::udp::{self, Plan, Until};
use crate::upstream::Upstream;
use crate::zone::Kind;

/// Where the nameserver behind all servers answers.
const UPSTREAM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5300);

/// The relay's port: its usual one.
const RELAY_PORT: u32 = 8888;

/// How long a server may take to its first answer.
const READY: Duration = Duration::from_secs(20);

/// Names in what is called the hot set.
pub(crate) const NAMES: usize = 1000;

/// Queries outstanding where a server is to be saturated.
pub(crate) const WINDOW: usize = 128;

/// How a run was asked for.
pub(crate) struct Settings {
    pub(crate) proxify: PathBuf,
    pub(crate) relay: PathBuf,
    /// Rounds of each measurement; the median counts.
    pub(crate) rounds: usize,
    /// How long one measurement of a server takes.
    pub(crate) time: Duration,
    /// Names where many are needed.
    pub(crate) many: usize,
}

pub(crate) struct Lab {
    pub(crate) cores: Cores,
    pub(crate) upstream: Upstream,
    pub(crate) settings: Settings,
    pub(crate) relay: Process,
    paths: Paths,
    dir: TempDir,
    /// Servers started so far.
    started: usize,
    /// Names asked once so far.
    fresh: usize,
}

/// A server that answers.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// What a server is started with beside its program.
#[derive(Clone, Copy, Default)]
pub(crate) struct Start<'a> {
    /// Where to listen; an address of its own if there is none.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) replies: &'a [Reply],
    pub(crate) cache_size: Option<&'a str>,
    /// Whether proxify carries TCP. Its packet rules stay behind in the namespace.
    pub(crate) egress: bool,
}

impl Lab {
    pub(crate) fn new(settings: Settings) -> Result<Self, Failure> {
        let cores = Cores::split()?;
        let dir = tempfile::Builder::new()
            .prefix("benches-")
            // In this mount namespace alone, and gone with it.
            .tempdir_in("/run")
            .map_err(|source| Failure::io("a temporary directory", source))?;
        let upstream = Upstream::start(UPSTREAM)?;
        let prefix = dir.path().join("relay");
        let mut command = Command::new(&settings.relay);
        command.args(["--upstream-pps", "0"]);
        command.arg("--listen");
        command.arg(format!("unix:{}", prefix.display()));
        command.args(["--port", &RELAY_PORT.to_string()]);
        command.args(["--allow", &format!("{}/32", UPSTREAM.ip())]);
        let relay = Process::start(&mut command, &dir.path().join("relay.log"))?;
        let socket = dir.path().join(format!("relay_{RELAY_PORT}"));
        let start = Instant::now();
        while !socket.exists() {
            if start.elapsed() > READY {
                return Err(Failure::Setting("the relay does not start".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let paths = Paths {
            proxify: settings.proxify.clone(),
            parent: format!("unix:{}", prefix.display()),
        };
        Ok(Self {
            cores,
            upstream,
            settings,
            relay,
            paths,
            dir,
            started: 0,
            fresh: 0,
        })
    }

    /// The relay's prefix and port, as proxify dials it.
    pub(crate) fn parent(&self) -> link::Parent {
        link::Parent::new(
            link::Address::Unix(self.dir.path().join("relay")),
            RELAY_PORT,
        )
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a server, and gives it with the time from its execution to its first answer.
    pub(crate) fn start(
        &mut self,
        program: Program,
        start: Start<'_>,
    ) -> Result<(Server, Duration), Failure> {
        self.started += 1;
        let number = self.started;
        let port = 20_000 + u16::try_from(number).unwrap_or(0);
        let address = start
            .address
            .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let dir = self.dir.path().join(format!("{number}"));
        fs::create_dir_all(&dir)
            .map_err(|source| Failure::io(format!("cannot make {}", dir.display()), source))?;
        let setting = Setting {
            dir: &dir,
            address,
            upstream: self.upstream.address,
            paths: &self.paths,
            replies: start.replies,
            cache_size: start.cache_size,
            egress: start.egress,
        };
        let mut command = program.command(&setting)?;
        let log = dir.join("log");
        let began = Instant::now();
        let process = Process::start_pinned(&mut command, &log, &self.cores)?;
        if !first_answer(address)? {
            let said = fs::read_to_string(&log).unwrap_or_default();
            eprintln!("{said}");
            return Err(Failure::NotReady {
                server: program.name().to_owned(),
                address,
                seconds: READY.as_secs(),
            });
        }
        let took = began.elapsed();
        let server = Server {
            program,
            address,
            process,
        };
        Ok((server, took))
    }

    /// Starts the other caches; one that does not come up is left out with a word why.
    pub(crate) fn start_peers(&mut self) -> Vec<Server> {
        let mut servers = Vec::new();
        for program in PEERS {
            match self.start(program, Start::default()) {
                Ok((server, _)) => servers.push(server),
                Err(error) => eprintln!("{}: left out: {error}", program.name()),
            }
        }
        servers
    }

    /// Names that nobody has asked for yet, as the place to begin at in questions of [`Kind::Fresh`].
    pub(crate) fn take_fresh(&mut self, count: usize) -> usize {
        let from = self.fresh;
        self.fresh += count;
        from
    }

    /// Measures each server once a round, in turns of both directions, and gives the medians.
    /// A server that fails is left out with a word why.
    pub(crate) fn rounds<const N: usize>(
        &mut self,
        servers: &[&Server],
        mut measure: impl FnMut(&mut Self, &Server) -> Result<[f64; N], Failure>,
    ) -> Vec<(&'static str, [f64; N])> {
        let mut figures: Vec<Vec<[f64; N]>> = vec![Vec::new(); servers.len()];
        for round in 0..self.settings.rounds {
            for turn in 0..servers.len() {
                let index = match round % 2 {
                    0 => turn,
                    _ => servers.len() - 1 - turn,
                };
                let server = servers[index];
                match measure(self, server) {
                    Ok(figure) => figures[index].push(figure),
                    Err(error) => eprintln!("{}: {error}", server.program.name()),
                }
            }
        }
        let named = servers.iter().zip(figures);
        let medians = named.filter_map(|(server, rounds)| {
            let of = |at: usize| median(rounds.iter().map(|figures| figures[at]).collect());
            let mut all = [0.0; N];
            for (at, figure) in all.iter_mut().enumerate() {
                *figure = of(at)?;
            }
            Some((server.program.name(), all))
        });
        medians.collect()
    }
}

impl Server {
    /// Asks, and gives what came of it with the server's CPU time for an answer, in microseconds.
    pub(crate) fn load(&self, plan: &Plan<'_>) -> Result<(Outcome, f64), Failure> {
        let before = self.process.cpu()?;
        let outcome = udp::ask(self.address, plan)
            .map_err(|source| Failure::io(format!("asking {}", self.program.name()), source))?;
        let cpu = self.process.cpu()? - before;
        self.judge(&outcome)?;
        let per_answer = cpu.as_secs_f64() * 1e6 / count(outcome.answered);
        Ok((outcome, per_answer))
    }

    /// Refuses figures of a server that did not answer, or not rightly.
    pub(crate) fn judge(&self, outcome: &Outcome) -> Result<(), Failure> {
        // The rate of a server that drops one in 200 is that of a server that drops.
        if outcome.wrong > 0 || outcome.lost * 200 > outcome.answered {
            return Err(Failure::Unfit {
                server: self.program.name().to_owned(),
                answered: outcome.answered,
                wrong: outcome.wrong,
                lost: outcome.lost,
            });
        }
        Ok(())
    }

    /// Asks for all names, so that the cache has them.
    pub(crate) fn warm(&self, questions: &Questions) -> Result<(), Failure> {
        warm(self.address, questions)
    }
}

/// Asks for all names twice: what was lost at the first time comes at the second.
pub(crate) fn warm(server: SocketAddr, questions: &Questions) -> Result<(), Failure> {
    for _ in 0..2 {
        let plan = Plan {
            questions,
            order: None,
            from: 0,
            window: WINDOW,
            until: Until::Asked(questions.len()),
        };
        udp::ask(server, &plan)
            .map_err(|source| Failure::io(format!("warming {server}"), source))?;
    }
    Ok(())
}

/// Asks until there is a right answer; false when [`READY`] is over.
fn first_answer(server: SocketAddr) -> Result<bool, Failure> {
    let questions = Questions::new([Kind::Host.asked(0)])?;
    let query = questions.at(0);
    let mut reply = [0; 4096];
    let start = Instant::now();
    let mut ask = || -> io::Result<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        socket.send(query.packet)?;
        let length = socket.recv(&mut reply)?;
        Ok(query.is_answered_by(&reply[..length]))
    };
    while start.elapsed() < READY {
        // Refused until it listens, silent until it serves.
        if ask().unwrap_or(false) {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(false)
}
