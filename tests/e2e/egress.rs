//! TCP out of the enclave, as programs see it.

use tests::old_parent::SWAPS;
use tests::{Ran, Sandbox, build, compile, sandbox};

/// Both ways in which connections are carried.
const WAYS: [&str; 2] = ["detour", "redirect"];

/// Starts the services of `tests/clients/services.py` in the VPC.
const SERVICES: &str = "
$SANDBOX ctl vpc python3 $CLIENTS/services.py /run/sandbox/services &
for attempt in $(seq 200); do [ -e /run/sandbox/services ] && break; sleep 0.05; done
fetch() { curl -sS --max-time 20 -o /dev/null -w '%{http_code} %{remote_ip} %{local_ip}\\n' $1; }
";

fn clients(sandbox: Sandbox) -> Sandbox {
    sandbox.env("CLIENTS", concat!(env!("CARGO_MANIFEST_DIR"), "/clients"))
}

/// A script with the services, carried in one way.
fn run(way: &str, script: &str) -> Ran {
    clients(sandbox!())
        .env("PROXIFY_EGRESS", way)
        .run(&format!("{SERVICES}{script}"))
}

/// The same as an image's init that starts `$PROXIFY` itself.
fn init(script: &str) -> Ran {
    clients(sandbox!()).options(&["--no-proxify"]).run(&format!(
        "PROXIFY=$(dirname $SANDBOX)/proxify\n{SERVICES}{script}"
    ))
}

#[test]
fn curl_reaches_the_vpc_by_name_and_by_address() {
    for way in WAYS {
        let ran = run(
            way,
            "fetch http://10.0.1.17:8080/
             curl -sS http://sqs.us-east-1.amazonaws.com:8080/
             fetch http://[fd00:ec2::253]:8080/
             fetch http://169.254.169.254/latest/meta-data/",
        );
        ran.assert_prints(&[
            "200 10.0.1.17 192.0.2.1",
            "ok",
            "200 fd00:ec2::253 fd00::1",
            "401 169.254.169.254 192.0.2.1",
        ]);
    }
}

#[test]
fn every_kind_of_program_has_the_peer_it_asked_for() {
    let programs = [
        compile!("cc", "connect.c",),
        compile!("cc", "connect.c", "-static"),
        compile!("musl-gcc", "connect.c", "-static"),
    ];
    for way in WAYS {
        for program in &programs {
            let ran = clients(sandbox!())
                .env("PROXIFY_EGRESS", way)
                .env("CONNECT", program)
                .run(&format!(
                    "{SERVICES}
                     for options in '' -n; do
                         $CONNECT $options 10.0.1.17 8080
                         $CONNECT $options fd00:ec2::253 8080
                         $CONNECT $options 10.0.1.12 19
                     done"
                ));
            let each = ["peer HTTP/1.0 200", "peer HTTP/1.0 200", "peer hello"];
            let lines = ran.lines();
            let lines: Vec<&str> = lines
                .iter()
                .map(String::as_str)
                .filter(|line| !line.is_empty())
                .collect();
            assert_eq!(lines, [each, each].concat(), "{ran}");
        }
    }
}

/// It makes its system calls itself, and resolves by itself.
#[test]
fn a_static_go_program_goes_out() {
    let [clients, _, program] = build(
        "fetch-go",
        "CGO_ENABLED=0 go build -o $OUT $CLIENTS/fetch.go",
        env!("CARGO_TARGET_TMPDIR"),
    );
    for way in WAYS {
        let ran = sandbox!()
            .env(clients.0, &clients.1)
            .env("FETCH", &program.1)
            .env("PROXIFY_EGRESS", way)
            .run(&format!(
                "{SERVICES}
                 $FETCH v4only.kv.internal:8080
                 $FETCH [fd00:ec2::253]:8080"
            ));
        let peers = [
            "10.0.1.52:8080 HTTP/1.0 200 OK",
            "[fd00:ec2::253]:8080 HTTP/1.0 200 OK",
        ];
        let stdout = ran.stdout();
        let lines: Vec<&str> = stdout
            .lines()
            .map(|line| line.trim_end_matches('\r'))
            .collect();
        assert_eq!(lines, peers, "{ran}");
    }
}

/// Refused, unreachable, and refused by the relay's policy, which IPv4's ICMP has no errno for.
const FAILURES: &str = "
    for options in '' -n; do
        $CONNECT $options 10.0.1.17 81
        $CONNECT $options fd00:ec2::253 81
        $CONNECT $options 10.0.4.99 80
        $CONNECT $options 10.0.0.10 80
        $CONNECT $options fd00:ec2::10 80
    done
    true";

#[test]
fn by_the_detour_connect_fails_as_without_an_enclave() {
    let connect = compile!("musl-gcc", "connect.c", "-static");
    let ran = clients(sandbox!())
        .env("PROXIFY_EGRESS", "detour")
        .env("PROXIFY_LOG", "info")
        .env("CONNECT", connect)
        .run(&format!("{SERVICES}{FAILURES}"));
    let each = [
        "connect ECONNREFUSED",
        "connect ECONNREFUSED",
        "connect EHOSTUNREACH",
        "connect EHOSTUNREACH",
        "connect EACCES",
    ];
    assert_eq!(ran.lines(), [each, each].concat(), "{ran}");
    assert_each_is_logged_once(&ran);
}

#[test]
fn by_redirect_a_connection_that_cannot_be_ends_at_once() {
    let connect = compile!("musl-gcc", "connect.c", "-static");
    let ran = clients(sandbox!())
        .env("PROXIFY_EGRESS", "redirect")
        .env("CONNECT", connect)
        .run(&format!("{SERVICES}{FAILURES}"));
    // The reset may come before connect() has returned.
    let is_reset = |line: &String| line.ends_with(" ECONNRESET");
    let lines = ran.lines();
    assert!(lines.len() == 10 && lines.iter().all(is_reset), "{ran}");
    assert_each_is_logged_once(&ran);
}

/// With destination and reason, though each was tried twice.
fn assert_each_is_logged_once(ran: &Ran) {
    let errors = ran.stderr();
    for (to, why) in [
        ("10.0.1.17:81", "connection refused"),
        ("[fd00:ec2::253]:81", "connection refused"),
        ("10.0.4.99:80", "host unreachable"),
        ("10.0.0.10:80", "not allowed by the relay's policy"),
        ("[fd00:ec2::10]:80", "not allowed by the relay's policy"),
    ] {
        let line = format!("no connection to={to} error=");
        let found: Vec<&str> = errors.lines().filter(|each| each.contains(&line)).collect();
        assert!(found.len() == 1 && found[0].contains(why), "{to}: {ran}");
    }
}

#[test]
fn what_is_local_stays() {
    for way in WAYS {
        // Nothing in the VPC or on the parent listens on port 8000.
        let ran = run(
            way,
            "cd /run && echo mine > page && python3 -m http.server 8000 --bind :: >/dev/null 2>&1 & server=$!
             for attempt in $(seq 200); do curl -s http://[::1]:8000/ >/dev/null && break; sleep 0.05; done
             curl -sS http://[::1]:8000/page
             curl -sS http://[fd00::1]:8000/page
             kill $server
             cd /run && python3 -m http.server 8000 --bind 0.0.0.0 >/dev/null 2>&1 & server=$!
             for attempt in $(seq 200); do curl -s http://127.0.0.1:8000/ >/dev/null && break; sleep 0.05; done
             for ip in 127.0.0.1 127.7.7.7 192.0.2.1; do curl -sS http://$ip:8000/page; done
             kill $server
             curl -sS http://127.0.0.1:81/; echo $?",
        );
        ran.assert_prints(&["mine", "mine", "mine", "mine", "mine", "7"]);
    }
}

#[test]
fn udp_and_icmp_fail_at_once() {
    const SCRIPT: &str = r#"
python3 - <<'END'
import socket, time
began = time.monotonic()
def attempt(family, kind, protocol, to, connected):
    s = socket.socket(family, kind, protocol)
    s.settimeout(10)
    try:
        if connected:
            s.connect(to)
            s.send(b"\x08\x00\xf7\xff\0\0\0\0")
        else:
            s.sendto(b"\x08\x00\xf7\xff\0\0\0\0", to)
        s.recv(100)
        return "answered"
    except TimeoutError:
        return "timed out"
    except OSError:
        return "error"
v4, v6, udp, raw = socket.AF_INET, socket.AF_INET6, socket.SOCK_DGRAM, socket.SOCK_RAW
for connected in (False, True):
    print(attempt(v4, udp, 0, ("10.0.1.17", 123), connected),
          attempt(v6, udp, 0, ("fd00:ec2::253", 123), connected),
          attempt(v4, udp, 0, ("8.8.8.8", 53), connected),
          attempt(v4, raw, 1, ("10.0.1.17", 0), connected),
          attempt(v6, raw, 58, ("fd00:ec2::253", 0), connected))
print(time.monotonic() - began < 5)
END"#;
    for way in WAYS {
        let ran = run(way, SCRIPT);
        let errors = "error error error error error";
        ran.assert_prints(&[errors, errors, "True"]);
    }
}

#[test]
fn half_close_and_a_server_that_speaks_first() {
    const SCRIPT: &str = r#"
python3 - <<'END'
import socket
for host in ("10.0.1.17", "fd00:ec2::253"):
    s = socket.create_connection((host, 9))
    s.sendall(b"x" * 3_000_000)
    s.shutdown(socket.SHUT_WR)
    print(s.makefile().read().strip())
    s = socket.create_connection((host, 19))
    print(s.makefile().readline().strip())
    s = socket.create_connection((host, 7))
    s.sendall(b"y" * 1000)
    s.shutdown(socket.SHUT_WR)
    print(len(s.makefile().read()))
END"#;
    for way in WAYS {
        let each = ["3000000", "hello", "1000"];
        run(way, SCRIPT).assert_prints(&[each, each].concat());
    }
}

#[test]
fn threads_and_forks_and_many_connections_at_once() {
    const SCRIPT: &str = r#"
ulimit -n 4096
python3 - <<'END'
import os, socket, threading
def talk(n):
    with socket.create_connection((f"10.0.{1 + n % 2}.{11 + n % 10}", 7)) as s:
        word = str(n).encode() * 100
        s.sendall(word)
        s.shutdown(socket.SHUT_WR)
        got = s.makefile("rb").read()
        assert got == word, (n, got)
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        failed = []
        threading.excepthook = lambda args: failed.append(args.exc_value)
        threads = [threading.Thread(target=talk, args=(child * 50 + n,)) for n in range(50)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        print(failed, flush=True) if failed else None
        os._exit(bool(failed))
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children])
held = [socket.create_connection(("10.0.1.17", 7)) for n in range(1000)]
for n, s in enumerate(held):
    s.sendall(b"%d\n" % n)
print(all(s.makefile().readline() == f"{n}\n" for n, s in enumerate(held)))
END"#;
    for way in WAYS {
        run(way, SCRIPT).assert_prints(&["[0, 0, 0, 0]", "True"]);
    }
}

#[test]
fn the_relay_killed_and_back() {
    let connect = compile!("musl-gcc", "connect.c", "-static");
    for (way, lost) in [
        ("detour", "connect ENETUNREACH"),
        ("redirect", "then ECONNRESET"),
    ] {
        let ran = clients(sandbox!())
            .env("PROXIFY_EGRESS", way)
            .env("CONNECT", &connect)
            // Where connect() says it, too, it is no warning.
            .env("PROXIFY_LOG", "info")
            .run(&format!(
                "{SERVICES}
                 fetch http://10.0.1.17:8080/
                 $SANDBOX ctl relay kill
                 $CONNECT 10.0.1.17 8080
                 $SANDBOX ctl relay start
                 fetch http://10.0.1.17:8080/"
            ));
        ran.assert_prints(&["200 10.0.1.17 192.0.2.1", lost, "200 10.0.1.17 192.0.2.1"]);
        assert!(
            ran.stderr().contains("is proxify-relay running there?"),
            "{ran}"
        );
    }
}

/// It closes without a reason, which is taken for a refusal.
#[test]
fn behind_an_old_parent() {
    let connect = compile!("musl-gcc", "connect.c", "-static");
    for (way, failed) in [
        ("detour", "connect ECONNREFUSED"),
        ("redirect", "then ECONNRESET"),
    ] {
        let ran = clients(sandbox!())
            .options(&["--no-relay", "--no-proxify"])
            .env("OLD_PARENT", env!("CARGO_BIN_EXE_old-parent"))
            .env("PROXIFY_NAMESERVERS", "cidr:10.0.0.0/16")
            .env("PROXIFY_EGRESS", way)
            .env("CONNECT", &connect)
            .run(&format!(
                "{SWAPS}{SERVICES}
                 $PROXIFY -- sh -c '
                     curl -sS http://sqs.us-east-1.amazonaws.com:8080/
                     curl -sS http://[fd00:ec2::253]:8080/
                     $CONNECT 10.0.1.17 81'
                 kill $OLD %2; true"
            ));
        ran.assert_prints(&["ok", "ok", failed]);
    }
}

/// The parent has a network, and with `--force` keeps it.
#[test]
fn outside_an_enclave_nothing_is_touched() {
    let ran = init(&format!(
        "{STATE}
         echo '{STATE} state' > /run/sandbox/state.sh
         cat > /run/sandbox/host.sh <<'END'
. /run/sandbox/state.sh > /run/before
PROXIFY_PARENT=unix:/run/sandbox/link $(dirname $SANDBOX)/proxify --force --log info --resolv-conf none -- sh -c '
    . /run/sandbox/state.sh > /run/during; curl -sS http://10.0.1.17:8080/'
diff /run/before /run/during && echo same
END
         $SANDBOX ctl parent sh /run/sandbox/host.sh
         kill %1; true"
    ));
    ran.assert_prints(&["ok", "same"]);
    assert!(
        ran.stderr()
            .contains("outside an enclave TCP goes its own way"),
        "{ran}"
    );
}

#[test]
fn a_nameserver_that_is_asked_directly_is_the_stub() {
    for way in WAYS {
        let ran = run(
            way,
            "dig +short @10.0.0.2 v4only.kv.internal
             dig +short +tcp @10.0.0.2 v4only.kv.internal
             dig +short v4only.kv.internal
             grep -c v4only /run/sandbox/queries",
        );
        ran.assert_prints(&["10.0.1.52", "10.0.1.52", "10.0.1.52", "1"]);
    }
}

#[test]
fn only_what_is_allowed() {
    let connect = compile!("musl-gcc", "connect.c", "-static");
    let ran = clients(sandbox!())
        .env("PROXIFY_EGRESS_ALLOW", "10.0.1.0/24:8080,fd00:ec2::/64")
        .env("CONNECT", &connect)
        .run(&format!(
            "{SERVICES}
             $CONNECT 10.0.1.17 8080
             $CONNECT fd00:ec2::253 8080
             $CONNECT 10.0.1.17 19
             $CONNECT 10.0.1.17 19
             $CONNECT 10.0.2.17 80
             dig +short v4only.kv.internal"
        ));
    let lines = ran.lines();
    let lines: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| !line.is_empty())
        .collect();
    let page = "peer HTTP/1.0 200";
    let denied = "connect EHOSTUNREACH";
    assert_eq!(
        lines,
        [page, page, denied, denied, denied, "10.0.1.52"],
        "{ran}"
    );
    let line = "no connection to=10.0.1.17:19 error=--egress-allow permits 10.0.1.0/24:8080, fd00:ec2::/64 only";
    assert_eq!(ran.stderr().matches(line).count(), 1, "{ran}");
}

#[test]
fn off_leaves_everything_as_it_is() {
    let connect = compile!("musl-gcc", "connect.c", "-static");
    let ran = clients(sandbox!())
        .env("PROXIFY_EGRESS", "off")
        .env("CONNECT", &connect)
        .run(
            "$CONNECT 10.0.1.17 8080
             ip route; ip -o link | wc -l; cat /proc/net/ip_tables_names
             dig +short v4only.kv.internal",
        );
    ran.assert_prints(&["connect ENETUNREACH", "1", "10.0.1.52"]);
}

/// What stands in the tables and routes, without the counters of packets.
const STATE: &str = "
state() { { iptables-legacy-save; ip6tables-legacy-save; } | sed -e '/^#/d' -e 's/\\[.*\\]//' | sort
          ip route; ip -6 route | grep -v 'fd00::1\\|^fe80'; ip -o link | wc -l; }
";

#[test]
fn rules_of_the_image_stay_and_ours_go() {
    for way in WAYS {
        let ran = init(&format!(
            "{STATE}
             ip link set lo up
             iptables-legacy -t nat -A OUTPUT -p tcp -d 10.9.9.9 --dport 80 -j REDIRECT --to-ports 8000
             iptables-legacy -t nat -N other; iptables-legacy -t nat -A other -p udp -j RETURN
             iptables-legacy -t nat -A OUTPUT -j other; iptables-legacy -t nat -A OUTPUT
             iptables-legacy -t filter -A OUTPUT -p tcp -d 10.0.2.17 -j REJECT
             ip6tables-legacy -t filter -A INPUT -p tcp --dport 22 -j DROP
             # The tables are all made before they are compared.
             for table in nat filter; do ip6tables-legacy -t $table -L -n >/dev/null; done
             state > /run/before
             python3 -m http.server 8000 --bind 127.0.0.1 --directory /run >/dev/null 2>&1 &
             for attempt in $(seq 200); do curl -s http://127.0.0.1:8000/ >/dev/null && break; sleep 0.05; done
             $PROXIFY --egress {way} -- sh -c '
                 curl -sS -o /dev/null -w \"%{{http_code}} \" http://10.0.1.17:8080/
                 curl -sS -o /dev/null -w \"%{{http_code}}\" http://10.9.9.9/
                 echo
                 iptables-legacy-save | grep -c proxify'
             state > /run/after
             diff /run/before /run/after && echo same
             kill %1 %2; true"
        ));
        let lines = ran.lines();
        assert_eq!(lines[0], "200 200", "{ran}");
        assert!(lines[1].parse::<u32>().unwrap() > 4, "{ran}");
        assert_eq!(lines[2..], ["same"], "{ran}");
    }
}

#[test]
fn the_next_proxify_takes_over_from_one_that_was_killed() {
    for way in WAYS {
        let ran = init(&format!(
            "{STATE}
             export PROXIFY_EGRESS={way}
             fetches() {{ curl -s --max-time 1 http://10.0.1.17:8080/; }}
             $PROXIFY -- sleep 1000 & first=$!
             for attempt in $(seq 200); do fetches >/dev/null && break; sleep 0.05; done
             $PROXIFY -- sh -c 'until [ -e /run/end ]; do sleep 0.05; done' & second=$!
             sleep 0.5
             kill -9 $first; wait $first 2>/dev/null
             sleep 1
             fetches
             touch /run/end; wait $second
             state | grep -e proxify -e ^0.0.0.0 -e ^default
             # One that was killed without a successor.
             $PROXIFY -- sleep 1000 & third=$!
             for attempt in $(seq 200); do fetches >/dev/null && break; sleep 0.05; done
             kill -9 $third; wait $third 2>/dev/null
             $PROXIFY -- curl -sS http://10.0.1.17:8080/
             $PROXIFY --egress off -- sh -c 'curl -s http://10.0.1.17:8080/; echo $?'
             state | grep -e proxify -e ^0.0.0.0 -e ^default
             kill %1; true"
        ));
        ran.assert_prints(&["ok", "ok", "7"]);
    }
}

#[test]
fn what_is_missing_is_said() {
    let ran = init(
        "mount --bind /dev/null /dev/net/tun
         $PROXIFY --egress detour -- true; echo $?
         $PROXIFY --log info -- curl -sS http://10.0.1.17:8080/
         $PROXIFY -- true
         setpriv --bounding-set -net_admin --inh-caps -net_admin $PROXIFY --egress redirect -- true; echo $?
         setpriv --bounding-set -net_admin --inh-caps -net_admin $PROXIFY -- dig +short v4only.kv.internal
         kill %1; true",
    );
    ran.assert_prints(&["69", "ok", "69", "10.0.1.52"]);
    let errors = ran.stderr();
    for word in [
        "cannot make the device proxify0",
        "redirecting instead",
        "CAP_NET_ADMIN",
        "TCP is not carried",
    ] {
        assert!(errors.contains(word), "{word}: {ran}");
    }
}
