//! The parent that we replace: everything works with it, and with either half swapped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use tests::old_parent::{self, SWAPS};
use tests::{Ran, Sandbox};

/// `getter` starts the gRPC server that may run beside an old parent; its calls go to /run/calls.
const GETTER: &str = "
    getter() {
        $SANDBOX ctl parent /usr/bin/python3 $OLD_GETTER >> /run/calls &
        GETTER=$!
        for attempt in $(seq 200); do grep -q listening /run/calls && break; sleep 0.05; done
    }
    : > /run/calls\n";

/// An enclave linked to an old parent; the script starts proxify itself.
fn sandbox() -> Sandbox {
    tests::sandbox!()
        .options(&["--no-relay", "--no-proxify"])
        .env("OLD_PARENT", env!("CARGO_BIN_EXE_old-parent"))
        .env("PROXIFY_NAMESERVERS", "cidr:10.0.0.0/16")
}

#[test]
fn names_resolve_over_tcp_on_one_connection_and_the_log_says_what_it_costs() {
    let ran = sandbox().run(&format!(
        "{SWAPS}
         cat > /run/app.sh <<'END'
getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{{print $1}}' | sort -u
getent hosts 10.0.1.17 | awk '{{print $2}}'
dig +short sqs.us-east-1.amazonaws.com | sort
dig +short +tcp v4only.kv.internal
dig +noall +comments nothing.kv.internal | grep -o 'status: [A-Z]*'
dig +short TXT large.kv.internal | wc -c | awk '{{print ($1 > 1232)}}'
$PROBE hickory v4only.kv.internal
$PROBE pipeline bulk.s3.us-east-1.amazonaws.com. 100
END
         $PROXIFY -- sh /run/app.sh
         grep 0x01 /run/requests
         # A relay is looked for again after a second, which a slow machine may reach.
         grep 0xd0 /run/requests | sort -u
         awk '{{print $1}}' /run/sandbox/queries | sort -u
         kill $OLD"
    ));
    ran.assert_prints(&[
        "10.0.1.17",
        "10.0.2.17",
        "ip-10-0-1-17.ec2.internal",
        "10.0.1.12",
        "10.0.2.12",
        "10.0.1.52",
        "status: NXDOMAIN",
        "1",
        "10.0.1.52",
        "100",
        "0x01 10.0.0.2:53",
        "0xd0 10.0.0.2:53",
        "tcp",
    ]);
    assert_eq!(ran.stderr().matches("quota").count(), 1, "{ran}");
}

#[test]
fn swapped_for_a_new_one_and_back_while_lookups_run() {
    let ran = sandbox().run(&format!(
        "{SWAPS}
         # A TTL of 0 keeps every lookup going upstream.
         $PROXIFY -- $PROBE watch /run/stop zero.kv.internal=10.0.1.55 ec2.us-east-1.amazonaws.com=10.0.1.17 &
         watch=$!
         for round in 1 2 3; do
             : > /run/sandbox/queries
             for attempt in $(seq 100); do grep -q '^tcp zero' /run/sandbox/queries && break; sleep 0.05; done
             grep -q '^tcp zero' /run/sandbox/queries && echo by tcp
             new
             : > /run/sandbox/queries
             for attempt in $(seq 100); do grep -q '^udp zero' /run/sandbox/queries && break; sleep 0.05; done
             grep -q '^udp zero' /run/sandbox/queries && echo by udp
             old
         done
         touch /run/stop
         wait $watch && echo no lookup failed
         kill $OLD"
    ));
    ran.assert_prints(&[
        "by tcp",
        "by udp",
        "by tcp",
        "by udp",
        "by tcp",
        "by udp",
        "right",
        "no lookup failed",
    ]);
}

/// AmazonDNS of the sandbox closes what is idle for 10 s.
#[test]
fn a_connection_that_was_closed_idle_is_opened_again_for_the_next_client_only() {
    let ran = sandbox().run(&format!(
        "{SWAPS}
         cat > /run/app.sh <<'END'
getent ahostsv4 ec2.us-east-1.amazonaws.com >/dev/null
sleep 14
grep -c 0x01 /run/requests
getent ahostsv4 sqs.us-east-1.amazonaws.com | awk '{{print $1}}' | sort -u
grep -c 0x01 /run/requests
END
         $PROXIFY -- sh /run/app.sh
         kill $OLD"
    ));
    ran.assert_prints(&["1", "10.0.1.12", "10.0.2.12", "2"]);
}

/// Nothing is named by hand: IMDS, asked through the old parent, leads to base + 2.
#[test]
fn the_nameserver_is_found_by_imds() {
    let ran = sandbox().env("PROXIFY_NAMESERVERS", "auto").run(&format!(
        "{SWAPS}
         $PROXIFY -- getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{{print $1}}' | sort -u
         grep -q '0x01 169.254.169.254:80' /run/requests && echo asked
         kill $OLD"
    ));
    ran.assert_prints(&["10.0.1.17", "10.0.2.17", "asked"]);
}

/// An enclave whose parent's resolv.conf names another than base + 2, with what tells of it.
fn without_imds(nameservers: &str) -> Sandbox {
    let getter = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/old_getter.py");
    sandbox()
        .env("OLD_GETTER", getter)
        .env("PROXIFY_NAMESERVERS", nameservers)
        .env("PROXIFY_LOG", "info")
}

const OFF_BASE: &str = "
    touch /run/sandbox/imds/off
    $SANDBOX ctl parent sh -c 'printf \"nameserver 127.0.0.53\\nnameserver 169.254.169.253\\nsearch old.example\\n\" > /etc/resolv.conf'\n";

const LOOKUP: &str = "getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{print $1}' | sort -u";

/// The parent's own nameserver, where IMDS does not say and our relay is not there to tell.
#[test]
fn the_nameserver_is_told_by_the_getter() {
    for nameservers in ["auto", "parent"] {
        let ran = without_imds(nameservers).run(&format!(
            "{SWAPS}{GETTER}{OFF_BASE}
             getter
             $PROXIFY -- sh -c '{}; grep search /etc/resolv.conf'
             grep -c 0x01.127.0.0.1:1600 /run/requests
             grep -c GetResolvConf /run/calls
             kill $OLD $GETTER",
            LOOKUP.replace('\'', "'\\''")
        ));
        ran.assert_prints(&["10.0.1.17", "10.0.2.17", "search old.example", "1", "1"]);
        assert_taken(&ran, "the old parent's getter", "169.254.169.253:53");
    }
}

/// A parent without one costs nothing, and one that answers something else its line.
#[test]
fn without_a_getter_the_next_source_is_asked() {
    let answers_http = "import socket
s = socket.create_server((\"127.0.0.1\", 1600))
print(\"listening\", flush=True)
while True:
    c = s.accept()[0]
    c.recv(99)
    c.sendall(b\"HTTP/1.1 400 Bad Request\\r\\n\\r\\n\")";
    let other = format!(
        "$SANDBOX ctl parent python3 -c '{answers_http}' >> /run/calls &
         GETTER=$!
         for attempt in $(seq 200); do grep -q listening /run/calls && break; sleep 0.05; done\n"
    );
    for (getter, why) in [
        ("GETTER=\n", "none that listens at 127.0.0.1:1600"),
        (other.as_str(), "HTTP/2 with 127.0.0.1:1600 failed"),
    ] {
        let ran = without_imds("auto").run(&format!(
            "{SWAPS}{GETTER}{OFF_BASE}{getter}
             $PROXIFY -- {LOOKUP}
             kill $OLD $GETTER"
        ));
        ran.assert_prints(&["10.0.1.17", "10.0.2.17"]);
        let source = "AmazonDNS at 169.254.169.253";
        assert_taken(&ran, source, "169.254.169.253:53");
        let said = ran.stderr();
        let mut lines = said
            .lines()
            .filter(|line| line.contains("source=the old parent's getter"));
        assert!(
            lines.all(|line| line.contains("passed over") && line.contains(why)),
            "{ran}"
        );
        assert!(said.contains(why), "{ran}");
    }
}

#[track_caller]
fn assert_taken(ran: &Ran, source: &str, nameservers: &str) {
    let said = ran.stderr();
    let taken = said
        .lines()
        .filter(|line| line.contains("nameservers taken"));
    let taken: Vec<&str> = taken.collect();
    let expected = format!("source={source} nameservers=[{nameservers}]");
    assert!(
        matches!(taken[..], [line] if line.contains(&expected)),
        "{expected}\n{ran}"
    );
}

/// RESOLV_CONF is closed without a reply, again and again: one line says so.
#[test]
fn a_parent_that_names_no_nameservers_is_asked_on_until_it_is_a_new_one() {
    let ran = sandbox().env("PROXIFY_NAMESERVERS", "parent").run(&format!(
        "{SWAPS}
         $PROXIFY -- sh -c 'touch /run/started; while [ ! -e /run/go ]; do sleep 0.05; done
             $PROBE until 5 ec2.us-east-1.amazonaws.com 10.0.1.17' &
         while [ ! -e /run/started ]; do sleep 0.05; done
         grep -q 0xd1 /run/requests && echo asked
         new
         touch /run/go
         wait $!"
    ));
    ran.assert_prints(&["asked", "10.0.1.17"]);
    for said in [
        "no source has a nameserver yet",
        "does not tell the parent's nameservers",
    ] {
        assert_eq!(ran.stderr().matches(said).count(), 1, "{ran}");
    }
}

/// What the stand-in does that the enclave relies on, so that these tests mean something.
mod stand_in {
    use super::*;

    const REQUEST: Duration = Duration::from_secs(5);

    fn dial() -> UnixStream {
        let dir = std::env::temp_dir();
        let number = u64::from(std::process::id()) << 32
            | u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
        let path = dir.join(format!("old-parent-{number:x}"));
        let listener = UnixListener::bind(&path).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        thread::spawn(move || old_parent::serve(&listener, |_, _| {}));
        stream.set_read_timeout(Some(REQUEST)).unwrap();
        stream
    }

    fn request(command: u8, address: SocketAddr) -> Vec<u8> {
        let SocketAddr::V4(address) = address else {
            panic!("{address} is not IPv4");
        };
        let mut bytes = vec![5, 1, 0, 5, command, 0, 1];
        bytes.extend(address.ip().octets());
        bytes.extend(address.port().to_be_bytes());
        bytes
    }

    fn loopback() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// All that comes until the parent closes.
    fn read_all(stream: &mut UnixStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn connects_at_once_and_a_byte_at_a_time() {
        for size in [usize::MAX, 1] {
            let (listener, address) = loopback();
            let mut stream = dial();
            for bytes in request(1, address).chunks(size) {
                stream.write_all(bytes).unwrap();
            }
            let (mut other, _) = listener.accept().unwrap();
            other.write_all(b"hello").unwrap();
            drop(other);
            let got = read_all(&mut stream);
            assert_eq!(got[..5], [5, 0, 5, 0, 0]);
            assert_eq!(got[12..], *b"hello");
        }
    }

    #[test]
    fn closes_without_a_reply_on_what_it_does_not_know_or_cannot_reach() {
        let (listener, closed) = loopback();
        drop(listener);
        let name = [&[5, 1, 0, 5, 1, 0, 3, 9][..], b"localhost", &[0, 53]].concat();
        let (_listener, open) = loopback();
        for bytes in [
            request(0xD0, open),
            request(0xD1, open),
            request(1, closed),
            name,
        ] {
            let mut stream = dial();
            stream.write_all(&bytes).unwrap();
            let mut got = Vec::new();
            // Closed with bytes unread is a reset, after what came before it.
            let _ = stream.read_to_end(&mut got);
            assert!(got.is_empty() || got == [5, 0], "{got:?}");
        }
    }

    #[test]
    fn binds_and_names_the_peer_as_ipv6() {
        let mut stream = dial();
        stream
            .write_all(&request(2, SocketAddr::from(([0, 0, 0, 0], 0))))
            .unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        let port = u16::from_be_bytes([first[10], first[11]]);
        let other = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut second = [0; 22];
        stream.read_exact(&mut second).unwrap();
        assert_eq!(second[..4], [5, 0, 0, 4]);
        assert_eq!(second[14..20], [0xFF, 0xFF, 127, 0, 0, 1]);
        let own = other.local_addr().unwrap().port();
        assert_eq!(u16::from_be_bytes([second[20], second[21]]), own);
    }
}
