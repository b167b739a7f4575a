//! The relay comes late, dies and comes back.

use tests::sandbox;

#[test]
fn the_relay_killed_and_started_again_while_lookups_run() {
    let ran = sandbox!().run(
        "getent ahostsv4 ec2.us-east-1.amazonaws.com >/dev/null
         $PROBE watch /run/stop ec2.us-east-1.amazonaws.com=10.0.1.17 &
         watch=$!
         for round in 1 2 3; do
             $SANDBOX ctl relay kill
             getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{print $1}' | sort -u | head -1
             $SANDBOX ctl relay start
             timeout 3 getent ahostsv4 bucket-$round.s3.us-east-1.amazonaws.com >/dev/null && echo right again
         done
         touch /run/stop
         wait $watch && echo no lookup failed",
    );
    ran.assert_prints(&[
        "10.0.1.17",
        "right again",
        "10.0.1.17",
        "right again",
        "10.0.1.17",
        "right again",
        "right",
        "no lookup failed",
    ]);
}

#[test]
fn stale_answers_while_the_relay_is_away() {
    let ran = sandbox!().run(
        "dig +short short.kv.internal
         $SANDBOX ctl relay kill
         sleep 2.1
         dig short.kv.internal | grep -e '^short' -e EDE
         $SANDBOX ctl relay start
         sleep 1
         dig short.kv.internal | grep -e '^short' -e EDE",
    );
    let lines = ran.lines();
    let words: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words[0], ["10.0.1.54"], "{ran}");
    assert_eq!(lines[1], "; EDE: 3 (Stale Answer)", "{ran}");
    assert_eq!(
        words[2],
        ["short.kv.internal.", "30", "IN", "A", "10.0.1.54"],
        "{ran}"
    );
    // Fetched when the relay came back, and so a second old at the most.
    assert!(["1", "2"].contains(&words[3][1]), "{ran}");
    assert_eq!(lines.len(), 4, "{ran}");
}

#[test]
fn a_relay_that_starts_ten_seconds_after_the_enclave() {
    let ran = sandbox!().options(&["--no-relay"]).run(
        "# proxify has waited 5 s for an upstream before this script started.
         sleep 5
         $SANDBOX ctl relay start
         timeout 3 getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{print $1}' | sort -u",
    );
    ran.assert_prints(&["10.0.1.17", "10.0.2.17"]);
    assert!(ran.stderr().contains("WARN"), "{ran}");
}

#[test]
fn a_name_asked_while_there_is_no_relay_fails_in_time_and_says_why() {
    let ran = sandbox!().run(
        "getent hosts ec2.us-east-1.amazonaws.com >/dev/null
         $SANDBOX ctl relay kill
         dig +time=5 +tries=1 sqs.us-east-1.amazonaws.com | grep -e status: -e EDE",
    );
    let lines = ran.lines();
    assert!(lines[0].contains("status: SERVFAIL"), "{ran}");
    assert_eq!(
        lines[1], "; EDE: 23 (Network Error): (no connection to the parent)",
        "{ran}"
    );
}

#[test]
fn the_search_list_is_the_parents() {
    let ran = sandbox!().run(
        "$SANDBOX ctl parent sh -c 'printf \"search kv.internal\\nnameserver 10.0.0.2\\noptions ndots:5 use-vc\\n\" > /etc/resolv.conf'
         for attempt in $(seq 50); do getent hosts v4only >/dev/null && break; sleep 0.1; done
         getent ahostsv4 v4only | awk '{print $1}' | sort -u
         grep -c -e use-vc -e 'ndots:5' /etc/resolv.conf
         grep ^nameserver /etc/resolv.conf",
    );
    ran.assert_prints(&["10.0.1.52", "0", "nameserver 127.0.0.1"]);
}
