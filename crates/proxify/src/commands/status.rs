//! `proxify status`: how the proxify that serves names here is.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use control::{Reply, Request, Status, Style};

use crate::cli::read_command;
use crate::commands::operator::{ask, failed, print};

/// Shows how the proxify that serves names here is: its parent and nameservers, cache, packets
/// upstream, TCP out and in, and failures.
///
/// Asks it at /run/proxify.sock, which is for root and for proxify's own user.
#[derive(Debug, Parser)]
#[command(
    name = "proxify",
    bin_name = "proxify status",
    after_help = "\
Examples:
  proxify status
      beside a running proxify, for people
  proxify status --json | jq .totals.servfail_total
      for a script: everything that is counted, by names as in metrics

Exit status: 0; 1 if no proxify serves names here; 64 on bad usage; 69 if it does not answer."
)]
struct Line {
    /// Print JSON.
    #[arg(long)]
    json: bool,
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
    match ask(&Request::Status) {
        Ok(Reply::Status(status)) => {
            print(&line.show(&status));
            ExitCode::SUCCESS
        }
        Ok(_) => failed("status", &control::other()),
        Err(error) => failed("status", &error),
    }
}

impl Line {
    fn show(&self, status: &Status) -> String {
        match self.json {
            true => serde_json::to_string_pretty(status).unwrap_or_default() + "\n",
            false => status.show(Style::of_stdout()),
        }
    }
}
