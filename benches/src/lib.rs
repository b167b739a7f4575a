//! Benchmarks. `cargo bench -p benches` runs them; every figure worth quoting is a ratio of two taken
//! in one run.
