//! The kernel's own memory of connections, without which no packet can be translated: each carried
//! connection has one entry or two, and a new one is dropped when the table is full.

use std::fs;

use tracing::{info, warn};

const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// Entries that [`crate::forward::CONNECTIONS`] need, with as many again for those that have ended and
/// are remembered for two minutes (nf_conntrack_tcp_timeout_time_wait).
const NEEDED: u64 = 4 * crate::forward::CONNECTIONS as u64;

/// Makes sure that the table is large enough, or says that it is not.
pub(crate) fn make_room() {
    let Some(now) = read() else {
        return info!("{MAX} cannot be read: the number of connections may be limited");
    };
    if now >= NEEDED {
        return;
    }
    match fs::write(MAX, NEEDED.to_string()) {
        Ok(()) => info!("{MAX} was {now}, and is {NEEDED} now"),
        Err(error) => warn!(
            "{MAX} is {now} and cannot be raised to {NEEDED}: {error}; about {} connections fit",
            now / 2
        ),
    }
}

fn read() -> Option<u64> {
    fs::read_to_string(MAX).ok()?.trim().parse().ok()
}
