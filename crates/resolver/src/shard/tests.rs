//! What the answers promise, one file a promise. Time is virtual, nameservers are the test itself.

mod cache;
mod coalescing;
mod failover;
mod failures;
mod link;
mod nameservers;
mod overload;
mod pins;
mod policy;
mod prefetch;
mod quota;
mod replies;
mod routes;
mod stale;

use super::lab;
