//! `proxify check`: what AWS names resolve to, and whether that is private.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use check::{MAX_NAMES, Report, Style, Verdict};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use hickory_proto::rr::Name;
use ipnet::IpNet;
use link::{Address, Parent};

use crate::Failure;
use crate::cli::read_command;
use crate::commands::operator::print;
use crate::commands::values::{DNS_PORT, region, server};
use crate::commands::{NO, place};

/// Who is asked where no `--server` says it, as every program is.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Shows what AWS names resolve to, and whether traffic to them stays private.
///
/// Asks as a program here would: in an enclave the stub, elsewhere the nameserver of /etc/resolv.conf.
/// Each address is judged by where it is: an interface endpoint within the VPC's blocks, an endpoint's
/// own name, an endpoint service, private elsewhere, a gateway service (S3 and DynamoDB keep their
/// public addresses behind gateway endpoints: the route table decides), or public.
#[derive(Debug, Parser)]
#[command(
    name = "proxify",
    bin_name = "proxify check",
    after_help = "\
Examples:
  proxify check
      the services that most programs on AWS use, in the region that IMDS tells
  proxify check --require-private --connect ec2.eu-west-1.amazonaws.com ssm.eu-west-1.amazonaws.com
      for a script: fails unless both lead into the VPC and take connections

Name a VPC endpoint by its own regional name (vpce-….vpce.amazonaws.com) to see which zones it covers.

Exit status: 0; 1 if a name could not be looked up, a connection did not open, or, with
--require-private, a name is not private; 64 on bad usage; 69 if nobody can be asked."
)]
struct Line {
    /// The names; without any, the regional endpoints of the usual services.
    #[arg(value_name = "NAME", value_parser = name)]
    names: Vec<Name>,
    /// Ask this nameserver.
    #[arg(long, value_name = "IP[:PORT]", value_parser = server)]
    server: Option<SocketAddr>,
    /// The region of the usual services, instead of IMDS's.
    #[arg(long, value_name = "REGION", value_parser = region)]
    region: Option<String>,
    /// The VPC's blocks, instead of IMDS's.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    vpc_cidr: Vec<IpNet>,
    /// Open a TCP connection to port 443 of each address, too.
    #[arg(long)]
    connect: bool,
    /// Fail if a name is not private; a gateway service may be public.
    #[arg(long)]
    require_private: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Where the relay is, from which an enclave reaches IMDS.
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
        Ok(report) => line.print(&report),
        Err(Error::Usage(text)) => {
            let error = Line::command().error(ErrorKind::ValueValidation, text);
            let _ = error.print();
            Failure::USAGE.into()
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "proxify check: {error}");
            Failure::UNAVAILABLE.into()
        }
    }
}

fn run(line: &Line) -> Result<Report, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let needs_place =
            line.vpc_cidr.is_empty() || line.names.is_empty() && line.region.is_none();
        let place = match needs_place {
            true => place(&Parent::new(line.parent.clone(), line.port)).await,
            false => Err(String::new()),
        };
        let names = match (&line.region, &place) {
            _ if !line.names.is_empty() => line.names.clone(),
            (Some(region), _) => usual(region),
            (None, Ok(place)) => usual(&place.region),
            (None, Err(why)) => {
                return Err(Error::Usage(format!(
                    "which region? Give --region, or names: {why}\n"
                )));
            }
        };
        if names.len() > MAX_NAMES {
            return Err(Error::Usage(format!("at most {MAX_NAMES} names at once\n")));
        }
        let blocks = match place {
            _ if !line.vpc_cidr.is_empty() => line.vpc_cidr.clone(),
            Ok(place) => place.blocks,
            Err(_) => Vec::new(),
        };
        let config = check::Config {
            server: match line.server {
                Some(server) => server,
                None => configured()?,
            },
            names,
            blocks,
            connect: line.connect,
        };
        Ok(check::check(config).await)
    })
}

fn usual(region: &str) -> Vec<Name> {
    check::usual(region)
        .iter()
        .filter_map(|text| name(text).ok())
        .collect()
}

/// The nameserver that programs here ask first.
fn configured() -> Result<SocketAddr, Error> {
    let text = vpc::read_resolv_conf(Path::new(RESOLV_CONF))
        .map_err(|source| Error::ResolvConf { source })?;
    let conf = resolv::ResolvConf::parse(&text);
    let first = conf.nameservers.first().ok_or(Error::NoNameserver)?;
    Ok(SocketAddr::new(*first, DNS_PORT))
}

impl Line {
    fn print(&self, report: &Report) -> ExitCode {
        let is_terminal = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let style = match is_terminal {
            true => Style::Coloured,
            false => Style::Plain,
        };
        let text = match self.json {
            true => format!("{:#}\n", report.json()),
            false => report.text(style),
        };
        print(&text);
        let nobody_answered = report.count(Verdict::Failed) == report.names.len()
            && report.names.iter().all(|name| name.is_unanswered);
        if nobody_answered {
            Failure::UNAVAILABLE.into()
        } else if !report.all_answered() || self.require_private && !report.all_private() {
            NO.into()
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{RESOLV_CONF} cannot be read: {source}; give --server")]
    ResolvConf { source: io::Error },
    #[error("{RESOLV_CONF} names no nameserver; give --server")]
    NoNameserver,
    #[error("the runtime does not start: {0}")]
    Runtime(#[from] io::Error),
}

/// A name is whole, with or without its final dot.
fn name(text: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(text).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    match name.is_root() {
        true => Err("the root has no addresses".to_owned()),
        false => Ok(name),
    }
}
