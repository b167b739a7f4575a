//! The command line, and the environment behind it.
//!
//! Every option may also be given as `PROXIFY_` and its name; what stands on the command line
//! wins. `PROXY_PARENT_CID` and `PROXY_PARENT_PORT` are those of the `proxify` that this one
//! replaces. The environment comes in as a function, so that a test needs none.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use link::{Address, Parent};
use publish::Ports;
use stub::Routes;
use tracing_subscriber::filter::Targets;
use vpc::Nameservers;

use self::route::RouteList;

mod route;

/// Where DNS is served (RFC 1035 §4.2), and the only port that a resolv.conf can mean.
const DNS_PORT: u16 = 53;

/// The largest `--upstream-pps`: more than any link carries.
const MOST_PPS: u32 = 1_000_000;

/// Descriptors below are standard input, output and error.
const FIRST_FREE_FD: i64 = 3;

/// The option that counts before `dns` and behind it: of a global one, clap would forget what stands
/// before.
const ROUTE: &str = "route";
const DNS: &str = "dns";

/// What one run is to do.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the relay is.
    pub(crate) parent: Parent,
    /// Which sources of nameservers are allowed.
    pub(crate) nameservers: Nameservers,
    /// Who is asked for names under some suffixes.
    pub(crate) routes: Routes,
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
    /// What is logged.
    pub(crate) log: Targets,
    /// How it is written.
    pub(crate) log_format: LogFormat,
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

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
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
        let mut command = with_environment(Cli::command(), &environment);
        let parsed = command
            .try_get_matches_from_mut(args)
            .and_then(|mut matches| {
                let given = [Some(&matches), matches.subcommand_matches(DNS)].map(has_route);
                let mut cli = Cli::from_arg_matches_mut(&mut matches)?;
                cli.join_routes(given);
                cli.check()
                    .map_err(|text| command.error(ErrorKind::ValueValidation, text))
            });
        parsed.map_err(|error| name_variable(error, &environment))
    }
}

/// Whether the command line, and not the environment, has routes before `dns` or behind it.
fn has_route(matches: Option<&ArgMatches>) -> bool {
    let source = matches.and_then(|matches| matches.value_source(ROUTE));
    source == Some(ValueSource::CommandLine)
}

/// Names resolve inside an enclave, without a line of APP changed.
///
/// proxify answers DNS on loopback, from a cache and through its relay on the parent instance,
/// writes resolv.conf so that every program asks there, and runs APP. It ends with APP's status:
/// 128 + N if signal N ended it, 127 if it is not found, 126 if it cannot run, 64 on bad usage,
/// 69 if names cannot be served.
#[derive(Debug, Parser)]
#[command(
    name = "proxify",
    version,
    disable_help_subcommand = true,
    subcommand_negates_reqs = true,
    override_usage = "proxify [OPTIONS] [--] APP [ARGS]...\n       proxify dns [OPTIONS]",
    after_help = "\
Examples:
  proxify -- /server --port 50051
      run /server; the parent's own nameservers answer, through proxify-relay on the parent
  proxify dns --nameservers cidr:10.0.0.0/16 --ready-fd 3 3>/run/ready &
      for init scripts: the same without an APP, asking 10.0.0.2; a line on /run/ready says that
      names are served

An APP that is named dns runs as: proxify -- dns
Every option may also be given in the environment: --cache-size as PROXIFY_CACHE_SIZE."
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// The program to run, and its arguments.
    #[arg(value_name = "APP", required = true, trailing_var_arg = true)]
    app: Vec<OsString>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Only the stub, in the foreground, until TERM or INT.
    Dns {
        /// Write a line to this open descriptor, and close it, once names are served.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(FIRST_FREE_FD..))]
        ready_fd: Option<RawFd>,
        /// As before `dns`; both count.
        #[arg(long, value_name = "SUFFIX=LIST")]
        route: Vec<RouteList>,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// Where the relay is: vsock:CID, unix:PREFIX (the socket PREFIX_PORT) or tcp:IP (loopback).
    #[arg(long, global = true, value_name = "ADDRESS", default_value = "vsock:3")]
    parent: Address,
    /// The relay's port.
    #[arg(long, global = true, value_name = "PORT", default_value = "8888")]
    port: u32,
    /// Who answers behind the relay: auto (the first that is known of the others), parent (whom the
    /// parent asks), imds (base + 2 of the parent's VPC), or a list of amazon (AmazonDNS at
    /// 169.254.169.253 and fd00:ec2::253), cidr:CIDR (the VPC's base + 2), IP and IP:PORT.
    #[arg(long, global = true, value_name = "LIST", default_value = "auto")]
    nameservers: Nameservers,
    /// Names at SUFFIX and under it go to these nameservers alone, a list of IP, IP:PORT, cidr:CIDR
    /// and amazon. The longest suffix wins; all other names go to --nameservers. May be given several
    /// times, or once with blanks between the routes.
    #[arg(long, value_name = "SUFFIX=LIST")]
    route: Vec<RouteList>,
    /// Where to answer DNS, on loopback.
    #[arg(
        long,
        global = true,
        value_name = "IP:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:53,[::1]:53"
    )]
    listen: Vec<SocketAddr>,
    /// The file that tells programs where to ask, put back at the end; none to leave it alone.
    #[arg(
        long,
        global = true,
        value_name = "PATH|none",
        default_value = "/etc/resolv.conf"
    )]
    resolv_conf: PathBuf,
    /// Memory for cached answers.
    #[arg(
        long,
        global = true,
        value_name = "SIZE",
        default_value = "16MiB",
        value_parser = size
    )]
    cache_size: usize,
    /// The most packets to nameservers in any second: AmazonDNS drops what is above 1024. From 10 on;
    /// 0 is no limit.
    #[arg(
        long,
        global = true,
        value_name = "PACKETS",
        default_value = "900",
        value_parser = upstream_pps
    )]
    upstream_pps: u32,
    /// Which ports of the parent reach programs here: auto (each port that a program listens on, but
    /// on loopback), none, or a list of PORT, PARENT:PORT and ADDR:PARENT:PORT, as 8443:443. Outside
    /// an enclave, auto is none.
    #[arg(
        long,
        global = true,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "auto"
    )]
    publish: Vec<publish::Word>,
    /// How to carry TCP out: auto (detour if it works here, else redirect, else not at all), detour
    /// (connect() fails as it would without an enclave), redirect (it succeeds, and a reset follows),
    /// off.
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    egress: egress::Mode,
    /// Carry TCP to these destinations only; repeatable.
    #[arg(long, global = true, value_name = "CIDR[:PORT]", value_delimiter = ',')]
    egress_allow: Vec<link::Rule>,
    /// What to log on standard error: off, error, warn, info, debug, trace, or such as
    /// warn,vpc=debug.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn")]
    log: Targets,
    /// How to log.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Go on where there are other interfaces than lo, and change this host's resolv.conf.
    #[arg(long, global = true, value_parser = BoolishValueParser::new())]
    force: bool,
}

impl Cli {
    /// Puts the routes from before `dns` and from behind it together. Where none is `given`, both
    /// have those of the environment.
    fn join_routes(&mut self, given: [bool; 2]) {
        let Some(Command::Dns { route: behind, .. }) = &mut self.command else {
            return;
        };
        let before = &mut self.options.route;
        match given {
            [true, true] => before.append(behind),
            [false, true] => std::mem::swap(before, behind),
            [_, false] => {}
        }
    }

    /// What clap cannot check by itself: values that depend on each other.
    fn check(self) -> Result<Config, String> {
        let Options {
            parent,
            port,
            nameservers,
            route,
            listen,
            resolv_conf,
            ..
        } = self.options;
        if let Some(open) = listen.iter().find(|address| !address.ip().is_loopback()) {
            return Err(format!(
                "--listen {open}: the stub answers this machine only; use an address such as \
                 127.0.0.1:53\n"
            ));
        }
        if let Address::Tcp(ip) = parent
            && !ip.is_loopback()
        {
            return Err(format!(
                "--parent tcp:{ip}: TCP to another machine is neither encrypted nor authenticated; \
                 use vsock:CID, unix:PREFIX or a loopback address\n"
            ));
        }
        let routes = route.into_iter().flat_map(|RouteList(routes)| routes);
        let routes = Routes::new(routes.collect())
            .map_err(|error| format!("--route (PROXIFY_ROUTE): {error}\n"))?;
        let resolv_conf = match resolv_conf.as_os_str() == "none" {
            true => None,
            false => Some(ResolvConfFile {
                path: resolv_conf,
                nameserver: nameserver(&listen)?,
            }),
        };
        let publish = Ports::from_words(&self.options.publish)
            .map_err(|error| format!("--publish: {error}\n"))?;
        let job = match (self.command, self.app.split_first()) {
            (Some(Command::Dns { ready_fd, .. }), _) => Job::Dns { ready_fd },
            (None, Some((program, args))) => Job::App {
                program: program.clone(),
                args: args.to_vec(),
            },
            (None, None) => return Err("no APP to run\n".to_owned()),
        };
        Ok(Config {
            parent: Parent::new(parent, port),
            nameservers,
            routes,
            listen,
            resolv_conf,
            cache_size: self.options.cache_size,
            upstream_pps: self.options.upstream_pps,
            publish,
            egress: Some(self.options.egress),
            egress_allow: self.options.egress_allow,
            log: self.options.log,
            log_format: self.options.log_format,
            force: self.options.force,
            job,
        })
    }
}

/// The listen address that a resolv.conf can name: it has no place for a port. IPv4 comes first,
/// since the other is skipped where IPv6 is off.
fn nameserver(listen: &[SocketAddr]) -> Result<IpAddr, String> {
    let at_53 = || listen.iter().filter(|address| address.port() == DNS_PORT);
    let address = at_53()
        .find(|address| address.is_ipv4())
        .or_else(|| at_53().next());
    address.map(SocketAddr::ip).ok_or_else(|| {
        format!(
            "--listen without port {DNS_PORT}: a resolv.conf cannot name another; add \
             {}:{DNS_PORT} or [{}]:{DNS_PORT}, or say --resolv-conf none\n",
            Ipv4Addr::LOCALHOST,
            Ipv6Addr::LOCALHOST
        )
    })
}

/// Bytes as `16MiB`, `512KiB`, `1GiB` or `65536`.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" | "B" => Some(1),
        "KiB" | "K" => Some(1 << 10),
        "MiB" | "M" => Some(1 << 20),
        "GiB" | "G" => Some(1 << 30),
        _ => None,
    };
    let bytes = number
        .parse::<usize>()
        .ok()
        .zip(unit)
        .and_then(|(n, unit)| n.checked_mul(unit));
    bytes.ok_or_else(|| "write a size such as 16MiB, 512KiB or 65536".to_owned())
}

/// Packets a second. Fewer than 10 could not be spread over a second.
fn upstream_pps(text: &str) -> Result<u32, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| *number == 0 || (10..=MOST_PPS).contains(number));
    number.ok_or_else(|| format!("write 0 for no limit, or a number from 10 to {MOST_PPS}"))
}

/// Puts the environment's values where the defaults are.
fn with_environment(
    command: clap::Command,
    environment: &impl Fn(&str) -> Option<OsString>,
) -> clap::Command {
    command
        .mut_args(|arg| {
            match arg
                .get_long()
                .and_then(|long| from_environment(long, environment))
            {
                Some((_, value)) => arg.default_value(value),
                None => arg,
            }
        })
        .mut_subcommands(|command| with_environment(command, environment))
}

/// The variable that speaks for an option, and what it says in the option's terms.
fn from_environment(
    long: &str,
    environment: &impl Fn(&str) -> Option<OsString>,
) -> Option<(String, OsString)> {
    let own = format!("PROXIFY_{}", long.replace('-', "_").to_ascii_uppercase());
    if let Some(value) = environment(&own) {
        return Some((own, value));
    }
    let (old, scheme) = match long {
        "parent" => ("PROXY_PARENT_CID", "vsock:"),
        "port" => ("PROXY_PARENT_PORT", ""),
        _ => return None,
    };
    let mut value = OsString::from(scheme);
    value.push(environment(old)?);
    Some((old.to_owned(), value))
}

/// Says in a value's error that the value came from the environment, if it did.
fn name_variable(
    mut error: clap::Error,
    environment: &impl Fn(&str) -> Option<OsString>,
) -> clap::Error {
    let (Some(ContextValue::String(arg)), Some(ContextValue::String(value))) = (
        error.get(ContextKind::InvalidArg),
        error.get(ContextKind::InvalidValue),
    ) else {
        return error;
    };
    let long = arg
        .trim_start_matches("--")
        .split([' ', '='])
        .next()
        .unwrap_or_default();
    if let Some((variable, given)) = from_environment(long, environment)
        && given == OsStr::new(value)
    {
        let arg = ContextValue::String(format!("{arg} (from {variable})"));
        error.insert(ContextKind::InvalidArg, arg);
    }
    error
}

#[cfg(test)]
mod tests;
