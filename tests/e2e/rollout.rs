//! Either half swapped first, as `enclave/ROLLOUT.md` says, and each line of a log that it quotes.

use tests::old_parent::SWAPS;
use tests::{Ran, Sandbox, sandbox};

const PAGE: &str = include_str!("../../enclave/ROLLOUT.md");

/// A lookup of an old image's, through the relay and whatever nameserver follows.
const OLD_IMAGE: &str = "$PROBE old-enclave /run/sandbox/link_8888";

/// An enclave without our `proxify`, on a parent with our relay.
fn old_enclave() -> Sandbox {
    sandbox!()
        .options(&["--no-proxify"])
        .env("PROXIFY_RELAY_LOG", "debug")
}

/// What the page quotes is there, in the log as in the page.
#[track_caller]
fn assert_quoted(ran: &Ran, line: &str) {
    assert!(PAGE.contains(line), "not in the page: {line}");
    assert!(ran.stderr().contains(line), "{line}\n{ran}");
}

#[test]
fn an_old_image_resolves_through_our_relay() {
    let ran = old_enclave().run(&format!(
        "for nameserver in 10.0.0.2:53 169.254.169.253:53 '[fd00:ec2::253]:53'; do
             {OLD_IMAGE} $nameserver ec2.us-east-1.amazonaws.com.
         done
         {OLD_IMAGE} 10.0.0.2:53 dual.kv.internal. | wc -l
         awk '{{print $1}}' /run/sandbox/queries | sort -u"
    ));
    let zones = ["10.0.1.17", "10.0.2.17"];
    ran.assert_prints(&[&zones[..], &zones, &zones, &["2", "tcp"]].concat());
    assert_quoted(&ran, "DEBUG relay::connection: CONNECT 10.0.0.2:53 peer=");
    assert!(!ran.stderr().contains("relay::connection: DNS"), "{ran}");
}

/// An old image that asks the getter, or anything else on the parent itself, needs a rule for it.
#[test]
fn our_relay_keeps_an_old_image_from_the_parent_itself() {
    let serve = "import socket
s = socket.create_server((\"127.0.0.1\", 1600))
print(\"listening\", flush=True)
while True: s.accept()[0].sendall(b\"the getter\")";
    let connect = "import socket
s = socket.socket(socket.AF_UNIX)
s.connect(\"/run/sandbox/link_8888\")
s.sendall(bytes([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 6, 64]))
s.shutdown(socket.SHUT_WR)
print(s.makefile(\"rb\").read()[3:])";
    let script = format!(
        "$SANDBOX ctl parent /usr/bin/python3 -c '{serve}' > /run/getter &
         for attempt in $(seq 100); do grep -q listening /run/getter && break; sleep 0.05; done
         /usr/bin/python3 -c '{connect}'
         {OLD_IMAGE} 10.0.0.2:53 v4only.kv.internal.
         kill $!"
    );
    let ran = old_enclave().run(&script);
    ran.assert_prints(&[r"b'\x02\x00\x01\x00\x00\x00\x00\x00\x00'", "10.0.1.52"]);
    assert_quoted(
        &ran,
        "not allowed command=CONNECT 127.0.0.1:1600 why=it is the parent itself, which only an `--allow` of this address alone opens",
    );

    let rules = "0.0.0.0/0,::/0,127.0.0.1:1600";
    assert!(PAGE.contains(&format!("--allow {rules}")));
    let ran = old_enclave().env("PROXIFY_RELAY_ALLOW", rules).run(&script);
    let lines = ran.lines();
    assert!(lines[0].contains("the getter"), "{ran}");
    assert_eq!(lines[1..], ["10.0.1.52"], "{ran}");
}

#[test]
fn our_relay_says_which_image_it_has() {
    // With a list it does not ask for RESOLV_CONF.
    for nameservers in ["auto", "10.0.0.2"] {
        let ran = sandbox!()
            .env("PROXIFY_NAMESERVERS", nameservers)
            .env("PROXIFY_RELAY_LOG", "debug")
            .run("getent hosts 10.0.1.17 | awk '{print $2}'");
        ran.assert_prints(&["ip-10-0-1-17.ec2.internal"]);
        assert_quoted(&ran, "DEBUG relay::connection: DNS 10.0.0.2:53 peer=");
        assert!(!ran.stderr().contains("CONNECT 10.0.0.2:53"), "{ran}");
    }
}

#[test]
fn our_image_says_which_parent_it_has() {
    let ran = sandbox!()
        .options(&["--no-relay", "--no-proxify"])
        .env("OLD_PARENT", env!("CARGO_BIN_EXE_old-parent"))
        .env("PROXIFY_LOG", "info")
        .run(&format!(
            "{SWAPS}
             $PROXIFY -- sh -c 'touch /run/started
                 $PROBE watch /run/stop zero.kv.internal=10.0.1.55; cat /etc/resolv.conf' 2> /run/log &
             app=$!
             told() {{ for attempt in $(seq 200); do [ $(grep -c \"$1\" /run/log) = $2 ] && return; sleep 0.05; done; }}
             told 'an old parent' 1
             new
             told 'a relay: DNS' 1
             old
             told 'an old parent' 2
             touch /run/stop
             wait $app; echo $?
             kill $OLD
             cat /run/log >&2"
        ));
    let lines = ran.lines();
    assert_eq!(lines.first().map(String::as_str), Some("right"), "{ran}");
    assert_eq!(lines.last().map(String::as_str), Some("0"), "{ran}");
    assert!(lines.contains(&"nameserver 127.0.0.1".to_owned()), "{ran}");
    for line in [
        "an old parent without a relay for DNS: it goes over TCP",
        "a relay: DNS goes to the nameservers by UDP",
    ] {
        assert_quoted(&ran, line);
    }
    let said = ran.stderr();
    assert_eq!(said.matches("an old parent without").count(), 2, "{ran}");
    assert_eq!(said.matches("a relay: DNS goes").count(), 1, "{ran}");
}
