//! What the answers promise, where a scenario of `tests/scenarios` cannot say it well: many at once,
//! counters, bounds, what comes late or twice. Time is virtual, nameservers are the test itself.

mod cache;
mod coalescing;
mod durations;
mod explain;
mod failover;
mod failures;
mod link;
mod nameservers;
mod overload;
mod pins;
mod prefetch;
mod query_log;
mod quota;
mod replies;
mod routes;
mod stale;

use super::lab;
