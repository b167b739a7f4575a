//! The parent instance: the sandbox's first process (PID 1 of its PID namespace), whose mounts and network are the
//! parent's.
//!
//! It starts the VPC, the relay and the enclave, reaps every process that loses its parent, and ends with the
//! enclave's exit status; the kernel then kills whatever is left in the namespace (pid_namespaces(7)).

pub(crate) mod relay;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use self::relay::{Relay, RelayError};
use crate::cli::Options;
use crate::handover::{self, Readiness, Starting};
use crate::host::{exit_code, pid};
use crate::mounts::{self, MountError, ResolvConf};
use crate::run_dir::{self, RunDirError};
use crate::signals::{Event, Mask, Signals};
use crate::{UNAVAILABLE, complain, options, roles};

/// The role's whole program.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    match options(arguments) {
        Ok(options) => match run(&options) {
            Ok(code) => ExitCode::from(code),
            Err(error) => complain(&error, UNAVAILABLE),
        },
        Err(code) => code,
    }
}

fn run(options: &Options) -> Result<u8, InitError> {
    let mut lifeline = UnixStream::from(handover::take().map_err(InitError::Handover)?);
    set_pdeathsig(Signal::SIGKILL).map_err(InitError::Signals)?;
    // The end of file says that it was killed before the line above.
    lifeline.read_exact(&mut [0]).map_err(InitError::Handover)?;
    let signals = Signals::block().map_err(InitError::Signals)?;

    mounts::proc()?;
    mounts::run(false)?;
    let without: Vec<&str> = options
        .without_endpoint
        .iter()
        .map(String::as_str)
        .collect();
    run_dir::populate(&without)?;
    let (vpc, vpc_starting) = start_vpc(signals.before())?;
    mounts::protect_etc()?;
    mounts::etc(&ResolvConf::File(&resolv_conf(options)))?;

    let mut relay = Relay::new(signals.before())?;
    if !options.no_relay {
        relay.start()?;
    }
    vpc_starting
        .wait()
        .map_err(|error| InitError::Ready { error })?;

    let mut enclave = roles::again(run_dir::program("sandbox"), roles::ENCLAVE);
    signals.before().apply(&mut enclave);
    let enclave = enclave
        .env_remove(handover::VARIABLE)
        .spawn()
        .map_err(|error| InitError::start("the enclave", error))?;
    supervise(&signals, &lifeline, pid(enclave.id()), vpc, &mut relay)
}

/// Serves signals and `sandbox ctl relay` until the enclave's program ends.
fn supervise(
    signals: &Signals,
    lifeline: &UnixStream,
    enclave: Pid,
    vpc: Pid,
    relay: &mut Relay,
) -> Result<u8, InitError> {
    loop {
        let mut ready = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(relay.control(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.map_err(InitError::Signals)?,
        };
        let [signal, control] = ready.map(|fd| fd.any().unwrap_or(false));
        // First, so that a relay that is dead can be started again.
        if signal {
            match signals.next().map_err(InitError::Signals)? {
                Event::PassOn(signal) => drop(kill(enclave, signal)),
                Event::Child => {
                    if let Some(code) = reap(lifeline, enclave, vpc, relay)? {
                        return Ok(code);
                    }
                }
                Event::Continued | Event::Nothing => {}
            }
        }
        if control {
            relay.serve();
        }
    }
}

/// Waits for every child that ended; the enclave's exit status if it did.
fn reap(
    lifeline: &UnixStream,
    enclave: Pid,
    vpc: Pid,
    relay: &mut Relay,
) -> Result<Option<u8>, InitError> {
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            other => other.map_err(InitError::Signals)?,
        };
        if let WaitStatus::Stopped(stopped, _) = status
            && stopped == enclave
        {
            // Who cannot be told is about to end us.
            let _ = (&mut &*lifeline).write_all(b"\n");
        }
        let (Some(ended), Some(code)) = (status.pid(), exit_code(status)) else {
            continue;
        };
        if ended == enclave {
            return Ok(Some(code));
        }
        if ended == vpc {
            tracing::error!(
                code,
                "the VPC's process ended; its network and resolver are gone"
            );
        }
        relay.ended(ended, code);
    }
}

fn start_vpc(mask: Mask) -> Result<(Pid, Starting), InitError> {
    let failed = |error| InitError::start("the VPC", error);
    let mut command = roles::again(run_dir::program("sandbox"), roles::VPC);
    // A group of its own: the terminal's ^C is for CMD.
    command.process_group(0);
    mask.apply(&mut command);
    let (child, starting) = Readiness::new()
        .and_then(|pipe| pipe.spawn(&mut command))
        .map_err(failed)?;
    fs::write(run_dir::VPC_PID, format!("{}\n", child.id())).map_err(failed)?;
    Ok((pid(child.id()), starting))
}

/// As DHCP gives it to an instance in us-east-1.
fn resolv_conf(options: &Options) -> String {
    format!(
        "nameserver {}\nsearch ec2.internal\n",
        options.vpc_cidr.amazon_dns()
    )
}

/// Why the sandbox could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("cannot take over from the starting process: {0}")]
    Handover(io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(Errno),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error("cannot start {what}: {error}")]
    Start {
        what: &'static str,
        error: io::Error,
    },
    #[error("the VPC did not become ready: {error}")]
    Ready { error: io::Error },
}

impl InitError {
    fn start(what: &'static str, error: io::Error) -> Self {
        Self::Start { what, error }
    }
}
