//! TCP out of the enclave in bulk: many bytes, many connections, and what is left of them.

use tests::{Sandbox, sandbox};

/// Starts the server in the VPC, and says how much proxify (the script's parent) and the relay hold.
const TOOLS: &str = r#"
SERVER=10.0.1.17:9000
$SANDBOX ctl vpc python3 $BULK serve 0.0.0.0:9000 &
for attempt in $(seq 200); do python3 $BULK row $SERVER 1 >/dev/null 2>&1 && break; sleep 0.05; done
relay=$(cat /run/sandbox/relay.pid)
fds() { echo $(($(ls /proc/$PPID/fd | wc -l) + $(ls /proc/$relay/fd | wc -l))); }
resident() { awk '/^VmRSS/ {sum += $2} END {print sum}' /proc/$PPID/status /proc/$relay/status; }
"#;

fn tools() -> Sandbox {
    sandbox!().env(
        "BULK",
        concat!(env!("CARGO_MANIFEST_DIR"), "/clients/bulk.py"),
    )
}

#[test]
fn a_gibibyte_each_way() {
    tools()
        .run(&format!(
            "{TOOLS}
             python3 $BULK put $SERVER $((1 << 30))
             python3 $BULK get $SERVER $((1 << 30))"
        ))
        .assert_prints(&["same", "same"]);
}

#[test]
fn ten_thousand_one_after_the_other_leave_nothing_behind() {
    let ran = tools().run(&format!(
        "{TOOLS}
         python3 $BULK row $SERVER 1000
         fds_before=$(fds); resident_before=$(resident)
         python3 $BULK row $SERVER 10000
         for attempt in $(seq 100); do [ $(fds) -le $((fds_before + 8)) ] && break; sleep 0.1; done
         echo $(($(fds) > fds_before + 8)) more descriptors
         echo $(($(resident) > resident_before + 4096)) more memory"
    ));
    ran.assert_prints(&["1000", "10000", "0 more descriptors", "0 more memory"]);
}

/// The goal is 64 MiB for 10,000; here both halves together have it, unoptimized, in proportion.
#[test]
fn idle_connections_cost_little_and_stay_alive() {
    let ran = tools().run(&format!(
        "{TOOLS}
         ulimit -n 8192
         before=$(resident)
         mkfifo /run/go
         python3 $BULK hold $SERVER 4000 < /run/go > /run/held &
         held=$!
         exec 9> /run/go
         for attempt in $(seq 600); do [ -s /run/held ] && break; sleep 0.1; done
         grown=$(($(resident) - before))
         [ $grown -lt $((2 * 64 * 1024 * 4 / 10)) ] && echo small || echo $grown KiB
         echo >&9
         wait $held
         cat /run/held"
    ));
    ran.assert_prints(&["small", "held", "4000"]);
}
