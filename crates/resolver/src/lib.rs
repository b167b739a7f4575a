//! The deterministic core of a caching stub resolver: cache, coalescing, validation, choice of the
//! nameserver, retries, policy and counters.
//!
//! A [`Shard`] takes the time and bytes and gives back what is to be done. It has no socket, clock,
//! task, lock or randomness of its own, so that every promise about answers can be tested without a
//! network and without waiting:
//!
//! ```text
//! query(now, client, packet)    a client asks       -> a reply, or an Ask for a nameserver, or wait
//! answer(now, ticket, result)   a nameserver spoke  -> replies, further Asks
//! tick(now), next_tick()        time passed         -> stale answers, retries, failures, what waited for the quota
//! ```
//!
//! One query's way: `policy` answers what is not for upstream; `cache` holds what was `validate`d, by
//! the operator's `pins` too; `pending` gathers all who wait for one answer; `routes` and `servers` say whom to ask, `quota` when;
//! `reply` writes what goes out; `failure` says how a failure looks to the client.

#![forbid(unsafe_code)]

mod cache;
mod counters;
mod failure;
mod failures;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz {
    //! What libFuzzer and the tests share.
    pub use crate::shard::fuzz::answer;
    pub use crate::shard::random::run as shard;
}
mod key;
mod link;
mod packed;
mod pending;
mod pins;
mod policy;
mod query_log;
mod quota;
// The fuzzer needs less of it than the tests.
#[cfg(any(test, feature = "fuzz"))]
#[cfg_attr(not(test), allow(dead_code))]
mod records;
mod reply;
mod routes;
mod servers;
mod shard;
mod validate;

pub use counters::{Counters, Durations};
pub use failure::{Failed, Fault};
pub use failures::LastFailure;
pub use pending::Ticket;
pub use pins::{Held, Lead, MAX_NETWORKS, MAX_PINS, Pin, Pins, PinsError, Refusal};
pub use query_log::{Logged, Outcome};
pub use reply::{MAX_REPLY, MAX_UDP_REPLY, Transport};
pub use routes::{MAX_ROUTES, Route, Routes, RoutesError};
pub use servers::{Health, MAX_NAMESERVERS, Nameserver};
pub use shard::{Action, Ask, Cached, Config, Explained, Left, Load, Local, Shard, Step, UnderWay};

/// Milliseconds since the shard was made.
type Millis = u64;

const SECOND: Millis = 1000;
