//! Lookup latency as programs feel it: several ways to look names up, measured side by side.
//!
//! A [`Plan`] says which [`Target`]s are asked which [`Questions`], at which [`Pace`]; [`run`] asks them
//! and gives a [`Report`], which renders as text with a histogram, as JSON, SVG and HTML.
//!
//! | pace | a lookup begins | its latency counts from |
//! |---|---|---|
//! | closed loop | when the one before has ended, as in a program that waits for its answers | that moment |
//! | open loop | at a fixed rate, whatever became of those before | the moment at which it was to begin |
//!
//! The second is what "corrected for coordinated omission" means: a server that stalls for a second
//! makes all lookups of that second late, not the one that happened to wait. Failures are counted by
//! kind and are in no percentile: a refusal that comes fast must not make a server look fast.
//!
//! In a closed loop targets take turns of some milliseconds, in an open loop they are asked at the same
//! time with their schedules staggered, so that what else the machine does hits all alike.
//!
//! Whatever may reach AmazonDNS, whose quota of 1024 packets a second the whole enclave shares, is kept
//! under a [`Plan::upstream_pps`] of its own.

#![forbid(unsafe_code)]

mod ask;
mod failures;
mod latencies;
mod plan;
mod questions;
mod quota;
mod recorder;
mod report;
mod rtype;
mod run;
mod schedule;
#[cfg(test)]
mod tests;
mod worker;

pub use ask::OpenError;
pub use failures::{Failure, Failures};
pub use latencies::Latencies;
pub use plan::{MAX_CONCURRENCY, MAX_DURATION, MAX_RATE, MAX_TARGETS, Pace, Plan, Target};
pub use questions::{MAX_FILE, MAX_NAMES, Questions, QuestionsError};
pub use recorder::Point;
pub use report::{Measured, Missing, Report, Terminal};
pub use rtype::{ParseRtypeError, Rtype};
pub use run::{Progress, RunError, run};
