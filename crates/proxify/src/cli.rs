//! The command line, and the environment behind it.
//!
//! Every option may also be given as `PROXIFY_` and its name; what stands on the command line
//! wins. `PROXY_PARENT_CID` and `PROXY_PARENT_PORT` are those of the `proxify` that this one
//! replaces. `dns` in the place of APP is not a subcommand to clap, which would forget the values that
//! stand before it of an option that stands behind it too.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use link::Parent;
use publish::Ports;
use stub::{Pins, Routes};
use tracing_subscriber::filter::Targets;
use vpc::Nameservers;

use crate::Failure;

use self::environment::{name_variable, with_environment};
use self::options::Options;

mod environment;
mod options;
mod pin;
mod route;

/// Descriptors below are standard input, output and error.
const FIRST_FREE_FD: i64 = 3;

/// The first word that is no APP.
const DNS: &str = "dns";

/// How much the stub may send, which says nothing of how much a command may.
const OF_THE_SERVICE: &str = "PROXIFY_UPSTREAM_PPS";

/// What one run is to do.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the relay is.
    pub(crate) parent: Parent,
    /// Which sources of nameservers are allowed.
    pub(crate) nameservers: Nameservers,
    /// Who is asked for names under some suffixes.
    pub(crate) routes: Routes,
    /// Where the addresses of names under some suffixes must lie.
    pub(crate) pins: Pins,
    /// Where the stub listens.
    pub(crate) listen: Vec<SocketAddr>,
    /// What names the stub to every libc; `None` to leave it alone.
    pub(crate) resolv_conf: Option<ResolvConfFile>,
    /// Bytes of cached answers.
    pub(crate) cache_size: usize,
    /// Packets that may go to nameservers in any second; 0 for no limit.
    pub(crate) upstream_pps: u32,
    /// Which ports of the parent reach programs here.
    pub(crate) publish: Ports,
    /// How APP's TCP is carried; `None` where this is no enclave.
    pub(crate) egress: Option<egress::Mode>,
    /// Where it may go; everywhere if empty.
    pub(crate) egress_allow: Vec<link::Rule>,
    /// Where metrics are scraped, on loopback; `None` for nowhere.
    pub(crate) metrics: Option<SocketAddr>,
    /// What the parent's relay is told.
    pub(crate) report: Report,
    /// What is logged.
    pub(crate) log: Targets,
    /// Whether each query is, too.
    pub(crate) query_log: bool,
    /// How it is written.
    pub(crate) log_format: logging::Format,
    /// Go on outside an enclave.
    pub(crate) force: bool,
    /// APP, or nothing.
    pub(crate) job: Job,
}

/// The file to write, and the stub's address in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvConfFile {
    pub(crate) path: PathBuf,
    pub(crate) nameserver: IpAddr,
}

/// What runs beside the stub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// APP as a child.
    App {
        program: OsString,
        args: Vec<OsString>,
    },
    /// Nothing: `proxify dns`.
    Dns { ready_fd: Option<RawFd> },
}

/// What the parent's relay is told, and asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    /// Nothing.
    None,
    /// How proxify is, without a name that anybody asked for.
    Status,
    /// That, its warnings and errors, and what `proxify-relay check` and `bench` print.
    All,
}

impl Config {
    /// Reads a command line, its first word being the program's own name.
    ///
    /// # Errors
    ///
    /// What clap prints: usage errors, and `--help` and `--version`, which are none.
    pub(crate) fn parse<I, T>(
        args: I,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
        let line: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let (mut command, Cli { options, app }) = read(&line, &environment)?;
        let (options, job) = if let Some(line) = without_dns(&line, &app) {
            let dns: Dns;
            (command, dns) = read(&line, &environment)?;
            let ready_fd = dns.ready_fd;
            (dns.options, Job::Dns { ready_fd })
        } else {
            let mut words = app.into_iter();
            let job = Job::App {
                // There is one: it is required.
                program: words.next().unwrap_or_default(),
                args: words.collect(),
            };
            (options, job)
        };
        options
            .check(job)
            .map_err(|text| command.error(ErrorKind::ValueValidation, text))
    }
}

/// The line that runs APP, and that of `dns`.
pub(crate) fn command_lines() -> [clap::Command; 2] {
    [Cli::command(), Dns::command()]
}

/// Reads the line of a command, whose word comes first; what clap prints instead is printed, and the
/// exit code given.
pub(crate) fn read_command<L: CommandFactory + FromArgMatches>(
    line: &[OsString],
) -> Result<L, ExitCode> {
    let behind = line.iter().take(1).chain(line.iter().skip(2));
    let behind: Vec<OsString> = behind.cloned().collect();
    let environment = |name: &str| match name {
        OF_THE_SERVICE => None,
        name => std::env::var_os(name).filter(|value| !value.is_empty()),
    };
    match read(&behind, &environment) {
        Ok((_, line)) => Ok(line),
        Err(error) => {
            let _ = error.print();
            Err(match error.use_stderr() {
                true => Failure::USAGE.into(),
                false => ExitCode::SUCCESS,
            })
        }
    }
}

/// Reads a line as `L` defines it, with the environment where the defaults are.
fn read<L: CommandFactory + FromArgMatches>(
    line: &[OsString],
    environment: &impl Fn(&str) -> Option<OsString>,
) -> Result<(clap::Command, L), clap::Error> {
    let mut command = with_environment(L::command(), environment);
    let read = command
        .try_get_matches_from_mut(line)
        .and_then(|matches| L::from_arg_matches(&matches));
    match read {
        Ok(read) => Ok((command, read)),
        Err(error) => Err(name_variable(error, environment)),
    }
}

/// The line without its `dns`, if that is the first word of `app`, which ends the line: options before
/// it and behind it count alike.
fn without_dns(line: &[OsString], app: &[OsString]) -> Option<Vec<OsString>> {
    let (before, rest) = line.split_at_checked(line.len().checked_sub(app.len())?)?;
    let (first, behind) = rest.split_first()?;
    let is_dns = first == DNS && before.last().is_some_and(|word| word != "--");
    is_dns.then(|| [before, behind].concat())
}

/// Names resolve inside an enclave, without a line of APP changed.
///
/// proxify answers DNS on loopback, from a cache and through its relay on the parent instance,
/// writes resolv.conf so that every program asks there, carries TCP out and in, and runs APP.
#[derive(Debug, Parser)]
#[command(
    name = "proxify",
    version,
    override_usage = "proxify [OPTIONS] [--] APP [ARGS]...\n       proxify dns [OPTIONS]\n       proxify bench [NAME]...\n       proxify check [NAME]...\n       proxify explain NAME\n       proxify status\n       proxify cache flush [NAME]",
    after_help = "\
Examples:
  proxify -- /server --port 50051
      run /server; the parent's own nameservers answer, through proxify-relay on the parent
  proxify dns --nameservers cidr:10.0.0.0/16 --ready-fd 3 3>/run/ready &
      for init scripts: the same without an APP, asking 10.0.0.2; a line on /run/ready says that
      names are served

proxify dns runs no APP, until TERM or INT; proxify dns --help has its options.
proxify bench shows how long lookups take; proxify bench --help has its options.
proxify check shows whether AWS names are private; proxify check --help has its options.
proxify status, explain and cache flush ask the proxify that serves names here.
An APP that is named as one of these words runs as: proxify -- dns
Every option may also be given in the environment: --cache-size as PROXIFY_CACHE_SIZE.

Exit status: APP's own, 128 + N if signal N ended it; 126 if it cannot run, 127 if it is not found;
64 on bad usage and outside an enclave; 69 if names cannot be served; 71 if the system refuses what it
never should."
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// The program to run, and its arguments.
    #[arg(value_name = "APP", required = true, trailing_var_arg = true)]
    app: Vec<OsString>,
}

/// The same as beside an APP, without one: in the foreground, until TERM or INT.
#[derive(Debug, Parser)]
#[command(
    name = "proxify",
    bin_name = "proxify dns",
    after_help = "\
Examples:
  proxify dns --ready-fd 3 3>/run/ready &
      in an init script: a line on /run/ready says that names are served
  proxify dns --egress off --publish none
      names alone; TCP is left as it is

Readiness is also told to NOTIFY_SOCKET, as systemd has it.

Exit status: 0 after TERM or INT; 64 on bad usage and outside an enclave; 69 if names cannot be
served; 71 if the system refuses what it never should."
)]
struct Dns {
    #[command(flatten)]
    options: Options,
    /// Write a line to this open descriptor, and close it, once names are served.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(FIRST_FREE_FD..))]
    ready_fd: Option<RawFd>,
}

#[cfg(test)]
mod tests;
