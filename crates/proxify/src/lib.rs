//! Names resolve inside an enclave, without a line of the application changed.
//!
//! An enclave has no network but a vsock to its parent instance. `proxify -- APP` answers DNS on
//! loopback, from a cache and through its relay on the parent, names that stub in resolv.conf, and
//! runs APP as a child. Connections go out through the parent too, and its ports lead to APP's
//! listeners. `proxify dns` does the same for programs that an init script starts itself.
//!
//! The order of a start is what this file is for: the command line, whether this is an enclave,
//! signals blocked, `lo`, the lock that says who owns the stub, the stub, its nameservers,
//! resolv.conf, and when names are answered, APP; then the privileges of the start are given up. At the
//! end, with APP's status known, the stub
//! stops, resolv.conf is put back, and proxify exits with that status.

mod app;
mod cli;
mod commands;
mod descriptors;
mod enclave;
mod guard;
mod listener_of;
mod lo;
#[cfg(test)]
#[path = "../../egress/src/namespaces.rs"]
mod namespaces;
mod owner;
mod ready;
mod reporter;
mod resolv_conf;
mod service;
mod signals;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;

use egress::Mode;
use privileges::Capability;
use publish::Ports;
use tracing::{info, warn};

use crate::app::{App, StartError};
use crate::cli::{Config, Job, Report};
pub use crate::commands::command_line;
use crate::enclave::NotAnEnclave;
use crate::lo::LoError;
use crate::ready::{Ready, ReadyError};
use crate::reporter::lines;
use crate::service::{Names, Service, ServiceError};
use crate::signals::{Inherited, Signals};

/// What stands before why it ends.
const NAME: &str = "proxify";

/// What the main thread needs once it serves and APP has started: to signal an APP that has changed its
/// user, and to keep a resolv.conf that is anybody's and closed to all, and put it back.
const NEEDED: [Capability; 3] = [
    Capability::CAP_KILL,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
];

/// The whole program, given its command line with its own name first. Reads the environment,
/// and changes the signals of the thread that calls it, which must be the main thread.
///
/// The exit code is APP's: its status, or 128 + N if signal N ended it. Otherwise 64 on bad usage
/// and outside an enclave, 69 when names cannot be served, 71 when the system refuses something
/// that it never should, 126 and 127 when APP cannot run or is not found, and 0 for a `proxify
/// dns` that was told to end.
pub fn main<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let line: Vec<OsString> = args.into_iter().map(Into::into).collect();
    if let Some(code) = commands::run(&line) {
        return code;
    }
    let config = match Config::parse(line, |name| std::env::var_os(name)) {
        Ok(config) => config,
        Err(usage) => {
            let _ = usage.print();
            return if usage.use_stderr() {
                Failure::USAGE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(config) {
        Ok(code) => {
            logging::end(NAME, None);
            code
        }
        Err(failure) => {
            logging::end(NAME, Some(&failure.to_string()));
            failure.code().into()
        }
    }
}

fn run(mut config: Config) -> Result<ExitCode, Failure> {
    let ready = match config.job {
        Job::App { .. } => Ready::default(),
        Job::Dns { ready_fd } => Ready::new(ready_fd, std::env::var_os("NOTIFY_SOCKET"))?,
    };
    let inherited = signals::block().map_err(|errno| Failure::System {
        source: errno.into(),
    })?;
    let told = (config.report == Report::All).then(lines::layer);
    logging::start(&config.log, config.log_format, told)?;
    let is_enclave = enclave::check(config.force)?;
    if lo::bring_up()? {
        info!("lo was down, and is up now");
    }
    if is_enclave {
        match lo::give_addresses() {
            Ok(true) => info!("lo has addresses of its own now, which AI_ADDRCONFIG counts"),
            Ok(false) => {}
            Err(error) => {
                warn!(%error, "lo stays without addresses of its own: programs may look up IPv4 or IPv6 in vain")
            }
        }
    } else if config.egress.take().is_some_and(|mode| mode != Mode::Off) {
        info!("outside an enclave TCP goes its own way: routes and packet rules stay as they are");
    }
    if config.publish == Ports::Auto && !is_enclave {
        config.publish = Ports::None;
    }
    // One thread: it is the main one that must start APP, and a stub's work fits into one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config, Path::new(owner::LOCK), inherited, ready))
}

async fn serve(
    config: Config,
    lock: &Path,
    inherited: Inherited,
    ready: Ready,
) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    let mut service = Service::start(&config, lock)?;
    let result = work(config.job, &mut service, &mut signals, inherited, ready).await;
    service.end().await;
    result
}

/// What is done while the service runs: APP's life, or the wait for a signal.
async fn work(
    job: Job,
    service: &mut Service,
    signals: &mut Signals,
    inherited: Inherited,
    ready: Ready,
) -> Result<ExitCode, Failure> {
    let names = tokio::select! {
        names = service.names() => names?,
        signal = signals.ending() => return Ok(ended_by(signal?, &job)),
    };
    if names == Names::NotYet {
        warn!("no nameserver answers yet: going on without, until the relay on the parent is up");
    }
    match &job {
        Job::App { program, args } => {
            let mut end = pin!(App::start(program, args, inherited)?.wait(signals));
            let end = tokio::select! {
                end = &mut end => end,
                // A service that fails has said so, and APP goes on.
                Ok(()) = service.serves() => {
                    give_up_privileges();
                    end.await
                }
            };
            Ok(end?.code().into())
        }
        Job::Dns { .. } => {
            ready.tell();
            let fails = async {
                if let Err(failure) = service.serves().await {
                    return failure;
                }
                give_up_privileges();
                service.failed().await
            };
            tokio::select! {
                failure = fails => Err(failure.into()),
                signal = signals.ending() => Ok(ended_by(signal?, &job)),
            }
        }
    }
}

/// APP, started before, keeps what proxify was given. Until then, and while another proxify serves, all
/// that a start takes is needed still.
fn give_up_privileges() {
    if let Err(error) = privileges::keep(&NEEDED) {
        warn!(%error, "names are served with more privileges than that takes");
    }
}

/// A `proxify dns` is ended by TERM or INT; for one that waits to run APP it is as if APP had been.
fn ended_by(signal: nix::sys::signal::Signal, job: &Job) -> ExitCode {
    match job {
        Job::Dns { .. } => ExitCode::SUCCESS,
        Job::App { .. } => app::End::Killed(signal as i32).code().into(),
    }
}

/// Why proxify ends without APP's status: the one place where an error becomes an exit code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NotAnEnclave(#[from] NotAnEnclave),
    #[error(transparent)]
    Ready(#[from] ReadyError),
    #[error(transparent)]
    Lo(#[from] LoError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    App(#[from] StartError),
    #[error("the system refused what it should not: {source}")]
    System {
        #[from]
        source: io::Error,
    },
}

impl Failure {
    /// EX_USAGE of sysexits.h.
    const USAGE: u8 = 64;
    /// EX_UNAVAILABLE.
    const UNAVAILABLE: u8 = 69;
    /// EX_OSERR.
    const SYSTEM: u8 = 71;

    fn code(&self) -> u8 {
        match self {
            Self::NotAnEnclave(_) | Self::Ready(_) => Self::USAGE,
            Self::Lo(_) | Self::Service(_) => Self::UNAVAILABLE,
            Self::App(failure) => failure.code(),
            Self::System { .. } => Self::SYSTEM,
        }
    }
}
