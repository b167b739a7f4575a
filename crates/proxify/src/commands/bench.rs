//! `proxify bench`: how long lookups take, several ways side by side.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use link::{Address, Parent};
use measure::{
    MAX_CONCURRENCY, MAX_RATE, Missing, Pace, Plan, Questions, Report, Rtype, RunError, Target,
    Terminal,
};
use resolv::ResolvConf;
use tokio::sync::watch;
use tokio::time::timeout;
use vpc::{Found, Nameservers};

use self::progress::Bar;
use self::values::{Way, duration};
use crate::Failure;
use crate::cli::read_command;
use crate::commands::operator::print;
use crate::commands::values::{region, server};
use crate::commands::{NO, place};
use crate::resolv_conf;

mod progress;
mod values;

/// The services that a KV server uses: S3 by a gateway endpoint, the others by interface endpoints.
const SERVICES: [&str; 9] = [
    "s3",
    "sns",
    "sqs",
    "logs",
    "ec2",
    "ssm",
    "autoscaling",
    "xray",
    "aps-workspaces",
];

/// How long a lookup waits: as long as the clients for whose sake the stub answers within 4 s.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the sources of nameservers may take: as long as APP waits for them.
const DISCOVERY: Duration = Duration::from_secs(5);

/// Lookups of a target at a time at a fixed rate: those that are late must not wait for each other.
const CONCURRENCY_OF_RATES: u16 = 16;

/// The resolv.conf of every libc.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Columns where there is no terminal.
const WIDTH: usize = 80;

/// Shows how long lookups take, as programs feel it: p50 to p99.99, and a histogram.
///
/// Targets are asked for the same names in turns of 50 ms, or with --rate at the same time, so that what
/// else the machine does hits all alike. Failures are counted by kind and are in no percentile. Without
/// NAME, the names of the services that a KV server uses.
#[derive(Debug, Parser)]
#[command(
    name = "proxify",
    bin_name = "proxify bench",
    after_help = "\
Examples:
  proxify bench
      the stub over UDP, and getaddrinfo, for the services of the region that IMDS tells
  proxify bench --target udp,upstream --rate 50 --duration 1m --html bench.html ec2.us-east-1.amazonaws.com
      what the cache saves, at 50 lookups a second each, as a page

Targets:
  udp, tcp     the stub at --listen
  getaddrinfo  of this program's libc, A and AAAA, by /etc/resolv.conf
  upstream     past the cache: the first of --nameservers, over the link (not by --route)
  --server IP  any server, over UDP. In an enclave the stub answers for the nameservers in use

Closed loop: a lookup begins when the one before has ended. --rate is an open loop: latency counts from
when a lookup was to begin, so a stall makes all lookups late that it delays.
--cold asks for names that nobody has asked for: a label that is used once takes the place of the * in
*.DOMAIN, under which any name must exist, as under S3's.

Exit status: 0; 1 if no lookup was answered; 64 on bad usage; 69 if nobody can be asked."
)]
struct Line {
    /// The names; with --cold, of the form *.DOMAIN.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Whom to ask: udp, tcp, getaddrinfo, upstream. Default: udp,getaddrinfo.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    target: Vec<Way>,
    /// Ask this server, too; repeatable.
    #[arg(long, value_name = "IP[:PORT]", value_parser = server)]
    server: Vec<SocketAddr>,
    /// What to ask for. getaddrinfo asks for A and AAAA always.
    #[arg(
        long = "type",
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "A"
    )]
    types: Vec<Rtype>,
    /// Names of a file, too: lines of NAME or NAME TYPE.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// So many lookups a second of each target.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RATE)))]
    rate: Option<u32>,
    /// Lookups of a target at the same time. Default: 1, with --rate 16.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_CONCURRENCY)))]
    concurrency: Option<u16>,
    /// How long, all targets together: 5s, 500ms, 2m.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// Each lookup is for a name that is in no cache.
    #[arg(long)]
    cold: bool,
    /// The most packets a second to where AmazonDNS may be, which drops what is above 1024 of the whole
    /// instance: for upstream, cold lookups, the first round that warms, and --server and getaddrinfo
    /// but where their nameservers are on loopback. 0 is no limit.
    #[arg(long, value_name = "PACKETS", default_value_t = 100)]
    upstream_pps: u32,
    /// The region of the usual services, instead of IMDS's.
    #[arg(long, value_name = "REGION", value_parser = region)]
    region: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write a page with plots, too; it loads nothing.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the plots as one picture, too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Where the stub answers; the first counts.
    #[arg(
        long,
        value_name = "IP:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:53"
    )]
    listen: Vec<SocketAddr>,
    /// Who answers behind the relay, as in proxify --help; the first counts.
    #[arg(long, value_name = "LIST", default_value = "auto")]
    nameservers: Nameservers,
    /// Where the relay is: vsock:CID, unix:PREFIX or tcp:IP.
    #[arg(long, value_name = "ADDRESS", default_value = "vsock:3")]
    parent: Address,
    /// The relay's port.
    #[arg(long, value_name = "PORT", default_value = "8888")]
    port: u32,
}

/// Its command line.
pub(super) fn command() -> clap::Command {
    Line::command()
}

/// The whole command.
pub(super) fn main(line: &[OsString]) -> ExitCode {
    let line: Line = match read_command(line) {
        Ok(line) => line,
        Err(code) => return code,
    };
    match run(&line) {
        Ok(report) if report.has_answers() => ExitCode::SUCCESS,
        Ok(_) => NO.into(),
        Err(Error::Usage(text)) => {
            let error = Line::command().error(ErrorKind::ValueValidation, text);
            let _ = error.print();
            Failure::USAGE.into()
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "proxify bench: {error}");
            Failure::UNAVAILABLE.into()
        }
    }
}

fn run(line: &Line) -> Result<Report, Error> {
    let (plan, missing) = line.plan()?;
    // Where they cannot be written, that is told before the time is spent.
    let html = create(line.html.as_deref())?;
    let svg = create(line.svg.as_deref())?;
    let mut bar = Bar::new();
    let measured = measure::run(&plan, |progress| bar.show(progress));
    bar.clear();
    let mut report = measured.map_err(|error| match error {
        RunError::Nobody { missing: more } => Error::Nobody(missing.clone(), more),
        error => Error::Run(error),
    })?;
    report.missing.extend(missing);
    print(&line.text(&report));
    for (file, text) in [
        (html, Report::html as fn(&Report) -> String),
        (svg, Report::svg),
    ] {
        if let Some((path, mut file)) = file {
            // It has no length where it is no file.
            let _ = file.set_len(0);
            file.write_all(text(&report).as_bytes())
                .map_err(|source| Error::file(path, source))?;
        }
    }
    Ok(report)
}

impl Line {
    /// What to measure, and what cannot be, with the reason.
    fn plan(&self) -> Result<(Plan, Vec<Missing>), Error> {
        let parent = Parent::new(self.parent.clone(), self.port);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let questions = self.questions(&runtime, &parent)?;
        let stub = *self
            .listen
            .first()
            .ok_or_else(|| Error::Usage("--listen: where does the stub answer?\n".to_owned()))?;
        let (mut targets, mut missing) = (Vec::new(), Vec::new());
        let ways = match (self.target.as_slice(), self.server.as_slice()) {
            ([], []) => &[Way::Udp, Way::Getaddrinfo],
            ([], _) => &[Way::Udp][..],
            (ways, _) => ways,
        };
        for way in ways {
            let target = match way {
                Way::Udp => Target::StubUdp(stub),
                Way::Tcp => Target::StubTcp(stub),
                Way::Getaddrinfo => Target::Getaddrinfo {
                    is_remote: is_remote(),
                },
                Way::Upstream => {
                    let wanted = self.nameservers.clone();
                    match runtime.block_on(nameserver(wanted, parent.clone())) {
                        Some(nameserver) => Target::Upstream {
                            parent: parent.clone(),
                            nameserver,
                        },
                        None => {
                            missing.push(Missing {
                                label: "upstream".to_owned(),
                                why: format!(
                                    "no nameserver is known behind {parent}; give --nameservers"
                                ),
                            });
                            continue;
                        }
                    }
                }
            };
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        targets.extend(self.server.iter().copied().map(Target::Server));
        if targets.is_empty() {
            return Err(Error::Nobody(missing, Vec::new()));
        }
        let pace = self.rate.map_or(Pace::Closed, Pace::Open);
        let usual = match pace {
            Pace::Closed => 1,
            Pace::Open(_) => CONCURRENCY_OF_RATES,
        };
        let plan = Plan {
            targets,
            questions,
            pace,
            concurrency: self.concurrency.unwrap_or(usual),
            duration: self.duration,
            upstream_pps: Some(self.upstream_pps).filter(|limit| *limit > 0),
            timeout: TIMEOUT,
        };
        Ok((plan, missing))
    }

    /// The names that are given, or those of the region's services.
    fn questions(
        &self,
        runtime: &tokio::runtime::Runtime,
        parent: &Parent,
    ) -> Result<Questions, Error> {
        let mut questions = Questions::new(self.cold);
        let wrong = |error: measure::QuestionsError| Error::Usage(format!("{error}\n"));
        for name in &self.names {
            questions.add(name, &self.types).map_err(wrong)?;
        }
        if let Some(file) = &self.file {
            questions.add_file(file, &self.types).map_err(wrong)?;
            if questions.is_empty() {
                let file = file.display();
                return Err(Error::Usage(format!(
                    "--file {file}: there is no name in it\n"
                )));
            }
        }
        if !questions.is_empty() {
            return Ok(questions);
        }
        let region = match &self.region {
            Some(region) => region.clone(),
            None => match runtime.block_on(place(parent)) {
                Ok(place) => place.region,
                Err(why) => {
                    return Err(Error::Usage(format!(
                        "which region? Give --region, or names: {why}\n"
                    )));
                }
            },
        };
        for name in check::usual(&region) {
            let service = name.split('.').next().unwrap_or_default();
            match self.cold {
                // Any bucket's name exists.
                true if service == "s3" => questions.add(&format!("*.{name}"), &self.types),
                false if SERVICES.contains(&service) => questions.add(&name, &self.types),
                _ => Ok(()),
            }
            .map_err(wrong)?;
        }
        Ok(questions)
    }

    fn text(&self, report: &Report) -> String {
        if self.json {
            return format!("{:#}\n", report.json());
        }
        let is_terminal = io::stdout().is_terminal();
        let size = terminal_size::terminal_size_of(io::stdout());
        let terminal = Terminal {
            width: size.map_or(WIDTH, |(width, _)| width.0.into()),
            colour: is_terminal && std::env::var_os("NO_COLOR").is_none(),
        };
        report.text(terminal)
    }
}

/// Whether programs here ask another machine. Without a resolv.conf they ask their own (resolv.conf(5)).
fn is_remote() -> bool {
    let text = vpc::read_resolv_conf(Path::new(RESOLV_CONF)).unwrap_or_default();
    let conf = ResolvConf::parse(&text);
    !conf.nameservers.iter().all(IpAddr::is_loopback)
}

/// The first nameserver that the stub would ask, if one is known in time.
async fn nameserver(wanted: Nameservers, parent: Parent) -> Option<SocketAddr> {
    let (sender, mut found) = watch::channel(None::<Arc<Found>>);
    let files = vpc::Files {
        override_file: vpc::OVERRIDE_FILE.into(),
        image: resolv_conf::original(Path::new(RESOLV_CONF)),
    };
    let first = async {
        loop {
            if let Some(found) = &*found.borrow_and_update() {
                return found.nameservers.first().copied();
            }
            found.changed().await.ok()?;
        }
    };
    tokio::select! {
        () = vpc::discover(wanted, parent, files, sender) => None,
        first = timeout(DISCOVERY, first) => first.ok().flatten(),
    }
}

/// Opens a file to be written when there is a report; what it holds stays until then.
fn create(path: Option<&Path>) -> Result<Option<(&Path, File)>, Error> {
    let Some(path) = path else {
        return Ok(None);
    };
    let mut options = File::options();
    match options.write(true).create(true).truncate(false).open(path) {
        Ok(file) => Ok(Some((path, file))),
        Err(source) => Err(Error::file(path, source)),
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("nobody can be asked{}", reasons(.0.iter().chain(.1)))]
    Nobody(Vec<Missing>, Vec<Missing>),
    #[error(transparent)]
    Run(RunError),
    #[error("cannot write {}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the runtime does not start: {0}")]
    Runtime(#[from] io::Error),
}

impl Error {
    fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::File { path, source }
    }
}

fn reasons<'a>(missing: impl Iterator<Item = &'a Missing>) -> String {
    missing.map(|missing| format!("\n  {missing}")).collect()
}
