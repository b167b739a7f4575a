//! The programs that this one binary is, told apart by the name it is started under, and the two that are not ours.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::{enclave, init, vpc};

/// Sets up the parent instance and starts the rest; the first process of the sandbox's PID namespace.
pub(crate) const INIT: &str = "sandbox-init";
/// Holds the VPC's network and serves its zone.
pub(crate) const VPC: &str = "sandbox-vpc";
/// Sets up the enclave and becomes proxify.
pub(crate) const ENCLAVE: &str = "sandbox-enclave";

/// Runs the role that `arguments` name, or returns them: they are for `sandbox` itself.
pub(crate) fn dispatch(arguments: Vec<OsString>) -> Result<ExitCode, Vec<OsString>> {
    let name = arguments
        .first()
        .map(|name| Path::new(name).file_name().unwrap_or_default().to_owned());
    match name.as_deref().and_then(|name| name.to_str()) {
        Some("proxify") => Ok(proxify::main(arguments)),
        Some("proxify-relay") => Ok(relay::main(arguments)),
        Some(INIT) => Ok(init::main(arguments)),
        Some(VPC) => Ok(vpc::main(arguments)),
        Some(ENCLAVE) => Ok(enclave::main(arguments)),
        _ => Err(arguments),
    }
}

/// `program`, which is this one, in another role, with this process's arguments.
pub(crate) fn again(program: impl AsRef<OsStr>, role: &str) -> Command {
    let mut command = Command::new(program);
    command.arg0(role).args(env::args_os().skip(1));
    command
}
