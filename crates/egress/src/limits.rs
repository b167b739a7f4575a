//! Limits of the kernel's that many connections meet: they are raised where they can be, and said where
//! not.

use std::fs;

use tracing::{info, warn};

use crate::forward::{BACKLOG, CONNECTIONS};

/// The kernel's memory of connections, without which no packet can be translated: a new connection
/// is dropped when it is full.
const CONNTRACK: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// Each carried connection has one entry or two, and one that has ended is remembered for two minutes
/// (nf_conntrack_tcp_timeout_time_wait).
const ENTRIES: usize = 4 * CONNECTIONS;

/// The most that a listener's backlog may be (listen(2)): 128 before Linux 5.4.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// Before the forwarder listens.
pub(crate) fn allow_backlog() {
    let wanted = usize::try_from(BACKLOG).unwrap_or(usize::MAX);
    if let Err((now, error)) = raise(SOMAXCONN, wanted) {
        info!(
            path = SOMAXCONN, now, %error,
            "a limit stays as it is; more connections at once are made after 1 s"
        );
    }
}

/// Once packet rules are there, and with them connection tracking.
pub(crate) fn make_room() {
    if let Err((now, error)) = raise(CONNTRACK, ENTRIES) {
        let fit = now / 2;
        warn!(path = CONNTRACK, now, wanted = ENTRIES, %error, "a limit stays: about {fit} connections fit");
    }
}

/// Where a limit cannot be seen, as in a namespace that has none of its own, it is not touched.
fn raise(path: &str, wanted: usize) -> Result<(), (usize, std::io::Error)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let Ok(now) = text.trim().parse::<usize>() else {
        return Ok(());
    };
    if now >= wanted {
        return Ok(());
    }
    fs::write(path, wanted.to_string()).map_err(|error| (now, error))?;
    info!(path, before = now, now = wanted, "a limit was raised");
    Ok(())
}
