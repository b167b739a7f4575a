//! `proxify explain NAME`: how a name is answered, and why.

use std::ffi::OsString;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use control::Style;
use control::explain::{Libc, Report, explain};
use hickory_proto::rr::RecordType;
use stub::{Name, ParseNameError};

use crate::cli::read_command;
use crate::commands::NO;
use crate::commands::operator::{ask, failed, print};

/// Shows how a name is answered here, and why: the hosts file and the search list as libc reads them,
/// the route and nameservers, what the cache has, the last failure, and what upstream says now.
///
/// That last is a lookup past the cache, one for each type and each name that libc would try: it counts
/// against the quota, and the cache stays as it is.
#[derive(Debug, Parser)]
#[command(
    name = "proxify",
    bin_name = "proxify explain",
    after_help = "\
Examples:
  proxify explain ec2.eu-west-1.amazonaws.com
      why a program gets these addresses, or none
  proxify explain --type TXT --json _config.corp.example
      one type, for a script

Exit status: 0; 1 if the name does not resolve, or no proxify serves names here; 64 on bad usage;
69 if proxify does not answer."
)]
struct Line {
    /// The name, as a program would give it, or an address.
    #[arg(value_parser = name)]
    name: String,
    /// The type of records, such as A, TXT or TYPE65; without it A and AAAA, as programs ask.
    #[arg(long, value_name = "TYPE", value_parser = rtype)]
    r#type: Option<RecordType>,
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
    match explain(&line.name, line.r#type, &Libc::here(), ask) {
        Ok(report) => {
            print(&line.show(&report));
            match report.resolves() {
                true => ExitCode::SUCCESS,
                false => NO.into(),
            }
        }
        Err(error) => failed("explain", &error),
    }
}

impl Line {
    fn show(&self, report: &Report) -> String {
        match self.json {
            true => serde_json::to_string_pretty(report).unwrap_or_default() + "\n",
            false => report.show(Style::of_stdout()),
        }
    }
}

/// What is no name that the stub could be asked for is told before anybody is asked.
fn name(text: &str) -> Result<String, ParseNameError> {
    if text.parse::<IpAddr>().is_err() {
        text.parse::<Name>()?;
    }
    Ok(text.to_owned())
}

fn rtype(text: &str) -> Result<RecordType, String> {
    let text = text.to_ascii_uppercase();
    let number = text.strip_prefix("TYPE").unwrap_or(&text);
    let known = number.parse::<u16>().map(RecordType::from);
    known
        .or_else(|_| text.parse())
        .map_err(|_| "write a type such as A, AAAA, TXT, or TYPE and its number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_a_mnemonic_or_a_number() {
        for (text, number) in [
            ("a", 1),
            ("AAAA", 28),
            ("TYPE65", 65),
            ("65280", 65_280),
            ("any", 255),
        ] {
            assert_eq!(rtype(text).map(u16::from), Ok(number), "{text}");
        }
        for text in ["", "TYPE", "TYPE65536", "-1", "B C"] {
            rtype(text).unwrap_err();
        }
    }
}
