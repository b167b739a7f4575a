//! What proxify and its relay have done, for Prometheus: its text format (version 0.0.4), and the HTTP
//! endpoint where it is scraped.
//!
//! Nothing is counted here. [`enclave`] and [`relay`] take snapshots and write a page of them by tables
//! of all metrics, a line each with its name, its help and where its value stands. Those of an enclave
//! read the same on the relay, with the label `cid` beside them.

#![forbid(unsafe_code)]

mod enclave;
mod endpoint;
mod family;
mod process;
mod relay;

pub use endpoint::Endpoint;
pub use family::{Kind, Metric};
pub use relay::{Enclave, Labelled, Relay, Reported};

use family::Labels;
use process::Process;
use report::Status;

/// The page of a proxify.
#[must_use]
pub fn enclave(status: &Status) -> String {
    let mut families = family::families(enclave::FAMILIES, &[(Labels::new(), status)]);
    families.extend(of_this_process());
    family::text(&families)
}

/// The page of a relay: itself, what it has done for each enclave, and what each tells of itself.
#[must_use]
pub fn relay(relay: &Relay, enclaves: &[Enclave], reported: &[Reported]) -> String {
    let mut families = family::families(relay::OF_ITSELF, &[(Labels::new(), relay)]);
    let served: Vec<_> = relay::first_of_each(enclaves, |enclave| &enclave.cid);
    families.extend(family::families(relay::OF_ENCLAVES, &served));
    let told: Vec<_> = relay::first_of_each(reported, |reported| &reported.cid);
    families.extend(family::families(relay::OF_REPORTS, &told));
    let told: Vec<_> = told
        .into_iter()
        .map(|(labels, reported)| (labels, &reported.status))
        .collect();
    families.extend(family::families(enclave::FAMILIES, &told));
    families.extend(of_this_process());
    family::text(&families)
}

/// All metrics of an enclave's page that are proxify's own.
pub fn of_enclave() -> impl Iterator<Item = Metric> {
    enclave::FAMILIES.iter().map(family::Family::metric)
}

/// All metrics that the relay's page adds to those of enclaves.
pub fn of_relay() -> impl Iterator<Item = Metric> {
    let itself = relay::OF_ITSELF.iter().map(family::Family::metric);
    let enclaves = relay::OF_ENCLAVES.iter().map(family::Family::metric);
    let reports = relay::OF_REPORTS.iter().map(family::Family::metric);
    itself.chain(enclaves).chain(reports)
}

/// The metrics that every program under Prometheus has.
pub fn of_process() -> impl Iterator<Item = Metric> {
    process::FAMILIES.iter().map(family::Family::metric)
}

fn of_this_process() -> Vec<prometheus::proto::MetricFamily> {
    let process = Process::this();
    let known: Vec<_> = process.iter().map(|known| (Labels::new(), known)).collect();
    family::families(process::FAMILIES, &known)
}

#[cfg(test)]
mod tests;
