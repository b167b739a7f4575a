//! `--metrics` of both programs.

use tests::sandbox;

use crate::measured;

/// The other programs stand beside the sandbox's.
const PROGRAMS: &str = "
    PATH=$PATH:/usr/sbin:/sbin
    PROXIFY=$(dirname $SANDBOX)/proxify RELAY=$(dirname $SANDBOX)/proxify-relay
    soon() {
        for attempt in $(seq 200); do \"$@\" >/dev/null 2>&1 && return; sleep 0.05; done
        echo \"never: $*\" >&2; exit 1
    }
";

#[test]
fn a_port_that_is_taken_is_an_error_that_names_its_process() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROGRAMS}
         ip link set lo up
         python3 -m http.server --bind 127.0.0.1 9153 >/dev/null 2>&1 & holder=$!
         soon curl -s http://127.0.0.1:9153/
         for command in dns '-- true'; do
             $PROXIFY --metrics 127.0.0.1:9153 $command 2>/run/said; echo $?
             sed \"s/pid $holder/pid PID/\" /run/said
         done
         $RELAY --listen unix:/run/other --metrics 127.0.0.1:9153 --log warn; echo $?"
    ));
    let said = "proxify: cannot serve metrics on 127.0.0.1:9153: python3 (pid PID) listens there; stop it, \
                or choose another address with --metrics";
    ran.assert_prints(&["69", said, "69", said, "69"]);
    assert!(
        ran.stderr()
            .contains("cannot serve metrics at 127.0.0.1:9153: Address already in use"),
        "{ran}"
    );
}

#[test]
fn an_enclave_serves_them_on_loopback_and_only_where_it_is_asked_to() {
    let ran = sandbox!().run(&format!(
        "{PROGRAMS}
         $PROXIFY --metrics 0.0.0.0:9153 -- true 2>&1 | head -1; $PROXIFY --metrics 9153 -- true 2>/dev/null; echo $?
         curl -s http://127.0.0.1:9153/metrics; echo $?"
    ));
    ran.assert_prints(&[
        "error: --metrics 0.0.0.0:9153: they are served to this machine only, and by proxify-relay to \
         others; use an address such as 127.0.0.1:9153",
        "64",
        "7",
    ]);
}

/// What programs listen on is published by itself, but for what is theirs alone.
#[test]
fn they_are_no_published_port() {
    let ran = measured().run(&format!(
        "{PROGRAMS}
         python3 -m http.server 8080 >/dev/null 2>&1 &
         soon $SANDBOX ctl parent curl -s http://127.0.0.1:8080/
         curl -s http://127.0.0.1:9153/metrics | grep ^proxify_published_ports"
    ));
    ran.assert_prints(&["proxify_published_ports 1"]);
}

/// Of two proxifys in an enclave the one whose stub answers serves them, and the next one after it.
#[test]
fn they_go_with_the_stub() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROGRAMS}
         export PROXIFY_METRICS=127.0.0.1:9153
         page() {{ curl -s http://127.0.0.1:9153/metrics | grep -c '^proxify_uptime_seconds '; }}
         serves() {{ [ \"$(page)\" = 1 ]; }}
         $PROXIFY dns --ready-fd 3 3>/run/first & first=$!
         soon serves; page
         $PROXIFY -- sh -c 'touch /run/second; sleep 600' & second=$!
         soon test -e /run/second
         kill -KILL $first; soon serves; page
         kill $second"
    ));
    ran.assert_prints(&["1", "1"]);
}
