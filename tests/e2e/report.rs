//! What the parent learns of its enclaves, and what it can have them run: `proxify-relay status`, `check` and
//! `bench`, and `proxify --report`.

use tests::sandbox;

/// `relay WORDS…` runs a command of the parent's; `field PATH…` prints what the JSON of its status has;
/// `soon COMMAND…` waits until it succeeds.
const TOOLS: &str = "
    PROXIFY=$(dirname $SANDBOX)/proxify
    relay() { $SANDBOX ctl parent proxify-relay \"$@\"; }
    field() { relay status --json | python3 -c '
import json, sys
state = json.load(sys.stdin)
for path in sys.argv[1:]:
    value = state
    for key in path.split(\".\"):
        value = value[int(key) if key.isdigit() else key]
    print(value)
' $*; }
    is() { [ \"$(field $1)\" = \"$2\" ]; }
    soon() {
        for attempt in $(seq 200); do \"$@\" >/dev/null 2>&1 && return; sleep 0.05; done
        echo \"never: $*\" >&2; exit 1
    }
";

#[test]
fn operators_of_the_parent_see_the_relay_and_the_enclave() {
    let ran = sandbox!().run(&format!(
        "{TOOLS}
         dig +short ec2.us-east-1.amazonaws.com >/dev/null
         soon is enclaves.0.status.totals.upstream_answers_total 1
         relay status | sed -E 's/process [0-9]+, serving for .*/process N/; s/^unix:[0-9]+ +reports for .*, ([0-9]+) conn.*/ENCLAVE/
             s/[0-9.]+ (bytes|KiB) of.*/N of/; s/^( +upstream +|upstream +|connections +)[0-9]+/\\1N/; s/^( *answers).*/\\1/; s/ +/ /g'
         cid=$(field enclaves.0.enclave)
         relay status --cid $cid | head -1 | grep -c \"^$cid  reports for\"
         relay status --cid 99 2>&1; echo $?
         relay status --cid x 2>/dev/null; echo $?
         $SANDBOX ctl parent stat -c '%a %F' /run/proxify-relay/control.sock
         # It asks the enclave for nothing that its image does not allow.
         relay check ec2.us-east-1.amazonaws.com 2>&1 | sed -E 's/unix:[0-9]+/ENCLAVE/'
         relay bench >/dev/null 2>&1; echo $?
         $SANDBOX ctl relay stop
         relay status 2>&1; echo $?"
    ));
    ran.assert_prints(&[
        "proxify-relay 0.1.0 process N",
        "",
        "listen unix:/run/sandbox/link_8888",
        "enclaves 1, of which 1 report",
        "connections N",
        "upstream N packets/s of 900",
        "",
        "ENCLAVE",
        " proxify 0.1.0 process N",
        " parent unix:/run/sandbox/link_8888: the link is up, proxify-relay",
        " nameservers 10.0.0.2:53 answers the parent's resolv.conf",
        " cache 1 entry, N of",
        " upstream N packets/s of 900, 0 lookups under way",
        " answers",
        " failures none",
        " TCP out by detour: 0 open, 0 so far, 0 failed",
        " TCP in no port is published",
        "1",
        "proxify-relay status: no enclave is vsock:99",
        "1",
        "64",
        "600 socket",
        "proxify-relay check: proxify-relay does not answer that: ENCLAVE: this enclave runs nothing for its parent: it needs --report all in its image",
        "69",
        "proxify-relay status: no proxify-relay runs here: nobody listens at /run/proxify-relay/control.sock; start it, or name its socket with --control",
        "69",
    ]);
}

/// The enclave's image has the last word.
#[test]
fn an_enclave_that_refuses_opens_no_connection_for_it() {
    let ran = sandbox!()
        .env("PROXIFY_REPORT", "none")
        .env("PROXIFY_RELAY_LOG", "relay=debug")
        .run(&format!(
            "{TOOLS}
             getent ahostsv4 v4only.kv.internal | head -1 | cut -d' ' -f1
             relay status | grep -o 'does not report (an old version, or --report none)'
             relay check 2>&1; echo $?"
        ));
    ran.assert_prints(&[
        "10.0.1.52",
        "does not report (an old version, or --report none)",
        "proxify-relay check: no enclave reports: an old version, or --report none",
        "1",
    ]);
    let log = ran.stderr();
    assert!(
        log.contains("RESOLV_CONF") && !log.contains("REPORT"),
        "{ran}"
    );
}

#[test]
fn the_parent_has_an_enclave_check_and_measure() {
    let ran = sandbox!().env("PROXIFY_REPORT", "all").run(&format!(
        "{TOOLS}
         soon is enclaves.0.status.parent.link up
         relay check ec2.us-east-1.amazonaws.com s3.us-east-1.amazonaws.com
         echo $?
         touch /run/sandbox/without/ec2; $PROXIFY cache flush >/dev/null
         relay check --require-private ec2.us-east-1.amazonaws.com >/dev/null; echo $?
         rm /run/sandbox/without/ec2; $PROXIFY cache flush >/dev/null
         relay check --json ec2.us-east-1.amazonaws.com | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"names\"][0][\"verdict\"])'
         relay bench --duration 1 ec2.us-east-1.amazonaws.com > /run/bench; echo $?
         grep -E '^(p50|answers|failed) ' /run/bench | wc -l
         relay bench --duration 1h 2>/dev/null; echo $?
         relay check --server 10.0.0.2 2>/dev/null; echo $?
         relay check -- '-x.example' '' 2>/dev/null; echo $?
         # Nothing of it stays.
         ps -eo args= | grep -c '^proxify \\(check\\|bench\\)'; ls /proc/$PPID/task | wc -l"
    ));
    let lines = ran.lines();
    assert_eq!(lines[0], "✓ ec2.us-east-1.amazonaws.com  private", "{ran}");
    assert!(
        lines[1].contains("10.0.1.17") && lines[1].contains("interface endpoint"),
        "{ran}"
    );
    let tail: Vec<&str> = lines[lines.len() - 10..]
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(
        tail,
        ["0", "1", "private", "0", "3", "64", "64", "64", "0", "4"],
        "{ran}"
    );
}

/// It is a child of proxify's, beside APP and APP's orphans, and ends with who asked for it.
#[test]
fn a_run_neither_disturbs_app_nor_outlives_who_asked() {
    let ran = sandbox!().options(&["--no-proxify"]).env("PROXIFY_REPORT", "all").run(&format!(
        "{TOOLS}
         # As process 1, which is given the orphans.
         unshare --pid --fork --mount-proc $PROXIFY -- sh -c '
             touch /run/app
             while [ ! -e /run/end ]; do sh -c \"sleep 0.05 &\"; sleep 0.05; done
             ps -eo stat= | grep -c Z; exit 7' &
         proxify=$!
         soon is enclaves.0.status.parent.link up
         for run in 1 2 3; do relay check ec2.us-east-1.amazonaws.com >/dev/null; echo $?; done
         runs() {{ ps -eo args= | grep -c '^proxify bench'; }}
         $SANDBOX ctl parent timeout 2 proxify-relay bench --duration 30 ec2.us-east-1.amazonaws.com & asked=$!
         soon eval '[ $(runs) = 1 ]'; echo it runs
         wait $asked
         soon eval '[ $(runs) = 0 ]'; echo it ends with the operator
         $SANDBOX ctl parent proxify-relay bench --duration 30 ec2.us-east-1.amazonaws.com 2>/run/said & asked=$!
         soon eval '[ $(runs) = 1 ]'
         $SANDBOX ctl relay kill
         wait $asked; echo $?
         soon eval '[ $(runs) = 0 ]'; echo it ends with the relay
         touch /run/end; wait $proxify; echo $?"
    ));
    ran.assert_prints(&[
        "0",
        "0",
        "0",
        "it runs",
        "it ends with the operator",
        "69",
        "it ends with the relay",
        "0",
        "7",
    ]);
}

/// Lookups of a canary fail in every way there is, and no byte of it comes to the relay's ears by REPORT;
/// what it does hear are the warnings.
#[test]
fn no_name_that_was_asked_for_is_told() {
    let ran = sandbox!()
        .options(&["--no-relay", "--no-proxify"])
        .env("PROXIFY_REPORT", "all")
        .env("PROXIFY_LOG", "debug")
        .env("PROXIFY_NAMESERVERS", "10.0.0.2")
        .env("PROXIFY_PIN", "pinned.canary=10.0.0.0/16 amazonaws.com=10.0.0.0/16")
        .env("PROXIFY_ROUTE", "routed.canary=10.0.0.9")
        .run(&format!(
            "{TOOLS}
             cat > /run/tap.py <<'END'
# A relay before the relay: what comes by REPORT is kept, all goes on.
import os, socket, threading
def pump(source, sink, keep):
    try:
        while data := source.recv(65536):
            if keep: keep.write(data); keep.flush()
            sink.sendall(data)
    except OSError: pass
    for end in (source, sink):
        try: end.shutdown(socket.SHUT_RDWR)
        except OSError: pass
def serve(client):
    request = b''
    while len(request) < 13: request += client.recv(13 - len(request)) or os._exit(1)
    relay = socket.socket(socket.AF_UNIX); relay.connect('/run/sandbox/real_8888'); relay.sendall(request)
    keep = open('/run/told', 'ab') if request[4] == 0xd2 else None
    threading.Thread(target=pump, args=(relay, client, None), daemon=True).start()
    pump(client, relay, keep)
listener = socket.socket(socket.AF_UNIX); listener.bind('/run/sandbox/link_8888'); listener.listen(64)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
END
             $SANDBOX ctl parent proxify-relay --log warn --listen unix:/run/sandbox/real &
             relay=$!
             python3 /run/tap.py &
             tap=$!
             soon test -S /run/sandbox/link_8888; soon test -S /run/sandbox/real_8888
             $PROXIFY -- sh -c '
                 search() {{ sed \"s/^search.*//\" /etc/resolv.conf > /run/conf; echo search secret.canary >> /run/conf; cat /run/conf > /etc/resolv.conf; }}
                 touch /run/sandbox/without/10.0.0.2
                 for name in canary canary.example canary.local canary.invalid x.pinned.canary x.routed.canary; do
                     dig +time=5 +tries=1 $name > /dev/null &
                     dig +tcp +time=5 +tries=1 AAAA $name > /dev/null &
                     dig +time=5 +tries=1 -t AXFR $name > /dev/null &
                 done
                 wait
                 rm /run/sandbox/without/10.0.0.2
                 touch /run/sandbox/without/ec2
                 dig ec2.us-east-1.amazonaws.com | grep -c SERVFAIL
                 search; getent hosts canary; sleep 2.2
                 until grep -q \"did not answer\" /run/told && grep -q \"leads out\" /run/told && grep -q \"put its own\" /run/told; do
                     tries=$((${{tries:-0}} + 1)); [ $tries -lt 200 ] || {{ cat /run/told; exit 1; }}; sleep 0.05; done'
             grep -ao 'reason=10.0.0.2:53 did not answer' /run/told | head -1
             grep -ao 'outside=3.218.180.17\\|outside=3.218.181.17' /run/told | head -1 | cut -c1-16
             # What is configured is in the status, by its own word; it is no name that was asked for.
             sed 's/routed\\.canary/ROUTE/g' /run/told | tr -d '\\0' | grep -aci canary
             grep -aci -e ec2 -e amazonaws /run/told
             kill $tap $relay"
        ));
    let lines = ran.lines();
    assert_eq!(
        lines,
        [
            "1",
            "reason=10.0.0.2:53 did not answer",
            "outside=3.218.18",
            "0",
            "0"
        ],
        "{ran}"
    );
}

#[test]
fn warnings_come_to_the_relays_log_and_its_status() {
    let ran = sandbox!().env("PROXIFY_REPORT", "all").run(&format!(
        "{TOOLS}
         touch /run/sandbox/without/10.0.0.2
         dig +time=5 +tries=1 canary.example >/dev/null
         soon eval 'relay status | grep its.log'
         relay status | grep -o '10.0.0.2:53 did not answer'"
    ));
    ran.assert_prints(&["10.0.0.2:53 did not answer"]);
    let log = ran.stderr();
    let told = log.lines().find(|line| line.contains("an enclave warns"));
    assert!(
        told.is_some_and(|line| line.contains("peer=unix:") && line.contains("10.0.0.2:53")),
        "{ran}"
    );
    assert!(!log.contains("canary"), "{ran}");
}

#[test]
fn two_enclaves_are_told_apart_and_a_relay_that_restarts_knows_them_soon() {
    let ran = sandbox!().env("PROXIFY_REPORT", "all").run(&format!(
        "{TOOLS}
         # Another network, another lock, the same relay.
         cat > /run/other.sh <<'END'
touch /run/other.lock; mount --bind /run/other.lock /run/proxify.lock; exec \"$@\"
END
         unshare --net --mount sh /run/other.sh $PROXIFY --resolv-conf none -- sleep 60 &
         other=$!
         two() {{ [ \"$(field enclaves.0.status.parent.link enclaves.1.status.parent.link | tr '\\n' ' ')\" = 'up up ' ]; }}
         soon two
         relay status | grep -c '  reports for'
         relay check 2>/run/said; echo $? $(grep -c 'which enclave? Give --cid: unix:[0-9]*, unix:[0-9]*' /run/said)
         relay check --cid $(field enclaves.1.enclave) ec2.us-east-1.amazonaws.com | head -1
         $SANDBOX ctl relay kill; $SANDBOX ctl relay start
         soon two; echo again
         kill $other; wait $other 2>/dev/null
         ended() {{ relay status | grep -o 'ended .* ago'; }}
         soon ended; echo one has ended"
    ));
    ran.assert_prints(&[
        "2",
        "64 1",
        "✓ ec2.us-east-1.amazonaws.com  private",
        "again",
        "one has ended",
    ]);
}

#[test]
fn an_old_parent_is_asked_seldom_and_costs_no_warning() {
    let ran = sandbox!()
        .options(&["--no-relay", "--no-proxify"])
        .env("OLD_PARENT", env!("CARGO_BIN_EXE_old-parent"))
        .env("PROXIFY_NAMESERVERS", "cidr:10.0.0.0/16")
        .run(&format!(
            "{TOOLS}
             $SANDBOX ctl parent $OLD_PARENT /run/sandbox/link_8888 > /run/requests &
             old=$!
             soon grep -q listening /run/requests
             $PROXIFY -- sh -c 'getent ahostsv4 v4only.kv.internal | head -1 | cut -d\" \" -f1; sleep 4'
             asked=$(grep -c 0xd2 /run/requests)
             [ $asked -ge 2 ] && [ $asked -le 3 ] && echo seldom || cat /run/requests
             kill $old"
        ));
    ran.assert_prints(&["10.0.1.52", "seldom"]);
    assert!(!ran.stderr().contains("REPORT"), "{ran}");
}
