//! The command `proxify-relay`: options, logging, signals, exit codes.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use link::{BindError, ListenAddress, Listener, Rule};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use privileges::Capability;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::filter::Targets;

use crate::config::{CONNECTIONS, DNS_SOCKETS, UPSTREAM_PPS};
use crate::ready::{self, ReadyError, ReadyFd};
use crate::{BindTo, Config, Files, Limits, Policy, commands, operators, serve};

/// Bad usage (sysexits.h, EX_USAGE).
pub(crate) const USAGE: u8 = 64;
/// The relay cannot listen, or does not run (sysexits.h, EX_UNAVAILABLE).
pub(crate) const UNAVAILABLE: u8 = 69;
/// The system refuses what every program needs (sysexits.h, EX_OSERR).
const SYSTEM: u8 = 71;

/// Threads that serve connections, at most: a core moves several Gbit/s between a vsock and TCP,
/// and the parent has its own work.
const MAX_THREADS: usize = 4;

/// The largest `--upstream-pps`: more than any nameserver takes.
const MOST_PPS: u32 = 1_000_000;

/// Descriptors beside connections and DNS sockets: the pipes of tunnels (`link::carry`), the
/// listener, files, the runtime's own.
const SPARE_DESCRIPTORS: usize = 1024;

/// The parent's end of proxify: lets Nitro enclaves reach DNS and TCP through this instance.
///
/// Listens on a vsock and serves, for each connection, one SOCKS5 request: CONNECT to an address,
/// BIND (hand in a connection to a port of this instance), DNS to a nameserver (sent on as UDP), or
/// the instance's resolv.conf as it changes.
///
/// A port belongs to one enclave at a time. Ports below 1024 need CAP_NET_BIND_SERVICE.
///
/// Enclaves may reach everything but this instance itself (its loopback and its own addresses) and
/// multicast. IMDS at 169.254.169.254 is reachable, since SDKs get their credentials there; close it with
/// `--deny 169.254.169.254/32`. Rules are CIDR[:PORT]: 10.0.0.0/8, 10.0.1.17:443,
/// 2001:db8::/32, [2001:db8::]/32:443; several in one option with commas between, or the option
/// several times.
#[derive(Debug, Parser)]
#[command(
    name = "proxify-relay",
    version,
    max_term_width = 100,
    override_usage = "proxify-relay [OPTIONS]\n       proxify-relay status [--cid N]\n       proxify-relay check [--cid N] [NAME]...\n       proxify-relay bench [--cid N] [NAME]..."
)]
#[command(after_help = "\
Examples:
  proxify-relay
      for the enclaves of this instance, on vsock port 8888
  proxify-relay --deny 169.254.169.254/32 --bind 10.0.0.10
      without IMDS, and with published ports on one address only

proxify-relay status shows how it and its enclaves are; check and bench have an enclave run these, and
print what comes of it. proxify-relay status --help has the options.

Stops on SIGTERM or SIGINT: queries in flight are answered, connections get 5 s to end.

Exit status: 0 after a signal; 64 on bad usage; 69 when it cannot listen; 71 when the system refuses
what it never should.")]
struct Options {
    /// Where to listen: vsock:any, unix:PREFIX (the socket is PREFIX_PORT, mode 0660), tcp:ADDR
    #[arg(
        long,
        env = "PROXIFY_RELAY_LISTEN",
        value_name = "ADDRESS",
        default_value = "vsock:any"
    )]
    listen: ListenAddress,

    /// The port to listen on
    #[arg(long, env = "PROXIFY_RELAY_PORT", default_value_t = link::DEFAULT_PORT)]
    port: u32,

    /// Let tcp:ADDR be another address than loopback. Whoever reaches it can use this relay, and
    /// nothing on the way is encrypted
    #[arg(long, env = "PROXIFY_RELAY_INSECURE_TCP")]
    insecure_tcp: bool,

    /// The resolv.conf whose nameservers the enclaves are told, and its changes. Where it names
    /// a loopback address, /run/systemd/resolve/resolv.conf is read too
    #[arg(
        long,
        env = "PROXIFY_RELAY_RESOLV_CONF",
        value_name = "PATH",
        default_value = "/etc/resolv.conf"
    )]
    resolv_conf: PathBuf,

    /// Let enclaves reach only this network, or this port of it, and what other --allow name: all
    /// else is closed. This instance itself is opened only by a rule that names nothing beside it:
    /// inside 127.0.0.0/8, ::1, or one of its addresses
    #[arg(
        long,
        env = "PROXIFY_RELAY_ALLOW",
        value_name = "CIDR[:PORT]",
        value_delimiter = ','
    )]
    allow: Vec<Rule>,

    /// Keep enclaves from this network, or this port of it. Wins over --allow
    #[arg(
        long,
        env = "PROXIFY_RELAY_DENY",
        value_name = "CIDR[:PORT]",
        value_delimiter = ','
    )]
    deny: Vec<Rule>,

    /// Where enclaves may listen for connections to the programs that they publish: any (where they
    /// ask, by default on all addresses), the one address IP, or none
    #[arg(
        long,
        env = "PROXIFY_RELAY_BIND",
        value_name = "any|none|IP",
        default_value = "any"
    )]
    bind: BindTo,

    /// The most packets to nameservers in any second, over all enclaves, who share them fairly:
    /// AmazonDNS drops what is above 1024. From 10 on; 0 is no limit
    #[arg(
        long,
        env = "PROXIFY_RELAY_UPSTREAM_PPS",
        value_name = "PACKETS",
        default_value_t = UPSTREAM_PPS,
        value_parser = upstream_pps
    )]
    upstream_pps: u32,

    /// Serve metrics for Prometheus here, at /metrics: what this relay does for each enclave, and what
    /// the enclaves tell it of themselves. On another address than loopback whoever reaches it can read
    /// them
    #[arg(long, env = "PROXIFY_RELAY_METRICS", value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// Where proxify-relay status, check and bench ask: a unix socket of mode 0600, whose directory is made
    /// if it is not there; or none
    #[arg(
        long,
        env = "PROXIFY_RELAY_CONTROL",
        value_name = "PATH|none",
        default_value = operators::SOCKET
    )]
    control: PathBuf,

    /// Write a line end to this descriptor, and close it, once the relay listens. (Under systemd
    /// use Type=notify: NOTIFY_SOCKET is honoured)
    #[arg(long, env = "PROXIFY_RELAY_READY_FD", value_name = "N", value_parser = clap::value_parser!(RawFd).range(3..))]
    ready_fd: Option<RawFd>,

    /// What to log to standard error: error, warn, info, debug, trace, or directives such as
    /// warn,relay=debug
    #[arg(
        long,
        env = "PROXIFY_RELAY_LOG",
        value_name = "LEVEL",
        default_value = "info"
    )]
    log: Targets,

    /// How to log
    #[arg(
        long,
        env = "PROXIFY_RELAY_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: logging::Format,
}

/// Packets a second. Fewer than 10 could not be spread over a second.
fn upstream_pps(text: &str) -> Result<u32, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| *number == 0 || (10..=MOST_PPS).contains(number));
    number.ok_or_else(|| format!("write 0 for no limit, or a number from 10 to {MOST_PPS}"))
}

/// The relay's command line, for its man page and completions.
#[must_use]
pub fn command_line() -> clap::Command {
    Options::command().subcommands(commands::command_lines())
}

/// The whole program: parses `args` (the first is the program's name), listens, and serves until
/// SIGTERM or SIGINT.
pub fn main<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let line: Vec<OsString> = args.into_iter().map(Into::into).collect();
    if let Some(code) = commands::run(&line) {
        return code;
    }
    let options: Options = match read(&line) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let ended = run(options);
    let why = ended.as_ref().err().map(ToString::to_string);
    logging::end("proxify-relay", why.as_deref());
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.code()),
    }
}

/// Reads a line; what clap prints instead is printed, and the exit code given.
pub(crate) fn read<L: Parser>(line: &[OsString]) -> Result<L, ExitCode> {
    L::try_parse_from(line).map_err(|error| {
        // With standard error closed there is nobody to tell.
        let _ = error.print();
        if error.use_stderr() {
            ExitCode::from(USAGE)
        } else {
            ExitCode::SUCCESS
        }
    })
}

fn run(options: Options) -> Result<(), RelayError> {
    let ready_fd = options.ready_fd.map(ReadyFd::claim).transpose()?;
    logging::start(&options.log, options.log_format, None).map_err(RelayError::Runtime)?;
    raise_descriptor_limit();
    // Before there are threads, who begin with what is left.
    if let Err(error) = privileges::keep(needed(&options.listen)) {
        warn!(%error, "enclaves are served with more privileges than that takes");
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(threads.min(MAX_THREADS))
        .thread_name("relay")
        .enable_all()
        .build()
        .map_err(RelayError::Runtime)?;
    // On a worker, which goes on with the connections that it accepts: to hand each over to another
    // thread takes as long as the rest of its setup.
    let serving = runtime.spawn(listen_and_serve(options, ready_fd));
    let served = runtime
        .block_on(serving)
        .map_err(|error| RelayError::Runtime(error.into()))?;
    // A read of resolv.conf that hangs must not keep the process.
    runtime.shutdown_background();
    served
}

/// Ports under 1024, which enclaves may ask for. A unix socket may have its place in a directory of
/// the virtual machine's user, and is taken away from there at the end.
fn needed(listen: &ListenAddress) -> &'static [Capability] {
    const NEEDED: [Capability; 2] = [
        Capability::CAP_NET_BIND_SERVICE,
        Capability::CAP_DAC_OVERRIDE,
    ];
    match listen {
        ListenAddress::Unix(_) => &NEEDED,
        ListenAddress::VsockAny | ListenAddress::Tcp(_) => &NEEDED[..1],
    }
}

async fn listen_and_serve(options: Options, ready_fd: Option<ReadyFd>) -> Result<(), RelayError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RelayError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RelayError::Runtime)?;
    let listener = if options.insecure_tcp {
        Listener::bind_remote(&options.listen, options.port)?
    } else {
        Listener::bind(&options.listen, options.port)?
    };
    info!(address = %listener, "listening");
    let metrics = options.metrics.map(bind_metrics).transpose()?;
    ready::announce(ready_fd)?;
    let config = Config {
        policy: Policy {
            allow: options.allow,
            deny: options.deny,
        },
        bind_to: options.bind,
        resolv_conf: Files {
            file: options.resolv_conf,
            ..Files::default()
        },
        control: (options.control.as_os_str() != "none").then_some(options.control),
        limits: Limits {
            upstream_pps: options.upstream_pps,
            ..Limits::default()
        },
        metrics,
    };
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => info!(signal = "SIGTERM", "stopping"),
            _ = interrupt.recv() => info!(signal = "SIGINT", "stopping"),
        }
    };
    serve(listener, config, shutdown).await;
    info!("stopped");
    Ok(())
}

fn bind_metrics(address: SocketAddr) -> Result<metrics::Endpoint, RelayError> {
    let endpoint = metrics::Endpoint::bind(address);
    let endpoint = endpoint.map_err(|source| RelayError::Metrics { address, source })?;
    info!(%address, "metrics are served");
    Ok(endpoint)
}

/// Why the relay does not run.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("{error}{hint}", error = .0, hint = hint(.0))]
    Listen(#[from] BindError),
    #[error("cannot serve metrics at {address}: {source}; choose another address with --metrics")]
    Metrics {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Ready(#[from] ReadyError),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

fn hint(error: &BindError) -> &'static str {
    match error {
        BindError::NotLoopback { .. } => "; `--insecure-tcp` permits it",
        _ => "",
    }
}

impl RelayError {
    fn code(&self) -> u8 {
        match self {
            Self::Ready(ReadyError::Descriptor { .. }) => USAGE,
            Self::Listen(BindError::NotLoopback { .. } | BindError::Port { .. }) => USAGE,
            Self::Listen(_) | Self::Metrics { .. } => UNAVAILABLE,
            Self::Ready(ReadyError::Socket { .. }) | Self::Runtime(_) => SYSTEM,
        }
    }
}

/// A full relay holds more descriptors than the usual 1,024.
pub(crate) fn raise_descriptor_limit() {
    let wanted =
        u64::try_from(2 * CONNECTIONS + DNS_SOCKETS + SPARE_DESCRIPTORS).unwrap_or(u64::MAX);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    if soft >= wanted {
        return;
    }
    let raised = wanted.min(hard);
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, raised, hard) {
        warn!(now = soft, wanted = raised, %error, "cannot raise the limit on open files");
    } else if raised < wanted {
        info!(
            limit = hard,
            wanted, "a full relay needs more open files: raise LimitNOFILE"
        );
    }
}

#[cfg(test)]
mod tests;
