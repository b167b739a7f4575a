//! `sandbox ctl`: from inside the sandbox, reach its other parts.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::ValueEnum as _;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use crate::cli::{Ctl, RelayAction};
use crate::{UNAVAILABLE, complain, enclave, init, run_dir};

/// Does what the command line says.
pub(crate) fn run(ctl: Ctl) -> ExitCode {
    let done = match ctl {
        // The sandbox's first process is the parent instance.
        Ctl::Parent(program) => enter("1").map(|()| start(program.command)),
        Ctl::Vpc(program) => vpc_pid()
            .and_then(|pid| enter(&pid))
            .map(|()| start(program.command)),
        Ctl::Relay { action } => relay(action),
    };
    done.unwrap_or_else(|error| complain(&error, UNAVAILABLE))
}

/// Moves this process into the network and mounts of process `pid`.
fn enter(pid: &str) -> Result<(), CtlError> {
    if !Path::new(run_dir::CONTROL).exists() {
        return Err(CtlError::NoSandbox);
    }
    let directory = env::current_dir();
    let open = |kind| {
        let path = format!("/proc/{pid}/ns/{kind}");
        File::open(&path).map_err(|error| CtlError::Open { path, error })
    };
    let (network, mounts) = (open("net")?, open("mnt")?);
    setns(network, CloneFlags::CLONE_NEWNET).map_err(CtlError::Enter)?;
    setns(mounts, CloneFlags::CLONE_NEWNS).map_err(CtlError::Enter)?;
    // setns(2) leaves us at the root; a directory that is not there in these mounts leaves us there.
    let _ = directory.and_then(env::set_current_dir);
    Ok(())
}

fn start(mut words: Vec<OsString>) -> ExitCode {
    let mut command = Command::new(words.remove(0));
    command.args(words);
    enclave::become_program(command)
}

fn vpc_pid() -> Result<String, CtlError> {
    let pid = fs::read_to_string(run_dir::VPC_PID).map_err(|_| CtlError::NoSandbox)?;
    Ok(pid.trim().to_owned())
}

fn relay(action: RelayAction) -> Result<ExitCode, CtlError> {
    let wish = action
        .to_possible_value()
        .map(|value| value.get_name().to_owned());
    match init::relay::wish(&wish.unwrap_or_default()) {
        Ok(answer) if answer == "ok" => Ok(ExitCode::SUCCESS),
        Ok(answer) => Err(CtlError::Answer(answer)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CtlError::NoSandbox),
        Err(error) => Err(CtlError::Control(error)),
    }
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CtlError {
    #[error(
        "no sandbox here: `sandbox ctl` works inside one, as in `sandbox sh -c 'sandbox ctl relay stop'`"
    )]
    NoSandbox,
    #[error("cannot open {path}: {error}")]
    Open { path: String, error: io::Error },
    #[error("cannot enter the namespaces: {}", _0.desc())]
    Enter(Errno),
    #[error("{}: {_0}", run_dir::CONTROL)]
    Control(io::Error),
    #[error("{0}")]
    Answer(String),
}
