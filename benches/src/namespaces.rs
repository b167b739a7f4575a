//! A machine of its own for a run: network, mount and process namespaces in which every port is free,
//! and in which all processes end with the first.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};

use crate::failure::Failure;

/// Set inside.
const INSIDE: &str = "BENCHES_INSIDE";

/// Starts this program again, inside, and does not come back; comes back when inside.
pub(crate) fn enter() -> Result<(), Failure> {
    if std::env::var_os(INSIDE).is_some() {
        return set_up();
    }
    let this = std::env::current_exe();
    let this = this.map_err(|source| Failure::io("path of this program", source))?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child"]);
    unshare.arg("--mount-proc");
    if !nix::unistd::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    unshare.arg("--").arg(this).args(arguments).env(INSIDE, "1");
    Err(Failure::io("cannot run unshare(1)", unshare.exec()))
}

fn set_up() -> Result<(), Failure> {
    let none: Option<&Path> = None;
    // Locks, sockets of nscd and of systemd-resolved: those of the host stay outside.
    mount(none, "/run", Some("tmpfs"), MsFlags::empty(), none)
        .map_err(|errno| Failure::io("cannot mount a tmpfs on /run", errno))?;
    let lo = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    match lo {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::io(
            "cannot bring lo up",
            io::Error::other("`ip link` says no"),
        )),
        Err(source) => Err(Failure::io("cannot run ip(8), of iproute2", source)),
    }
}

/// Puts `file` in the place of `target`, in this mount namespace.
pub(crate) fn put_over(file: &Path, target: &str) -> Result<(), Failure> {
    let none: Option<&Path> = None;
    mount(Some(file), target, none, MsFlags::MS_BIND, none)
        .map_err(|errno| Failure::io(format!("cannot mount over {target}"), errno))
}
