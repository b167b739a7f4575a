//! Benchmarks; every figure worth quoting is a ratio of two taken in one run.
//!
//! - `cargo bench -p benches`: the hit path of a lookup.
//! - `cargo run --release -p benches --bin tcp`: TCP out of an enclave, beside other ways; see the
//!   head of `tcp/main.rs` for what it needs and how to read it.
