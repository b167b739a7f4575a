//! The run directory: a tmpfs of the sandbox's own, the same in all of its mount namespaces.
//!
//! It carries what tests and people look at and switch while the sandbox runs (see the crate's documentation), the
//! link's socket, and the program under the names it goes by.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;

use crate::mounts::{MountError, mount};

/// Where it is mounted.
pub(crate) const PATH: &str = "/run/sandbox";

/// Prefix of the link's socket; the relay adds `_8888`.
pub(crate) const LINK: &str = "/run/sandbox/link";

/// One line for each DNS packet that AmazonDNS received.
pub(crate) const QUERIES: &str = "/run/sandbox/queries";

/// A file here named after a service takes its endpoint away; after an address of AmazonDNS, its answers there.
pub(crate) const WITHOUT: &str = "/run/sandbox/without";

/// A file here named after a fault gives it to IMDS.
pub(crate) const IMDS: &str = "/run/sandbox/imds";

/// Process id of the relay; the file exists while it runs.
pub(crate) const RELAY_PID: &str = "/run/sandbox/relay.pid";

/// Process id of the process that holds the VPC's network namespace.
pub(crate) const VPC_PID: &str = "/run/sandbox/vpc.pid";

/// Where `sandbox ctl relay` asks for the relay to be started and stopped.
pub(crate) const CONTROL: &str = "/run/sandbox/control";

/// Programs: `sandbox`, and `proxify` and `proxify-relay`, which are the same file.
pub(crate) const BIN: &str = "/run/sandbox/bin";

/// The sandbox's program.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(BIN).join(name)
}

/// Makes the directory and its files in the tmpfs just mounted on /run.
pub(crate) fn populate(without: &[&str]) -> Result<(), RunDirError> {
    let create = |path: &Path| fs::create_dir(path).map_err(|error| RunDirError::new(path, error));
    let write = |path: &Path| fs::write(path, "").map_err(|error| RunDirError::new(path, error));
    for directory in [PATH, WITHOUT, IMDS, BIN] {
        create(Path::new(directory))?;
    }
    write(Path::new(QUERIES))?;
    for service in without {
        write(&Path::new(WITHOUT).join(service))?;
    }
    // A bind mount, since the program's own path may be hidden (under /run), replaced or deleted meanwhile.
    let program_file = program("sandbox");
    write(&program_file)?;
    mount(
        Some(Path::new("/proc/self/exe")),
        &program_file,
        None,
        MsFlags::MS_BIND,
        None,
    )?;
    for name in ["proxify", "proxify-relay"] {
        let link = program(name);
        symlink("sandbox", &link).map_err(|error| RunDirError::new(&link, error))?;
    }
    Ok(())
}

/// What could not be made in the run directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunDirError {
    #[error("cannot make {}: {error}", path.display())]
    Create { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl RunDirError {
    fn new(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Create { path, error }
    }
}
