//! What a running proxify tells operators: `proxify status`, `proxify cache flush`, and the socket that
//! they ask.

use tests::sandbox;

/// `status` shows what does not change from run to run. `field NAME…` prints what the JSON has. `until
/// COMMAND…` waits until it succeeds.
const TOOLS: &str = "
    PROXIFY=$(dirname $SANDBOX)/proxify
    status() { $PROXIFY status; }
    field() { $PROXIFY status --json | python3 -c '
import json, sys
status = json.load(sys.stdin)
for path in sys.argv[1:]:
    value = status
    for key in path.split(\".\"):
        value = value[int(key) if key.isdigit() else key]
    print(value)
' $*; }
    soon() {
        for attempt in $(seq 200); do \"$@\" >/dev/null 2>&1 && return; sleep 0.05; done
        echo \"never: $*\" >&2; exit 1
    }
";

#[test]
fn people_see_the_parent_the_nameservers_and_what_was_done() {
    let ran = sandbox!()
        .env("PROXIFY_ROUTE", "corp.example=10.0.0.1")
        .run(&format!(
            "{TOOLS}
             dig +short ec2.us-east-1.amazonaws.com >/dev/null
             dig +short ec2.us-east-1.amazonaws.com >/dev/null
             dig +short localhost >/dev/null
             status | sed -E 's/process [0-9]+, serving for .*/process N/; s/[0-9.]+ (bytes|KiB) of/N of/
                 s/^(upstream +)[0-9]+/\\1N/; s/ +/ /g'"
        ));
    ran.assert_prints(&[
        "proxify 0.1.0 process N",
        "",
        "parent unix:/run/sandbox/link_8888: the link is up, proxify-relay",
        "nameservers 10.0.0.2:53 answers the parent's resolv.conf",
        " 10.0.0.1:53 not asked yet --route for corp.example",
        "rules 1 route, 0 pins",
        "cache 1 entry, N of 16 MiB, 50.0 % hits",
        "upstream N packets/s of 900, 0 lookups under way",
        "answers 3 queries: 1 from the cache, 0 stale, 1 by itself; 1 question upstream",
        "failures none",
        "TCP out by detour: 0 open, 0 so far, 0 failed",
        "TCP in no port is published",
    ]);
}

#[test]
fn it_follows_the_link_the_relay_and_failures() {
    let ran = sandbox!().run(&format!(
        "{TOOLS}
         is() {{ [ \"$(field $1)\" = $2 ]; }}
         soon is parent.link up; field parent.kind
         $SANDBOX ctl relay kill
         soon is parent.link down && echo down
         dig +time=5 +tries=1 sqs.us-east-1.amazonaws.com >/dev/null
         field totals.servfail_total
         $SANDBOX ctl relay start
         soon is parent.link up && echo up again
         # AmazonDNS falls silent.
         touch /run/sandbox/without/10.0.0.2
         dig +time=5 +tries=1 sns.us-east-1.amazonaws.com >/dev/null
         soon is nameservers.0.health resting && echo it rests
         status | grep -o 'does not answer'"
    ));
    ran.assert_prints(&[
        "relay",
        "down",
        "1",
        "up again",
        "it rests",
        "does not answer",
    ]);
    // The lookup that failed is told of without its name.
    let log = ran.stderr();
    assert!(
        log.contains(
            "a lookup failed; `proxify explain NAME` tells more reason=10.0.0.2:53 did not answer"
        ),
        "{ran}"
    );
    assert!(!log.contains("sns.us-east-1"), "{ran}");
}

#[test]
fn connections_out_and_in_are_counted() {
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/tcp.py");
    let ran = sandbox!()
        .env("TCP", clients)
        .env("PROXIFY_PUBLISH", "8443:443")
        .run(&format!(
            "{TOOLS}
             python3 $TCP serve 0.0.0.0:443 &
             $SANDBOX ctl vpc python3 $TCP serve 10.0.1.17:443 &
             soon python3 $TCP row 10.0.1.17:443 1
             soon $SANDBOX ctl vpc python3 $TCP row 10.0.0.10:8443 1
             python3 -c '
import socket, subprocess, sys
held = [socket.create_connection((\"10.0.1.17\", 443)) for _ in range(3)]
subprocess.run(sys.argv[1], shell=True)' \\
                 \"$PROXIFY status --json > /run/status\"
             python3 -c '
import json
status = json.load(open(\"/run/status\"))
print(status[\"egress\"], status[\"gauges\"][\"egress_connections\"])
print(status[\"totals\"][\"egress_connections_total\"] >= 4)
print(status[\"totals\"][\"publish_connections_total\"] >= 1)
print(status[\"ports\"])'
             before=$(field totals.egress_failures_total)
             python3 $TCP row 10.0.1.17:1 1 2>/dev/null
             echo $(($(field totals.egress_failures_total) - before)) failed
             is_none() {{ [ $(field gauges.egress_connections) = 0 ]; }}
             soon is_none && echo none is open"
        ));
    ran.assert_prints(&[
        "detour 3",
        "True",
        "True",
        "[{'parent': '0.0.0.0:8443', 'program': 443, 'published': True}]",
        "1 failed",
        "none is open",
    ]);
}

#[test]
fn the_cache_forgets_a_name_or_everything() {
    let ran = sandbox!().run(&format!(
        "{TOOLS}
         ask() {{ dig +short ec2.us-east-1.amazonaws.com >/dev/null; dig +short sqs.us-east-1.amazonaws.com AAAA; }}
         asked() {{ grep -c \"^udp $1\" /run/sandbox/queries; }}
         ask; ask
         $PROXIFY cache flush EC2.us-east-1.amazonaws.com.
         $PROXIFY cache flush ec2.us-east-1.amazonaws.com
         ask; echo $(asked ec2) $(asked sqs)
         $PROXIFY cache flush
         ask; echo $(asked ec2) $(asked sqs)
         $PROXIFY cache flush 'no name' 2>/dev/null; echo $?
         $PROXIFY cache 2>/dev/null; echo $?"
    ));
    ran.assert_prints(&[
        "1 entry of ec2.us-east-1.amazonaws.com flushed",
        "0 entries of ec2.us-east-1.amazonaws.com flushed",
        "2 1",
        "2 entries flushed",
        "3 2",
        "64",
        "64",
    ]);
}

/// Where nobody serves; beside an owner; after one that was killed and left its socket; and at the end.
#[test]
fn the_one_that_serves_answers() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{TOOLS}
         status 2>/run/said; echo $? $(grep -o 'no proxify serves names here' /run/said)
         $PROXIFY -- sh -c 'while [ ! -e /run/go ]; do sleep 0.05; done' &
         first=$!
         soon status
         [ $(field pid) = $first ] && echo the first
         stat -c '%a %F' /run/proxify.sock
         $PROXIFY -- sh -c 'while [ ! -e /run/end ]; do sleep 0.05; done' &
         second=$!
         sleep 0.5
         [ $(field pid) = $first ] && echo still
         kill -KILL $first
         is_second() {{ [ $(field pid) = $second ]; }}
         soon is_second && echo the second
         touch /run/end; wait $second
         status 2>/dev/null; echo $?
         ls /run | grep -c proxify.sock; true"
    ));
    ran.assert_prints(&[
        "1 no proxify serves names here",
        "the first",
        "600 socket",
        "still",
        "the second",
        "1",
        "0",
    ]);
}

#[test]
fn a_run_that_is_read_only_costs_the_socket_alone() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{TOOLS}
         touch /run/proxify.lock
         mount --rbind /run /run && mount -o remount,ro,bind /run
         $PROXIFY -- sh -c 'getent ahostsv4 v4only.kv.internal | head -1; '$PROXIFY' status; echo $?'"
    ));
    let lines = ran.lines();
    assert!(lines[0].starts_with("10.0.1.52"), "{ran}");
    assert_eq!(lines[1], "1", "{ran}");
    assert!(
        ran.stderr()
            .contains("cannot make the control socket /run/proxify.sock"),
        "{ran}"
    );
}

/// Silent, deaf and talkative clients, more of them than are served at once.
#[test]
fn clients_of_the_socket_hurt_nobody() {
    let ran = sandbox!().run(&format!(
        "{TOOLS}
         cat > /run/rude.py <<'END'
import socket, time
def connect():
    s = socket.socket(socket.AF_UNIX); s.settimeout(30); s.connect('/run/proxify.sock'); return s
silent = [connect() for _ in range(12)]
deaf = connect(); deaf.sendall(b'\"status\"\\n' * 50)
try:
    loud = connect(); loud.sendall(b'x' * 1000000)
except OSError:
    pass
open('/run/rude', 'w').close()
time.sleep(30)
END
         python3 /run/rude.py &
         rude=$!
         sleep 0.3
         getent ahostsv4 v4only.kv.internal | head -1 | cut -d' ' -f1
         status >/dev/null && echo served
         kill $rude
         PID=$(field pid); soon status
         # What they held is given back.
         few() {{ [ $(ls /proc/$PID/fd | wc -l) -lt 40 ]; }}
         soon few && echo few descriptors"
    ));
    ran.assert_prints(&["10.0.1.52", "served", "few descriptors"]);
}
