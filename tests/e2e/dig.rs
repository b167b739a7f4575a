//! The stub as dig sees it, flag by flag.

use tests::{Ran, sandbox};

/// The parts of dig's output, one for each `dig` in the script.
fn digs(arguments: &[&str]) -> (Ran, Vec<String>) {
    let script: String = arguments
        .iter()
        .map(|arguments| format!("dig +nocookie {arguments}; echo ====\n"))
        .collect();
    let ran = sandbox!().run(&script);
    let _ = ran.lines();
    let outputs: Vec<String> = ran.stdout().split("====\n").map(str::to_owned).collect();
    (ran, outputs)
}

#[track_caller]
fn assert_has(output: &str, parts: &[&str]) {
    for part in parts {
        assert!(output.contains(part), "no {part:?} in {output}");
    }
}

#[test]
fn edns_sizes_and_transports() {
    const LARGE: &str = "large.kv.internal TXT";
    let (_, outputs) = digs(&[
        "ec2.us-east-1.amazonaws.com",
        "ec2.us-east-1.amazonaws.com +noedns",
        "ec2.us-east-1.amazonaws.com +tcp",
        "@::1 ec2.us-east-1.amazonaws.com",
        "@::1 ec2.us-east-1.amazonaws.com +tcp",
        &format!("{LARGE} +ignore"),
        &format!("{LARGE} +ignore +bufsize=512"),
        &format!("{LARGE} +ignore +noedns"),
        LARGE,
        &format!("{LARGE} +tcp"),
    ]);
    assert_has(
        &outputs[0],
        &[
            "NOERROR",
            "flags: qr rd ra;",
            "udp: 1232",
            "10.0.1.17",
            "10.0.2.17",
        ],
    );
    assert_has(&outputs[1], &["NOERROR", "flags: qr rd ra;", "10.0.1.17"]);
    assert!(!outputs[1].contains("OPT"), "{}", outputs[1]);
    assert_has(&outputs[2], &["NOERROR", "10.0.1.17", "(TCP)"]);
    assert_has(&outputs[3], &["NOERROR", "10.0.1.17", "::1#53(::1) (UDP)"]);
    assert_has(&outputs[4], &["NOERROR", "10.0.1.17", "::1#53(::1) (TCP)"]);
    for truncated in &outputs[5..8] {
        assert_has(truncated, &["flags: qr tc rd ra;", "ANSWER: 0"]);
    }
    for whole in &outputs[8..10] {
        assert_has(whole, &["flags: qr rd ra;", "ANSWER: 1", "(TCP)"]);
        let size = whole
            .split("rcvd: ")
            .nth(1)
            .and_then(|rest| rest.trim().parse().ok());
        assert!(size > Some(5000), "{whole}");
    }
}

#[test]
fn types_and_flags() {
    let (_, outputs) = digs(&[
        "ec2.us-east-1.amazonaws.com ANY +notcp",
        "unknown.kv.internal TYPE65280",
        "https.kv.internal HTTPS",
        "ec2.us-east-1.amazonaws.com +dnssec +cdflag",
        "ec2.us-east-1.amazonaws.com TYPE249",
        "version.bind CH TXT",
        "v4only.kv.internal AAAA",
        "a.b.no-such-name.kv.internal",
        "EC2.us-EAST-1.amazonaws.com",
        "+ednsopt=65001:aabb ec2.us-east-1.amazonaws.com",
        "+edns=1 +noednsnegotiation ec2.us-east-1.amazonaws.com",
        "+opcode=NOTIFY ec2.us-east-1.amazonaws.com",
        "+header-only",
    ]);
    assert_has(&outputs[0], &["NOERROR", "HINFO", "\"RFC8482\" \"\""]);
    assert_has(&outputs[1], &["TYPE65280", "\\# 6 DEADBEEF0102"]);
    assert_has(&outputs[2], &["HTTPS\t1 . alpn=\"h2,http/1.1\" port=8443"]);
    assert_has(
        &outputs[3],
        &["flags: qr rd ra cd;", "flags: do;", "10.0.1.17"],
    );
    assert_has(&outputs[4], &["REFUSED", "EDE: 21"]);
    assert_has(&outputs[5], &["REFUSED", "EDE: 21"]);
    assert_has(&outputs[6], &["NOERROR", "ANSWER: 0, AUTHORITY: 1", "SOA"]);
    assert_has(&outputs[7], &["NXDOMAIN", "ANSWER: 0, AUTHORITY: 1", "SOA"]);
    assert_has(&outputs[8], &[";EC2.us-EAST-1.amazonaws.com.", "10.0.1.17"]);
    assert!(!outputs[9].contains("OPT=65001"), "{}", outputs[9]);
    assert_has(&outputs[10], &["BADVERS"]);
    assert_has(&outputs[11], &["NOTIMP"]);
    assert_has(&outputs[12], &["FORMERR"]);
}

#[test]
fn ttls_count_down_expire_and_obey_the_shortest_link() {
    let ran = sandbox!().run(
        "ttl() { dig +noall +answer $1 | awk '{print $2}' | tr '\\n' ' '; }
         ttl chain.kv.internal; sleep 2; ttl chain.kv.internal; echo
         ttl short.kv.internal; sleep 2.5; ttl short.kv.internal; echo
         sleep 5; ttl chain.kv.internal; echo
         grep -c 'udp chain.kv.internal. A$' /run/sandbox/queries
         grep -c 'udp short.kv.internal. A$' /run/sandbox/queries",
    );
    let lines = ran.lines();
    let ttls: Vec<u32> = lines[0]
        .split_whitespace()
        .map(|ttl| ttl.parse().unwrap())
        .collect();
    assert_eq!(ttls[..4], [300, 30, 7, 120], "{ran}");
    // Two seconds later, or three where the machine was slow.
    assert!(
        (4..=5).contains(&ttls[6]) && ttls[4] == ttls[6] + 293,
        "{ran}"
    );
    assert_eq!(lines[1].trim(), "2 2", "{ran}");
    assert!(lines[2].starts_with("300 30 7 120"), "{ran}");
    assert_eq!(lines[3..], ["2", "2"], "{ran}");
}

#[test]
fn addresses_take_turns() {
    let ran = sandbox!().run(
        "for turn in 1 2 3 4 5 6; do dig +short ec2.us-east-1.amazonaws.com | head -1; done | sort | uniq -c",
    );
    let lines = ran.lines();
    let counts: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(counts, [["3", "10.0.1.17"], ["3", "10.0.2.17"]], "{ran}");
}
