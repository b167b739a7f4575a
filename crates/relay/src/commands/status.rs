//! `proxify-relay status`: how the relay and its enclaves are.

use std::process::ExitCode;

use clap::Parser;
use operator::{AskError, Conversation, ask};
use report::Style;

use super::{NO, Whom, complain, failed, print};
use crate::operators::{Operators, Reply, Request, State};

/// Shows how the relay that runs here is, and each enclave that reports: its nameservers, cache, packets
/// upstream, TCP out and in, failures, and with --report all its warnings and errors.
///
/// An enclave decides itself what it tells: proxify --report none, status (the default) or all. Of one
/// that tells nothing the relay knows its connections alone.
#[derive(Debug, Parser)]
#[command(
    name = "proxify-relay",
    bin_name = "proxify-relay status",
    after_help = "\
Examples:
  proxify-relay status
      the relay and all of its enclaves, for people
  proxify-relay status --cid 16 --json | jq .enclaves[0].status.totals.servfail_total
      for a script: one enclave, by names as in metrics

Exit status: 0; 1 if no enclave is the one that --cid names; 64 on bad usage; 69 if no relay runs here."
)]
pub(super) struct Line {
    #[command(flatten)]
    whom: Whom,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Line {
    /// The whole command.
    pub(super) fn main(self) -> ExitCode {
        let mut state = match ask::<Operators>(&self.whom.control, &Request::Status) {
            Ok(Reply::Status(state)) => *state,
            Ok(_) => return failed("status", &AskError::other(Operators::PROGRAM)),
            Err(error) => return failed("status", &error),
        };
        if let Some(wanted) = &self.whom.cid {
            state.enclaves.retain(|told| told.enclave == *wanted);
            state.more_enclaves = 0;
            if state.enclaves.is_empty() {
                complain("status", &format!("no enclave is {wanted}"));
                return NO.into();
            }
        }
        print(&self.text(&state));
        ExitCode::SUCCESS
    }

    fn text(&self, state: &State) -> String {
        match (self.json, &self.whom.cid) {
            (true, _) => serde_json::to_string_pretty(state).unwrap_or_default() + "\n",
            (false, None) => state.show(Style::of_stdout()),
            (false, Some(_)) => {
                let shown = state
                    .enclaves
                    .iter()
                    .map(|told| told.show(Style::of_stdout(), usize::MAX));
                shown.collect::<Vec<_>>().join("\n")
            }
        }
    }
}
