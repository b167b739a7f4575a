//! Metrics: each moves when what it counts happens, Prometheus takes them, and the dashboard asks for
//! none that is not there.

mod dashboard;
mod moved;
mod options;
mod page;
mod prometheus;

/// Where both halves serve them: the relay on the loopback of the parent.
const ENDPOINT: &str = "127.0.0.1:9153";

/// A sandbox whose halves both serve metrics.
fn measured() -> tests::Sandbox {
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
    tests::sandbox!()
        .env("CLIENTS", clients)
        .env("PROXIFY_METRICS", ENDPOINT)
        .env("PROXIFY_RELAY_METRICS", ENDPOINT)
}
