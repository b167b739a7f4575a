//! The enclave: a network with nothing but `lo` (which is down, as in a Nitro enclave), an /etc and a /run in which
//! nothing resolves names, and then proxify, which this process becomes.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use crate::cli::Options;
use crate::mounts::{self, MountError, ResolvConf};
use crate::{UNAVAILABLE, complain, options, run_dir};

/// Exit status of a program that is there but cannot run (POSIX, "Exit Status for Commands").
const CANNOT_RUN: u8 = 126;
/// Exit status of a program that is not there.
const NOT_FOUND: u8 = 127;

/// The role's whole program. On success it does not return.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    let options = match options(arguments) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match set_up() {
        Ok(()) => become_program(program(&options)),
        Err(error) => complain(&error, UNAVAILABLE),
    }
}

fn set_up() -> Result<(), EnclaveError> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .map_err(EnclaveError::Namespaces)?;
    mounts::make_private()?;
    mounts::run(true)?;
    mounts::etc(&ResolvConf::Dangling)?;
    if let Err(error) = mounts::sys() {
        tracing::info!(%error, "/sys stays the host's");
    }
    Ok(())
}

fn program(options: &Options) -> Command {
    let mut words = options.command.clone();
    if words.is_empty() {
        words.push(env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()));
    }
    let mut command = if options.no_proxify {
        let mut command = Command::new(words.remove(0));
        command.args(words);
        command
    } else {
        let mut command = Command::new(run_dir::program("proxify"));
        command.arg0("proxify").arg("--").args(words);
        command
    };
    command
        .env("SANDBOX", run_dir::program("sandbox"))
        .env("PATH", path())
        .env("PROXIFY_PARENT", format!("unix:{}", run_dir::LINK));
    // The sandbox has one link; what names another is meant for elsewhere.
    for other in ["PROXIFY_PORT", "PROXY_PARENT_CID", "PROXY_PARENT_PORT"] {
        command.env_remove(other);
    }
    command
}

/// PATH with the sandbox's programs at its end, where they hide nothing.
fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    path.push(":");
    path.push(run_dir::BIN);
    path
}

/// Runs `command` in place of this process; returns only when it cannot.
pub(crate) fn become_program(mut command: Command) -> ExitCode {
    let error = command.exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => CANNOT_RUN,
    };
    let program = command.get_program().display();
    eprintln!("sandbox: cannot run {program}: {error}");
    ExitCode::from(code)
}

/// Why there is no enclave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnclaveError {
    #[error("cannot make the enclave's namespaces: {}", _0.desc())]
    Namespaces(Errno),
    #[error(transparent)]
    Mount(#[from] MountError),
}
