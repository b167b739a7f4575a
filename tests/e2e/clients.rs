//! Names as programs see them: glibc, musl and Rust's own resolver, in an enclave whose VPC is the
//! sandbox's.

use tests::{compile, sandbox};

/// Each case: what is looked up, and the lines that glibc and musl print.
const LOOKUPS: [(&str, &str, &str); 8] = [
    (
        "ec2.us-east-1.amazonaws.com",
        "10.0.1.17 10.0.2.17",
        "10.0.1.17 10.0.2.17",
    ),
    ("chain.kv.internal", "10.0.1.51", "10.0.1.51"),
    (
        "dual.kv.internal",
        "10.0.1.53 fd00:ec2:7::53",
        "10.0.1.53 fd00:ec2:7::53",
    ),
    ("v6only.kv.internal", "fd00:ec2:7::52", "fd00:ec2:7::52"),
    ("no-such-name.kv.internal", "EAI_NONAME", "EAI_NONAME"),
    ("large.kv.internal", "EAI_NODATA", "EAI_NONAME"),
    (
        "-x 10.0.1.17",
        "ip-10-0-1-17.ec2.internal",
        "ip-10-0-1-17.ec2.internal",
    ),
    ("localhost.", "127.0.0.1 ::1", "127.0.0.1 ::1"),
];

fn assert_looks_up(
    client: &std::path::Path,
    expected: impl Fn(&(&str, &'static str, &'static str)) -> &'static str,
) {
    let words: Vec<&str> = LOOKUPS.iter().map(|(what, ..)| *what).collect();
    let script: String = words
        .iter()
        .map(|what| format!("echo $($CLIENT {what})\n"))
        .collect();
    let ran = sandbox!().env("CLIENT", client).run(&script);
    let expected: Vec<&str> = LOOKUPS.iter().map(expected).collect();
    ran.assert_prints(&expected);
}

#[test]
fn glibc() {
    assert_looks_up(&compile!("cc", "lookup.c",), |(_, glibc, _)| glibc);
}

#[test]
fn musl_static() {
    assert_looks_up(
        &compile!("musl-gcc", "lookup.c", "-static"),
        |(_, _, musl)| musl,
    );
}

#[test]
fn getent() {
    let ran = sandbox!().run(
        "getent ahostsv4 sqs.us-east-1.amazonaws.com | awk '{print $1}' | sort -u
         getent hosts 10.0.1.17 | awk '{print $2}'
         getent hosts no-such-name.kv.internal; echo $?",
    );
    let lines = ran.lines();
    assert_eq!(lines.len(), 4, "{ran}");
    assert!(
        lines[0].starts_with("10.0.1.") && lines[1].starts_with("10.0.2."),
        "{ran}"
    );
    assert_eq!(lines[2..], ["ip-10-0-1-17.ec2.internal", "2"], "{ran}");
}

#[test]
fn hickory_resolver() {
    let ran = sandbox!().run("$PROBE hickory ec2.us-east-1.amazonaws.com");
    ran.assert_prints(&["10.0.1.17", "10.0.2.17"]);
}

#[test]
fn both_address_types_at_once_from_one_socket() {
    let ran =
        sandbox!().run("$PROBE both ec2.us-east-1.amazonaws.com.; $PROBE both dual.kv.internal.");
    ran.assert_prints(&[
        "1 NoError [10.0.1.17, 10.0.2.17]",
        "2 NoError []",
        "1 NoError [10.0.1.53]",
        "2 NoError [fd00:ec2:7::53]",
    ]);
}

#[test]
fn a_thousand_askers_of_one_name_cost_one_upstream_packet() {
    let ran = sandbox!().run(
        "$PROBE crowd sqs.us-east-1.amazonaws.com. 1000
         grep -c 'udp sqs.us-east-1.amazonaws.com. A$' /run/sandbox/queries",
    );
    ran.assert_prints(&["1000", "1"]);
}

#[test]
fn a_pipelined_tcp_session() {
    let ran = sandbox!().run("$PROBE pipeline s3.us-east-1.amazonaws.com. 500");
    ran.assert_prints(&["500"]);
}

/// The before and after of creating an endpoint, each to a cache that knows neither.
#[test]
fn an_endpoint_that_goes_away_and_comes_back() {
    let ran = sandbox!()
        .options(&["--no-proxify", "--without-endpoint", "ec2"])
        .run(
            "ec2() {
                 $(dirname $SANDBOX)/proxify getent ahostsv4 ec2.us-east-1.amazonaws.com |
                     grep -q '^10\\.0\\.' && echo private || echo public
             }
             ec2
             rm /run/sandbox/without/ec2; ec2
             touch /run/sandbox/without/ec2; ec2",
        );
    ran.assert_prints(&["public", "private", "public"]);
}
