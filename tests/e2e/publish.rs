//! The parent's ports reach programs in the enclave.

use tests::{Sandbox, sandbox as any_sandbox};

/// `serve ADDRESS:PORT…` starts echo servers in the enclave and waits until they listen. `parent` and
/// `vpc` run the client there. `until_soon COMMAND…` waits until it succeeds, `fds` counts descriptors.
const TOOLS: &str = "
    PROXIFY=$(dirname $SANDBOX)/proxify
    serve() {
        for address in $*; do python3 $TCP serve $address & done
        for address in $*; do until_soon python3 $TCP row $address 1; done
    }
    parent() { $SANDBOX ctl parent python3 $TCP $*; }
    vpc() { $SANDBOX ctl vpc python3 $TCP $*; }
    until_soon() {
        for attempt in $(seq 300); do \"$@\" >/dev/null 2>&1 && return; sleep 0.05; done
        echo \"never: $*\" >&2; exit 1
    }
    refused() { ! parent row $1 1; }
    fds() { ls /proc/$1/fd | wc -l; }
";

/// A sandbox with these ports published.
fn sandbox(publish: &str) -> Sandbox {
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/tcp.py");
    any_sandbox!()
        .env("TCP", clients)
        .env("PROXIFY_PUBLISH", publish)
}

#[test]
fn what_programs_listen_on_is_published_as_it_comes_and_goes() {
    let ran = sandbox("auto").run(&format!(
        "{TOOLS}
         serve 0.0.0.0:8000
         first=$!
         serve 127.0.0.1:8001 192.0.2.1:8002 [::]:8003
         for port in 8000 8002 8003; do
             until_soon vpc row 10.0.0.10:$port 1
             vpc echo 10.0.0.10:$port 100000
         done
         refused 127.0.0.1:8001 2>/dev/null && echo loopback stays
         # A second one comes, and the first goes.
         serve 0.0.0.0:8004
         kill $first
         until_soon vpc row 10.0.0.10:8004 1
         until_soon refused 127.0.0.1:8000 && echo withdrawn
         python3 $TCP serve 0.0.0.0:8000 &
         until_soon vpc row 10.0.0.10:8000 1 && echo again"
    ));
    ran.assert_prints(&[
        "same",
        "same",
        "same",
        "loopback stays",
        "withdrawn",
        "again",
    ]);
}

#[test]
fn ports_are_listed_as_container_engines_write_them() {
    let ran = sandbox("8443:443,127.0.0.1:8080:80,[::1]:8081:80").run(&format!(
        "{TOOLS}
         serve 127.0.0.1:443 192.0.2.1:80 0.0.0.0:8000
         vpc row 10.0.0.10:8443 3
         parent row 127.0.0.1:8080 3
         parent row [::1]:8081 3
         for address in 10.0.0.10:8080 10.0.0.10:443 10.0.0.10:8000; do
             vpc row $address 1 2>/dev/null || echo closed
         done"
    ));
    ran.assert_prints(&["3", "3", "3", "closed", "closed", "closed"]);
}

#[test]
fn none_publishes_nothing_and_a_real_http_server_answers_curl() {
    let ran = sandbox("none").run(&format!(
        "{TOOLS}
         serve 0.0.0.0:8000
         sleep 1
         refused 127.0.0.1:8000 2>/dev/null && echo closed
         # Under another proxify, which lists what it wants.
         cd /usr/share && $PROXIFY --publish 80:8080 -- python3 -m http.server 8080 >/dev/null 2>&1 &
         until_soon $SANDBOX ctl vpc curl -sf http://10.0.0.10/
         $SANDBOX ctl vpc curl -s -o /dev/null -w '%{{http_code}}\\n' http://10.0.0.10/no-such-file"
    ));
    ran.assert_prints(&["closed", "404"]);
}

#[test]
fn the_clients_address_reaches_both_logs_and_a_dead_program_is_told_of() {
    let ran = sandbox("8000,8001")
        .env("PROXIFY_LOG", "info")
        .env("PROXIFY_RELAY_LOG", "info")
        .run(&format!(
            "{TOOLS}
             serve 0.0.0.0:8000
             vpc row 10.0.0.10:8000 1
             vpc echo 10.0.0.10:8001 0
             vpc echo 10.0.0.10:8001 10 2>/dev/null || echo closed"
        ));
    // A connection that is closed at once echoes nothing well.
    assert_eq!(ran.lines()[..2], ["1", "same"], "{ran}");
    assert!(ran.lines()[2] != "same", "{ran}");
    let said = ran.stderr();
    for line in [
        "a connection from the parent client=10.0.0.1:",
        "what=from 10.0.0.1:",
        "on [::]:8000",
        "program=8001 error=cannot connect to the program",
    ] {
        assert!(said.contains(line), "{line}: {ran}");
    }
}

#[test]
fn the_relay_killed_and_back() {
    let ran = sandbox("8000").run(&format!(
        "{TOOLS}
         serve 0.0.0.0:8000
         for round in 1 2 3; do
             until_soon vpc row 10.0.0.10:8000 1
             $SANDBOX ctl relay kill
             vpc row 10.0.0.10:8000 1 2>/dev/null || echo closed
             $SANDBOX ctl relay start
         done
         until_soon vpc row 10.0.0.10:8000 1 && vpc row 10.0.0.10:8000 20"
    ));
    ran.assert_prints(&["closed", "closed", "closed", "20"]);
}

#[test]
fn ten_thousand_one_after_the_other_leave_nothing_behind() {
    let ran = sandbox("8000").run(&format!(
        "{TOOLS}
         serve 0.0.0.0:8000
         until_soon vpc row 10.0.0.10:8000 10
         relay=$(cat /run/sandbox/relay.pid)
         sleep 1
         before=$(($(fds $PPID) + $(fds $relay)))
         timeout 240 $SANDBOX ctl vpc python3 $TCP row 10.0.0.10:8000 10000
         # Beside a pool of BINDs that may have grown by 28, a descriptor at each end.
         as_before() {{ [ $(($(fds $PPID) + $(fds $relay))) -le $((before + 56)) ]; }}
         until_soon as_before && echo nothing left"
    ));
    ran.assert_prints(&["10000", "nothing left"]);
}

#[test]
fn of_several_proxifys_the_next_publishes_when_the_owner_has_ended() {
    let ran = sandbox("auto").options(&["--no-proxify"]).run(&format!(
        "{TOOLS}
         $PROXIFY -- sh -c 'touch /run/first; until [ -e /run/go ]; do sleep 0.05; done' &
         first=$!
         until_soon [ -e /run/first ]
         $PROXIFY -- python3 $TCP serve 0.0.0.0:8000 &
         until_soon vpc row 10.0.0.10:8000 1 && echo by the first
         touch /run/go; wait $first
         until_soon vpc row 10.0.0.10:8000 1 && echo by the second
         vpc row 10.0.0.10:8000 20"
    ));
    ran.assert_prints(&["by the first", "by the second", "20"]);
}

#[test]
fn beside_dns_what_programs_listen_on_is_published_too() {
    let ran = sandbox("auto").options(&["--no-proxify"]).run(&format!(
        "{TOOLS}
         $PROXIFY dns &
         serve 0.0.0.0:8000
         until_soon vpc row 10.0.0.10:8000 1 && echo by dns
         $PROXIFY -- python3 $TCP serve 0.0.0.0:8001 &
         until_soon vpc row 10.0.0.10:8001 1 && echo under another"
    ));
    ran.assert_prints(&["by dns", "under another"]);
}

#[test]
fn what_a_program_sent_before_its_end_arrives() {
    let ran = sandbox("none").run(&format!(
        "{TOOLS}
         $PROXIFY --publish 8000 -- python3 $TCP once 0.0.0.0:8000 3000000 &
         fetch() {{ vpc fetch 10.0.0.10:8000 > /run/fetched; }}
         until_soon fetch
         cat /run/fetched
         wait $! && echo ended"
    ));
    ran.assert_prints(&["3000000", "ended"]);
}

#[test]
fn two_hundred_at_once_and_a_big_body_both_ways() {
    let ran = sandbox("8000").run(&format!(
        "{TOOLS}
         serve 0.0.0.0:8000
         vpc crowd 10.0.0.10:8000 200
         vpc echo 10.0.0.10:8000 50000000"
    ));
    ran.assert_prints(&["200", "same"]);
}

/// The others have networks and locks of their own, and the same relay.
#[test]
fn a_port_belongs_to_one_enclave_at_a_time() {
    let ran = sandbox("8000").run(&format!(
        "{TOOLS}
         cat > /run/other.sh <<'END'
touch /run/$1.lock; mount --bind /run/$1.lock /run/proxify.lock
shift; exec \"$@\"
END
         other() {{
             unshare --net --mount sh /run/other.sh $1 $PROXIFY --resolv-conf none --publish $2 -- \\
                 python3 -m http.server 8001 >/dev/null 2>/run/$1.log &
         }}
         serve 0.0.0.0:8000
         until_soon vpc row 10.0.0.10:8000 1
         other second 8000,8001
         second=$!
         until_soon $SANDBOX ctl vpc curl -sf http://10.0.0.10:8001/
         # Its own programs alone answer an enclave's port.
         vpc row 10.0.0.10:8000 100
         grep -c 'not published parent=0.0.0.0:8000 why=it belongs to another enclave' /run/second.log
         other third 8001
         until_soon grep -q 'is not published parent=0.0.0.0:8001' /run/third.log
         kill $second; wait $second
         until_soon grep -q 'is published now parent=0.0.0.0:8001' /run/third.log
         until_soon $SANDBOX ctl vpc curl -sf http://10.0.0.10:8001/ && echo taken over"
    ));
    ran.assert_prints(&["100", "1", "taken over"]);
    let refused = "BIND 0.0.0.0:8000: [::]:8000 is taken by unix:";
    assert!(ran.stderr().contains(refused), "{ran}");
}

#[test]
fn an_old_parent_publishes_too_and_is_swapped_for_a_new_one() {
    let ran = sandbox("8000")
        .options(&["--no-relay", "--no-proxify"])
        .env("OLD_PARENT", env!("CARGO_BIN_EXE_old-parent"))
        .env("PROXIFY_NAMESERVERS", "cidr:10.0.0.0/16")
        .run(&format!(
            "{TOOLS}
             $SANDBOX ctl parent $OLD_PARENT /run/sandbox/link_8888 > /run/requests &
             old=$!
             until_soon grep -q listening /run/requests
             $PROXIFY -- python3 $TCP serve 0.0.0.0:8000 &
             until_soon vpc row 10.0.0.10:8000 1
             vpc row 10.0.0.10:8000 100
             vpc echo 10.0.0.10:8000 1000000
             parent row [::1]:8000 1
             grep -q '0x02 0.0.0.0:8000' /run/requests && echo by BIND
             kill -KILL $old; wait $old
             $SANDBOX ctl relay start
             until_soon vpc row 10.0.0.10:8000 1 && vpc row 10.0.0.10:8000 100"
        ));
    ran.assert_prints(&["100", "same", "1", "by BIND", "100"]);
}
