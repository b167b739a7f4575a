//! What operators run: `proxify check`, … Each reads its own options behind its word.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli;

mod check;

/// The answer to an operator's question is no.
const NO: u8 = 1;

/// What proxify's command lines are, for its man pages and completions: that of APP, with the commands
/// as subcommands.
#[must_use]
pub fn command_line() -> clap::Command {
    let [app, dns] = cli::command_lines();
    app.subcommands([dns.name("dns"), check::command().name("check")])
}

/// Runs the command that `line` names, if its first word is one.
pub(crate) fn run(line: &[OsString]) -> Option<ExitCode> {
    let command = match line.get(1)?.to_str()? {
        "check" => check::main,
        _ => return None,
    };
    Some(command(line))
}
