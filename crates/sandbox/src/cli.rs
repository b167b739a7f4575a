//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};

use crate::addresses::VpcCidr;
use crate::endpoints::SERVICES;

/// Runs CMD as an enclave's program, on a machine that is no enclave: under the real `proxify`, in a network with
/// nothing but loopback, linked to the real `proxify-relay` on a "parent instance", in a "VPC" whose resolver answers
/// at base + 2.
///
/// It needs root or user namespaces, changes nothing on the host, and leaves nothing behind.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "sandbox",
    override_usage = "sandbox [OPTIONS] [--] [CMD…]\n       sandbox ctl parent|vpc CMD…\n       sandbox ctl relay start|stop|kill",
    after_help = AFTER_HELP,
    after_long_help = AFTER_HELP
)]
pub(crate) struct Options {
    /// The VPC's primary block; its resolver is at base + 2, the parent at base + 10
    #[arg(long, value_name = "CIDR", default_value = "10.0.0.0/16")]
    pub(crate) vpc_cidr: VpcCidr,

    /// Serve the zones of this RFC 1035 master file instead of the built-in ones
    #[arg(long, value_name = "FILE", conflicts_with = "without_endpoint")]
    pub(crate) zone: Option<PathBuf>,

    /// Leave out this service's interface endpoint: its name has public addresses
    #[arg(long, value_name = "SERVICE", value_parser = PossibleValuesParser::new(SERVICES.iter().map(|service| service.name)))]
    pub(crate) without_endpoint: Vec<String>,

    /// What answers at base + 2; with `none` start your own with `sandbox ctl vpc`
    #[arg(long, value_name = "WHICH", default_value = "builtin")]
    pub(crate) resolver: Resolver,

    /// Do not start the relay; `sandbox ctl relay start` does
    #[arg(long)]
    pub(crate) no_relay: bool,

    /// Run CMD in the enclave as it is, without proxify; CMD may be an image's init that starts it
    #[arg(long)]
    pub(crate) no_proxify: bool,

    /// The program and its arguments; without it $SHELL, or /bin/sh
    #[arg(value_name = "CMD", trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

/// What stands at AmazonDNS's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Resolver {
    /// The sandbox's own, with its zone
    Builtin,
    /// Nothing
    None,
}

/// A part of `sandbox ctl`, called from inside a sandbox.
#[derive(Clone, Debug, Parser)]
#[command(name = "sandbox ctl")]
pub(crate) enum Ctl {
    /// Run CMD on the parent instance: its network, its /etc and /run
    Parent(Program),
    /// Run CMD in the VPC's network
    Vpc(Program),
    /// Start the relay again, end it (TERM), or kill it (KILL)
    Relay {
        /// What to do; returns when it is done
        action: RelayAction,
    },
}

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Program {
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub(crate) command: Vec<OsString>,
}

/// What to do with the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RelayAction {
    /// Start it and wait until it listens
    Start,
    /// SIGTERM, and wait until it has drained
    Stop,
    /// SIGKILL
    Kill,
}

const AFTER_HELP: &str = "\
Exit status: CMD's own (128 + N on signal N, 126 or 127 if it cannot run); 64 on bad usage; 69 if \
this machine does not let us make a sandbox.

proxify and the relay take options as PROXIFY_… and PROXIFY_RELAY_… variables, as in \
`PROXIFY_LOG=info sandbox CMD…`. PROXIFY_PARENT is set to the link, unix:/run/sandbox/link.

In the sandbox:
  $SANDBOX                  this program; proxify and proxify-relay stand beside it
  /run/sandbox/queries      `udp ec2.us-east-1.amazonaws.com. A` for each DNS packet
  /run/sandbox/without/ec2  while this file exists, ec2 has no endpoint; named 169.254.169.253,
                            10.0.0.2 or fd00:ec2::253, AmazonDNS does not answer there
  /run/sandbox/imds/FAULT   while this file exists, IMDS has the fault: off hang 401 403 404 redirect
                            html huge nul garbage small
  /run/sandbox/relay.pid    the relay's process id

Names (addresses in 10.0.0.0/16):
  SERVICE.us-east-1.amazonaws.com   10.0.1.x, 10.0.2.x: an interface endpoint
    sns sqs logs ssm ssmmessages autoscaling ec2 ec2messages xray aps-workspaces
  vpce-0123456789abcde17-a1b2c3d4[-us-east-1a].ec2.us-east-1.vpce.amazonaws.com
  s3.us-east-1.amazonaws.com, BUCKET.s3.us-east-1.amazonaws.com   52.216.x.x
  dynamodb.us-east-1.amazonaws.com  3.218.x.x: a gateway endpoint, as S3
  bucket.vpce-0123456789abcde21-a1b2c3d4.s3.us-east-1.vpce.amazonaws.com
  keys.partner.example              an endpoint service's private name
  ip-10-0-1-17.ec2.internal         and its PTR
  {kv,chain,v4only,v6only,dual,short,zero,large,unknown,https}.kv.internal";
