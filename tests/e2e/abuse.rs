//! Programs of the enclave flood the stub. Of 10,000 lookups of names that are asked for all the time
//! each is answered, and rightly; memory is bounded; a second later all is as before.

use tests::{file, known, sandbox};

/// Bytes of the cache, few enough to be full after some seconds. Beside them proxify may take 8 MiB.
const CACHE_SIZE: &str = "1MiB";

/// Resident memory that proxify may have, KiB.
const MEMORY: u64 = (1 + 8) * 1024;

fn flood(kind: &str) {
    let zone = file!(&format!("flood-{kind}.zone"), known::zone());
    let ran = sandbox!()
        .options(&["--zone", &zone.display().to_string()])
        .env("PROXIFY_CACHE_SIZE", CACHE_SIZE)
        .run(&format!(
            "ulimit -n 20000; $PROBE flood {kind} 50000 10000 $PPID {MEMORY}"
        ));
    ran.assert_prints(&["names answered", "memory bounded", "normal again"]);
    println!("{}", ran.stderr());
}

#[test]
fn fifty_thousand_random_names_a_second() {
    flood("names");
}

#[test]
fn ten_thousand_connections_that_say_nothing() {
    flood("silent");
}

#[test]
fn queries_as_long_as_can_be() {
    flood("large");
}

#[test]
fn malformed_packets() {
    flood("malformed");
}
