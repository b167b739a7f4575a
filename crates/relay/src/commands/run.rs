//! `proxify-relay check` and `bench`: an enclave runs the command of that name, and what it prints is
//! printed here.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use operator::{AskError, Conversation, listen};
use report::{Command, Name, Names, Region, Seconds, Stream, printable};

use super::{NO, Whom, complain, failed};
use crate::cli::{UNAVAILABLE, USAGE};
use crate::operators::{Operators, Reply, Request};

/// Has an enclave check whether AWS names stay private there, as proxify check does.
///
/// The enclave must allow it: proxify --report all in its image.
#[derive(Debug, Parser)]
#[command(
    name = "proxify-relay",
    bin_name = "proxify-relay check",
    after_help = "\
Examples:
  proxify-relay check
      in the only enclave: the services that most programs on AWS use
  proxify-relay check --cid 16 --require-private ec2.eu-west-1.amazonaws.com
      for a script: fails unless the name leads into the VPC

Exit status: that of proxify check in the enclave (0; 1 if the answer is no; 64; 69); 1 if no enclave is
the one that --cid names, or none reports; 64 on bad usage, and if there are several and no --cid; 69 if
no relay runs here, or the enclave does not run it."
)]
pub(super) struct Check {
    #[command(flatten)]
    whom: Whom,
    /// The names; without any, the regional endpoints of the usual services.
    #[arg(value_name = "NAME")]
    names: Vec<Name>,
    /// The region of the usual services, instead of IMDS's.
    #[arg(long, value_name = "REGION")]
    region: Option<Region>,
    /// Open a TCP connection to port 443 of each address, too.
    #[arg(long)]
    connect: bool,
    /// Fail if a name is not private; a gateway service may be public.
    #[arg(long)]
    require_private: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Has an enclave measure how long lookups take there, as proxify bench does.
///
/// The enclave must allow it: proxify --report all in its image.
#[derive(Debug, Parser)]
#[command(
    name = "proxify-relay",
    bin_name = "proxify-relay bench",
    after_help = "\
Examples:
  proxify-relay bench
      in the only enclave: the stub over UDP, and getaddrinfo
  proxify-relay bench --cid 16 --duration 10s --json ec2.eu-west-1.amazonaws.com
      for a script: one name in one enclave

Exit status: that of proxify bench in the enclave (0; 1 if no lookup was answered; 64; 69); 1 if no
enclave is the one that --cid names, or none reports; 64 on bad usage, and if there are several and no
--cid; 69 if no relay runs here, or the enclave does not run it."
)]
pub(super) struct Bench {
    #[command(flatten)]
    whom: Whom,
    /// The names; without any, those of the services that a KV server uses.
    #[arg(value_name = "NAME")]
    names: Vec<Name>,
    /// The region of the usual services, instead of IMDS's.
    #[arg(long, value_name = "REGION")]
    region: Option<Region>,
    /// How long, from 1s to 30s. Default: 5s.
    #[arg(long, value_name = "TIME")]
    duration: Option<Seconds>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    /// The whole command.
    pub(super) fn main(self) -> ExitCode {
        run("check", &self.whom, self.names, |names| {
            Command::Check(report::Check {
                names,
                region: self.region,
                connect: self.connect,
                require_private: self.require_private,
                json: self.json,
            })
        })
    }
}

impl Bench {
    /// The whole command.
    pub(super) fn main(self) -> ExitCode {
        run("bench", &self.whom, self.names, |names| {
            Command::Bench(report::Bench {
                names,
                region: self.region,
                seconds: self.duration,
                json: self.json,
            })
        })
    }
}

fn run(
    word: &str,
    whom: &Whom,
    names: Vec<Name>,
    command: impl FnOnce(Names) -> Command,
) -> ExitCode {
    let names = match Names::try_from(names) {
        Ok(names) => names,
        Err(error) => {
            complain(word, &error.to_string());
            return USAGE.into();
        }
    };
    let request = Request::Run {
        enclave: whom.cid.clone(),
        command: command(names),
    };
    let mut last = None;
    let listened = listen::<Operators>(&whom.control, &request, |reply| match reply {
        Reply::Output { stream, text } => write(stream, &text),
        reply => last = Some(reply),
    });
    if let Err(error) = listened {
        return failed(word, &error);
    }
    match last {
        Some(Reply::Ended { code }) => code.into(),
        Some(Reply::NoSuch { reason }) => {
            complain(word, &reason);
            NO.into()
        }
        Some(Reply::Several { enclaves }) => {
            let enclaves = enclaves.join(", ");
            complain(word, &format!("which enclave? Give --cid: {enclaves}"));
            USAGE.into()
        }
        Some(_) => failed(word, &AskError::other(Operators::PROGRAM)),
        None => {
            complain(word, "the relay has ended");
            UNAVAILABLE.into()
        }
    }
}

/// What the enclave's run has printed. A reader that has gone has read enough.
fn write(stream: Stream, text: &str) {
    let text = printable(text);
    let _ = match stream {
        Stream::Out => io::stdout().write_all(text.as_bytes()),
        Stream::Err => io::stderr().write_all(text.as_bytes()),
    };
    let _ = io::stdout().flush();
}
