//! More is asked than AmazonDNS takes in a second.

use tests::sandbox;

/// 5,000 new names a second: upstream sees no more than 900 packets in any second, what does not fit is
/// refused at once, and names that are asked for all the time do not notice. One of them has a
/// TTL of 2 s and expires meanwhile.
#[test]
fn a_storm_of_new_names() {
    let ran = sandbox!().run(
        "$PROBE storm 5000 6 900 /run/sandbox/queries \\
             ec2.us-east-1.amazonaws.com. sqs.us-east-1.amazonaws.com. short.kv.internal.
         dig +short after.kv.internal A; dig after.kv.internal | grep -o 'status: [A-Z]*'
         getent hosts kv.kv.internal >/dev/null && echo new names resolve again",
    );
    ran.assert_prints(&[
        "all names answered",
        "hot names served",
        "upstream within 900 packets a second",
        "status: NXDOMAIN",
        "new names resolve again",
    ]);
}

/// The enclave asks for more than the relay lets through: it says why, and remembers nothing.
#[test]
fn the_relays_quota_is_told_as_what_it_is() {
    let ran = sandbox!()
        .env("PROXIFY_UPSTREAM_PPS", "0")
        .env("PROXIFY_RELAY_UPSTREAM_PPS", "10")
        .run(
            "dig short.kv.internal | grep -c EDE
             for n in $(seq 30); do dig n$n.kv.internal > /run/$n & done; wait
             cat /run/[1-9]* | grep -q 'EDE: 32: (more names are asked for' && echo over the quota
             sleep 1; dig n1.kv.internal | grep -o 'status: [A-Z]*'",
        );
    ran.assert_prints(&["0", "over the quota", "status: NXDOMAIN"]);
}

/// Its TTL is 2 s, so a refresh begins in one of the windows of 200 ms each.
#[test]
fn a_name_that_is_asked_for_again_is_refreshed_before_it_expires() {
    let ran = sandbox!().env("PROXIFY_LOG", "stub=info").run(
        "end=$(($(date +%s) + 7))
         while [ $(date +%s) -lt $end ]; do dig +short short.kv.internal; done | sort -u",
    );
    ran.assert_prints(&["10.0.1.54"]);
    let log = ran.stderr();
    let counters = log.lines().find(|line| line.contains("stub ends"));
    let counters = counters.unwrap_or_else(|| panic!("no counters\n{ran}"));
    assert!(!counters.contains("prefetches: 0,"), "{counters}");
}
