//! What operators run: `proxify bench`, `check`, `explain`, `status`, … Each reads its own options behind its
//! word.

use std::ffi::OsString;
use std::process::ExitCode;

use link::Parent;
use vpc::{Place, Via};

use crate::{cli, enclave};

mod bench;
mod cache;
mod check;
mod explain;
mod operator;
mod status;
mod values;

/// The answer to an operator's question is no.
const NO: u8 = 1;

/// What proxify's command lines are, for its man pages and completions: that of APP, with the commands
/// as subcommands.
#[must_use]
pub fn command_line() -> clap::Command {
    let [app, dns] = cli::command_lines();
    app.subcommands([
        dns.name("dns"),
        bench::command().name("bench"),
        cache::command().name("cache"),
        check::command().name("check"),
        explain::command().name("explain"),
        status::command().name("status"),
    ])
}

/// Runs the command that `line` names, if its first word is one.
pub(crate) fn run(line: &[OsString]) -> Option<ExitCode> {
    let command = match line.get(1)?.to_str()? {
        "bench" => bench::main,
        "cache" => cache::main,
        "check" => check::main,
        "explain" => explain::main,
        "status" => status::main,
        _ => return None,
    };
    Some(command(line))
}

/// Where the instance is, from IMDS: in an enclave through the relay.
async fn place(parent: &Parent) -> Result<Place, String> {
    let is_enclave = enclave::check(true).unwrap_or(false);
    let via = match is_enclave {
        true => Via::Link(parent),
        false => Via::Network,
    };
    vpc::place(via).await.map_err(|error| error.to_string())
}
