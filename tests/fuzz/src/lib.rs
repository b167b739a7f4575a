//! Coverage-guided fuzzing of whatever reads bytes that an adversary may have written.
//!
//! The bodies live in the crates, behind their feature `fuzz`: each takes bytes and panics where a
//! promise does not hold. A target is one line that gives one to libFuzzer. Without `--cfg fuzzing`,
//! which `tests/fuzz/run` and cargo-fuzz set, the same targets replay the files that they are given.

use std::fs;
use std::path::Path;

/// What takes a fuzzer's bytes.
pub type Body = fn(&[u8]);

/// Each target: the name of its program and of its corpus, and its body.
pub const TARGETS: [(&str, Body); 11] = [
    ("egress_packet", egress::fuzz::packet),
    ("frames", link::fuzz::frames),
    ("getter_grpc", vpc::fuzz::getter),
    ("imds_http", vpc::fuzz::imds),
    ("proc_net", publish::fuzz::proc_net),
    ("resolv_conf", resolv::fuzz::resolv_conf),
    ("resolver_answer", resolver::fuzz::answer),
    ("resolver_shard", resolver::fuzz::shard),
    ("socks_client", link::fuzz::socks_client),
    ("socks_server", link::fuzz::socks_server),
    ("wire_message", wire::fuzz::message),
];

/// The program of a target.
#[macro_export]
macro_rules! target {
    ($body:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $body(data));

        #[cfg(not(fuzzing))]
        fn main() {
            let files = std::env::args_os().skip(1);
            files.for_each(|file| $crate::replay($body, file.as_ref()));
        }
    };
}

/// Gives a file's bytes to a body.
///
/// # Panics
///
/// The file cannot be read, or a promise does not hold for it.
pub fn replay(body: Body, file: &Path) {
    let data = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    println!("{}", file.display());
    body(&data);
}
