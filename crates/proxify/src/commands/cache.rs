//! `proxify cache flush`: the cache forgets.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use control::{Reply, Request};
use stub::{Name, ParseNameError};

use crate::cli::read_command;
use crate::commands::operator::{ask, failed, print};

/// Has the cache of the proxify that serves names here forget.
#[derive(Debug, Parser)]
#[command(
    name = "proxify",
    bin_name = "proxify cache",
    after_help = "\
Examples:
  proxify cache flush db.corp.example
      the next program that asks for it, for any type, gets what upstream says then
  proxify cache flush
      everything; names are asked for anew, within the quota, and there are no stale answers left

Exit status: 0; 1 if no proxify serves names here; 64 on bad usage; 69 if it does not answer."
)]
struct Line {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Forget a name with all its types, or everything; says how many answers went.
    Flush {
        /// The whole name; names below it stay.
        #[arg(value_parser = name)]
        name: Option<String>,
    },
}

/// Its command line.
pub(super) fn command() -> clap::Command {
    Line::command()
}

/// The whole command.
pub(super) fn main(line: &[OsString]) -> ExitCode {
    let Line {
        what: What::Flush { name },
    } = match read_command(line) {
        Ok(line) => line,
        Err(code) => return code,
    };
    match ask(&Request::Flush { name: name.clone() }) {
        Ok(Reply::Flushed { entries }) => {
            let of = name.map(|name| format!(" of {name}")).unwrap_or_default();
            let entries = match entries {
                1 => "1 entry".to_owned(),
                entries => format!("{entries} entries"),
            };
            print(&format!("{entries}{of} flushed\n"));
            ExitCode::SUCCESS
        }
        Ok(_) => failed("cache", &control::other()),
        Err(error) => failed("cache", &error),
    }
}

fn name(text: &str) -> Result<String, ParseNameError> {
    text.parse::<Name>().map(|name| name.to_string())
}
