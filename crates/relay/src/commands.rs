//! What operators run beside the relay: `proxify-relay status`, `check`, `bench`. Each reads its own options
//! behind its word, and asks the relay that runs.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use operator::AskError;
use report::printable_line;

use crate::cli::{UNAVAILABLE, read};
use crate::operators::SOCKET;

mod run;
mod show;
mod status;

/// The answer to an operator's question is no.
const NO: u8 = 1;

/// Their command lines, for man pages and completions.
pub(crate) fn command_lines() -> [clap::Command; 3] {
    [
        run::Bench::command().name("bench"),
        run::Check::command().name("check"),
        status::Line::command().name("status"),
    ]
}

/// Runs the command that `line` names, if its first word is one.
pub(crate) fn run(line: &[OsString]) -> Option<ExitCode> {
    let behind: Vec<OsString> = line
        .iter()
        .take(1)
        .chain(line.iter().skip(2))
        .cloned()
        .collect();
    let code = match line.get(1)?.to_str()? {
        "bench" => read(&behind).map(run::Bench::main),
        "check" => read(&behind).map(run::Check::main),
        "status" => read(&behind).map(status::Line::main),
        _ => return None,
    };
    Some(code.unwrap_or_else(|code| code))
}

/// Which enclave, and where the relay is asked.
#[derive(Debug, Args)]
struct Whom {
    /// The enclave, by its CID, or as status writes it.
    #[arg(long, value_name = "N", value_parser = enclave)]
    cid: Option<String>,
    /// Where the relay is asked.
    #[arg(
        long,
        env = "PROXIFY_RELAY_CONTROL",
        value_name = "PATH",
        default_value = SOCKET
    )]
    control: PathBuf,
}

/// `16`, `vsock:16`, `unix:1234`, `tcp:10.0.0.9`, as it is known to the relay.
fn enclave(text: &str) -> Result<String, String> {
    match text.parse::<u32>() {
        Ok(cid) => Ok(format!("vsock:{cid}")),
        Err(_) if text.contains(':') => Ok(text.to_owned()),
        Err(_) => Err("write a CID such as 16, or an enclave as status writes it".to_owned()),
    }
}

/// Says why there is no answer, and with which code to exit.
fn failed(command: &str, error: &AskError) -> ExitCode {
    complain(command, &error.to_string());
    UNAVAILABLE.into()
}

/// A line on standard error, part of which may be an enclave's words.
fn complain(command: &str, text: &str) {
    let text = printable_line(text);
    let _ = writeln!(io::stderr(), "proxify-relay {command}: {text}");
}

/// A reader that has gone has read enough.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
