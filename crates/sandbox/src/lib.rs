//! An enclave, a parent instance and a VPC on one machine, out of Linux namespaces; for tests, and to see what
//! `proxify` does.
//!
//! ```text
//! enclave                         parent instance                       VPC
//! net: lo only                    net: eth0 10.0.0.10/16 ───── veth ─── net: vpc0 10.0.0.1, 10.0.0.2 (AmazonDNS)
//! CMD under proxify ── unix socket ── proxify-relay                          lo   every service's address, IMDS
//! ```
//!
//! | process | namespaces | is |
//! |---|---|---|
//! | `sandbox` | makes those of the parent | signals in, exit status out |
//! | `sandbox-init` | the parent's; PID 1 of all | supervisor; `proxify-relay` is its child |
//! | `sandbox-vpc` | its own network | the zone's server, and IMDS |
//! | `proxify` | its own network and mounts | the enclave's program, CMD its child |
//!
//! All are this one binary under other names. One user namespace (unless the caller is root) and one PID namespace
//! hold them all: when `sandbox` dies, in whatever way, the kernel ends the rest, and with the last process go the
//! mounts and interfaces. Nothing is written outside of tmpfs in these mount namespaces.
//!
//! # What is in the run directory, /run/sandbox
//!
//! | file | |
//! |---|---|
//! | `queries` | a line for each DNS packet that AmazonDNS received: `udp ec2.us-east-1.amazonaws.com. A` |
//! | `without/SERVICE` | while it exists, the service has no endpoint |
//! | `without/ADDRESS` | while it exists, AmazonDNS does not answer there: 10.0.0.2, 169.254.169.253 or fd00:ec2::253 |
//! | `imds/FAULT` | while it exists, IMDS has the fault: `off`, `hang`, `401`, `403`, `404`, `redirect`, `html`, `huge`, `nul`, `garbage` or `small` (the VPC's block) |
//! | `relay.pid`, `vpc.pid` | process ids |
//! | `link_8888` | the link |
//! | `bin/sandbox`, `bin/proxify`, `bin/proxify-relay` | the programs; `$SANDBOX` is the first |
//!
//! # Names that AmazonDNS knows
//!
//! Addresses are those of the VPC 10.0.0.0/16; in another block the last two bytes stay. TTL 60 if not given.
//!
//! | name | has |
//! |---|---|
//! | `SERVICE.us-east-1.amazonaws.com` | A 10.0.1.H and 10.0.2.H; without the endpoint A 3.218.180.H and 3.218.181.H. SERVICE (H): sns (11), sqs (12), logs (13), ssm (14), ssmmessages (15), autoscaling (16), ec2 (17), ec2messages (18), xray (19), aps-workspaces (20) |
//! | `vpce-0123456789abcdeH-a1b2c3d4.SERVICE.us-east-1.vpce.amazonaws.com` | the endpoint's regional name: both; NXDOMAIN without the endpoint |
//! | `vpce-0123456789abcdeH-a1b2c3d4-us-east-1a.SERVICE.…` | a zonal name: 10.0.1.H; `-us-east-1b`: 10.0.2.H |
//! | `s3.us-east-1.amazonaws.com` | A, four of 52.216.0.0/16, TTL 5 (gateway endpoint); `s3.amazonaws.com` one |
//! | `BUCKET.s3.us-east-1.amazonaws.com` | CNAME to `s3-r-w.us-east-1.amazonaws.com`, A 52.216.58.210 and 52.216.211.98, TTL 5 |
//! | `dynamodb.us-east-1.amazonaws.com` | A 3.218.182.43 and 3.218.183.91, TTL 5 (gateway endpoint) |
//! | `bucket.`, `accesspoint.`, `control.` and `X.bucket.`, `X.accesspoint.`, `X.control.` before `vpce-0123456789abcde21-a1b2c3d4.s3.us-east-1.vpce.amazonaws.com` | S3's interface endpoint: A 10.0.1.21 and 10.0.2.21 |
//! | `vpce-0a1b2c3d4e5f60718-k9x8w7v6[-us-east-1a].vpce-svc-0fedcba9876543210.us-east-1.vpce.amazonaws.com` | an endpoint service: A 10.0.1.40 and 10.0.2.40 |
//! | `keys.partner.example` | its private name: the same |
//! | `ip-10-0-1-17.ec2.internal`, `17.1.0.10.in-addr.arpa` | A and PTR, for each address of an endpoint and the parent's 10.0.0.10 |
//! | `kv.kv.internal` | A 10.0.1.50 and 10.0.2.50, in a private hosted zone |
//! | `chain.kv.internal` | CNAME (300) `link1` CNAME (30) `link2` CNAME (7) `end` A 10.0.1.51 (120) |
//! | `broken.kv.internal` | CNAME to a name that does not exist |
//! | `v4only.kv.internal`, `v6only.kv.internal`, `dual.kv.internal` | A 10.0.1.52; AAAA fd00:ec2:7::52; A 10.0.1.53 and AAAA fd00:ec2:7::53 |
//! | `short.kv.internal`, `zero.kv.internal` | A 10.0.1.54, TTL 2; A 10.0.1.55, TTL 0 |
//! | `large.kv.internal` | TXT of 5,000 bytes |
//! | `many.kv.internal` | A, a hundred: 10.0.3.1 to 10.0.3.100 |
//! | `unknown.kv.internal` | TYPE65280 `DEADBEEF0102` |
//! | `https.kv.internal`, `_kv._tcp.kv.internal` | HTTPS; SRV |
//! | anything else | NXDOMAIN with SOA; the negative TTL is 5 under `kv.internal`, 60 elsewhere |

mod addresses;
mod amazon_dns;
mod cli;
mod ctl;
mod enclave;
mod endpoints;
mod handover;
mod host;
mod imds;
mod init;
mod mounts;
mod namespaces;
mod roles;
mod run_dir;
mod signals;
mod terminal;
mod vpc;
mod zone;

use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Ctl, Options};

/// Exit status on bad usage (sysexits.h, EX_USAGE).
const USAGE: u8 = 64;

/// Exit status where this machine does not let us make a sandbox (sysexits.h, EX_UNAVAILABLE).
const UNAVAILABLE: u8 = 69;

/// The whole program, in whatever role its first argument says. Its exit status is CMD's, 64 on bad usage, or 69 if
/// there can be no sandbox here.
///
/// It must be called in a process's only thread: it moves the process into other namespaces.
pub fn main<I, T>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let arguments = arguments.into_iter().map(Into::into).collect();
    let arguments = match roles::dispatch(arguments) {
        Ok(code) => return code,
        Err(arguments) => arguments,
    };
    if arguments.get(1).is_some_and(|word| word == "ctl") {
        return match parse::<Ctl>(arguments.into_iter().skip(1).collect()) {
            Ok(ctl) => ctl::run(ctl),
            Err(code) => code,
        };
    }
    match options(arguments) {
        Ok(_) => host::run().unwrap_or_else(|error| complain(&error, UNAVAILABLE)),
        Err(code) => code,
    }
}

/// The command line as the sandbox and each of its roles reads it; warnings go to stderr from here on.
fn options(arguments: Vec<OsString>) -> Result<Options, ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::WARN)
        .init();
    parse(arguments)
}

fn parse<P: Parser>(arguments: Vec<OsString>) -> Result<P, ExitCode> {
    P::try_parse_from(arguments).map_err(|error| {
        // Nothing can be done if not even this can be written.
        let _ = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => ExitCode::from(USAGE),
        }
    })
}

/// Says why we end.
fn complain(error: &dyn Display, code: u8) -> ExitCode {
    eprintln!("sandbox: {error}");
    ExitCode::from(code)
}
