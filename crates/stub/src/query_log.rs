//! The log of queries: a line for each, on a target of its own.

use resolver::{Logged, Transport};
use tracing::field::display;
use tracing::info;

/// The target of the lines, at `info`.
pub const QUERY_LOG: &str = "query";

/// Writes them.
pub(crate) fn write(logged: &[Logged]) {
    for query in logged {
        // Escaped, whatever bytes it has.
        let name = query.question.as_ref().map(|(name, _)| display(name));
        let transport = match query.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        // Microseconds are as fine as it gets.
        let waited = query.waited.map(|waited| waited.as_micros() as f64 / 1e3);
        info!(
            target: QUERY_LOG,
            name,
            "type" = query.qtype().map(display),
            transport = %transport,
            outcome = %query.outcome,
            rcode = %query.rcode(),
            ede = query.ede,
            nameserver = query.nameserver.map(display),
            duration_ms = waited,
            left_out = Some(query.left_out).filter(|left_out| *left_out > 0),
            "answered"
        );
    }
}
