//! `--pin`: an endpoint that is lost, or an answer that is forged, leads nobody to the open internet.

use tests::{Ran, WAIT_FOR, file, sandbox, unbound_conf};

const PIN: &str = "amazonaws.com=10.0.0.0/8";

/// What dig says of a name.
const TOLD: &str =
    "told() { dig \"$@\" | grep -o -e 'status: [A-Z]*' -e 'EDE: [0-9]* ([A-Za-z ]*)'; }\n";

#[track_caller]
fn assert_logs_once(ran: &Ran, text: &str) {
    let log = ran.stderr();
    let lines = log.lines().filter(|line| line.contains(text));
    assert_eq!(lines.count(), 1, "{text}\n{ran}");
}

#[test]
fn a_lost_endpoint_fails_and_s3_goes_on() {
    let script = "
        getent hosts ec2.us-east-1.amazonaws.com >/dev/null; echo $?
        getent hosts ec2.us-east-1.amazonaws.com >/dev/null; echo $?
        told ec2.us-east-1.amazonaws.com
        told +tcp ec2.us-east-1.amazonaws.com
        getent ahostsv4 sqs.us-east-1.amazonaws.com | awk '{print $1}' | sort -u
        for name in s3 kv.s3 dynamodb; do
            getent ahostsv4 $name.us-east-1.amazonaws.com | cut -d . -f 1,2 | sort -u
        done";
    let script = &format!("{TOLD}{script}");
    let ran = sandbox!()
        .options(&["--without-endpoint", "ec2"])
        .env("PROXIFY_PIN", PIN)
        .run(script);
    ran.assert_prints(&[
        "2",
        "2",
        "status: SERVFAIL",
        "EDE: 15 (Blocked)",
        "status: SERVFAIL",
        "EDE: 15 (Blocked)",
        "10.0.1.12",
        "10.0.2.12",
        "52.216",
        "52.216",
        "3.218",
    ]);
    assert_logs_once(&ran, "leads out of its pin");
    let log = ran.stderr();
    assert!(
        log.contains("pin=amazonaws.com outside=\"3.218.18"),
        "{ran}"
    );
    assert!(
        !log.contains("ec2.us-east-1"),
        "names are not logged: {ran}"
    );
}

/// Its answers go on for a while as they are; then it is lost, not stale.
#[test]
fn an_endpoint_lost_on_the_way_is_not_given_from_before() {
    let ran = sandbox!().env("PROXIFY_PIN", PIN).run(&format!(
        "{TOLD}
         ttl() {{ dig +noall +answer ec2.us-east-1.amazonaws.com | awk '{{print $2; exit}}'; }}
         ttl > /dev/null
         touch /run/sandbox/without/ec2
         told ec2.us-east-1.amazonaws.com
         for attempt in $(seq 100); do [ -n \"$(ttl)\" ] || break; sleep 1; done
         told ec2.us-east-1.amazonaws.com
         rm /run/sandbox/without/ec2
         for attempt in $(seq 100); do [ -z \"$(ttl)\" ] || break; sleep 0.5; done
         told ec2.us-east-1.amazonaws.com"
    ));
    ran.assert_prints(&[
        "status: NOERROR",
        "status: SERVFAIL",
        "EDE: 15 (Blocked)",
        "status: NOERROR",
    ]);
}

#[test]
fn a_pin_for_s3_holds_s3() {
    let ran = sandbox!()
        .env(
            "PROXIFY_PIN",
            "amazonaws.com=10.0.0.0/8 s3.us-east-1.amazonaws.com=10.0.0.0/16",
        )
        .run(&format!(
            "{TOLD}
             told kv.s3.us-east-1.amazonaws.com
             getent ahostsv4 bucket.vpce-0123456789abcde21-a1b2c3d4.s3.us-east-1.vpce.amazonaws.com \\
                 | awk '{{print $1}}' | sort -u"
        ));
    ran.assert_prints(&[
        "status: SERVFAIL",
        "EDE: 15 (Blocked)",
        "10.0.1.21",
        "10.0.2.21",
    ]);
}

/// A parent that forges everything: each name is at an address of its own, also under the search names
/// that it sends, and in the shapes that lead around a check of A records alone.
#[test]
fn a_hostile_parent_does_not_get_around_it() {
    let config = file!(
        "forging.conf",
        unbound_conf(
            "10.0.0.1",
            "10.0.0.0/16",
            &[
                r#"local-zone: "." redirect"#,
                r#"local-data: ". 60 IN A 6.6.6.6""#,
                r#"local-data: ". 60 IN AAAA ::ffff:6.6.6.6""#,
                r#"local-data: ". 60 IN HTTPS 1 evil.example. ipv4hint=6.6.6.6""#,
                r#"local-data: ". 60 IN SRV 0 0 443 evil.example.""#,
            ],
        ),
    );
    let script = "
        getent hosts ec2.us-east-1.amazonaws.com; echo $?
        getent ahosts ec2.us-east-1.amazonaws.com; echo $?
        for type in A AAAA HTTPS SRV; do told ec2.us-east-1.amazonaws.com $type; done
        grep -e ^search /etc/resolv.conf
        getent hosts free.example | awk '{print $1}' | sort -u | head -1";
    let ran = sandbox!()
        .options(&["--no-proxify", "--no-relay"])
        .env("CONFIG", config)
        .env(
            "PROXIFY_PIN",
            "amazonaws.com=10.0.0.0/8 corp.example=10.0.0.0/8",
        )
        .env("TOLD", TOLD)
        .env("APP", script)
        .run(&format!(
            "{WAIT_FOR}
             $SANDBOX ctl vpc unbound -d -c $CONFIG &
             UNBOUND=$!
             wait_for 10.0.0.1
             $SANDBOX ctl parent sh -c 'printf \"nameserver 10.0.0.1\\nsearch evil.example \
                 s3.us-east-1.amazonaws.com corp.example\\n\" > /etc/resolv.conf'
             $SANDBOX ctl relay start
             $(dirname $SANDBOX)/proxify -- sh -c \"$TOLD$APP\"
             echo without pins
             PROXIFY_PIN= $(dirname $SANDBOX)/proxify -- \\
                 sh -c 'getent ahostsv4 ec2.us-east-1.amazonaws.com | head -1 | cut -d \" \" -f 1'
             kill $UNBOUND"
        ));
    let blocked = ["status: SERVFAIL", "EDE: 15 (Blocked)"];
    let expected = [
        &["2", "2"][..],
        &blocked,
        &blocked,
        &blocked,
        &blocked,
        &[
            "search corp.example",
            "::ffff:6.6.6.6",
            "without pins",
            "6.6.6.6",
        ],
    ]
    .concat();
    ran.assert_prints(&expected);
}
