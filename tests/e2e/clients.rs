//! Names as programs see them beyond what `matrix.rs` asks of each: getent, Rust's own resolver, crowds.

use tests::sandbox;

#[test]
fn getent() {
    let ran = sandbox!().run(
        "getent ahostsv4 sqs.us-east-1.amazonaws.com | awk '{print $1}' | sort -u
         getent hosts 10.0.1.17 | awk '{print $2}'
         getent hosts no-such-name.kv.internal; echo $?
         getent ahosts localhost. | awk '{print $1}' | sort -u",
    );
    let lines = ran.lines();
    assert_eq!(lines.len(), 6, "{ran}");
    assert!(
        lines[0].starts_with("10.0.1.") && lines[1].starts_with("10.0.2."),
        "{ran}"
    );
    assert_eq!(
        lines[2..],
        ["ip-10-0-1-17.ec2.internal", "2", "127.0.0.1", "::1"],
        "{ran}"
    );
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
