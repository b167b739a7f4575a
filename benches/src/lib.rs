//! Benchmarks: every figure worth quoting is a ratio of two taken in one run.
//!
//! `benches/peers` runs [`main`], which measures the stub beside the other caches and beside the floor,
//! each pinned to one core, in a network namespace of its own. `cargo bench -p benches` measures the
//! path of a cached answer without a system call, in time and in instructions. `cargo run --release
//! -p benches --bin tcp` measures TCP out of an enclave: see the head of `tcp/main.rs`.

#![forbid(unsafe_code)]

pub mod cached;
mod cli;
mod datagrams;
mod failure;
mod floor;
mod lab;
mod namespaces;
mod outcome;
mod process;
mod questions;
mod report;
mod rows;
mod servers;
mod table;
mod tcp;
mod udp;
mod upstream;
mod zone;

pub use cli::main;
