//! How many descriptors this process may have open (RLIMIT_NOFILE, getrlimit(2)).
//!
//! Each connection that is carried takes several, and the usual limit is 1024. APP gets the limit that
//! proxify was started with: a program that uses select(2) is not to meet higher numbers.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tracing::info;

/// Room for 16,384 connections with two sockets and a pair of pipes each, and all else.
const WANTED: rlim_t = 128 * 1024;

/// A limit, as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    soft: rlim_t,
    hard: rlim_t,
}

/// Raises this process's limit as far as the system allows, and gives what it was; `None` if it stays.
pub(crate) fn raise() -> Option<Descriptors> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft >= WANTED {
        return None;
    }
    // Root may raise the hard limit too, up to the system's (fs.nr_open).
    let raised = [(WANTED, hard.max(WANTED)), (hard.min(WANTED), hard)]
        .into_iter()
        .find(|(soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, *soft, *hard).is_ok());
    if let Some((now, _)) = raised
        && now < WANTED
    {
        info!(
            limit = now,
            wanted = WANTED,
            "fewer descriptors may be open than wanted, and so about half as many connections"
        );
    }
    Some(Descriptors { soft, hard })
}

impl Descriptors {
    /// Sets the limit as it was.
    pub(crate) fn restore(self) -> Result<(), Errno> {
        setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard)
    }
}
