//! Real nameservers at the VPC's base + 2, in VPCs other than 10.0.0.0/16.

use tests::{WAIT_FOR, file, sandbox, unbound_conf};

#[test]
fn unbound_in_10_7() {
    let local = [
        r#"local-zone: "amazonaws.com." static"#,
        r#"local-data: "amazonaws.com. 900 IN SOA ns. host. 1 7200 900 1209600 60""#,
        r#"local-data: "ec2.us-east-1.amazonaws.com. 60 IN A 10.7.1.17""#,
        r#"local-data: "ec2.us-east-1.amazonaws.com. 60 IN A 10.7.2.17""#,
        r#"local-data: "alias.amazonaws.com. 60 IN CNAME ec2.us-east-1.amazonaws.com.""#,
        r#"local-data-ptr: "10.7.1.17 ip-10-7-1-17.ec2.internal""#,
    ];
    let config = file!(
        "unbound.conf",
        unbound_conf("10.7.0.2", "10.7.0.0/16", &local)
    );
    let ran = sandbox!()
        .options(&["--vpc-cidr", "10.7.0.0/16", "--resolver", "none"])
        .env("CONFIG", config)
        .run(&format!(
            "{WAIT_FOR}
             $SANDBOX ctl vpc unbound -d -c $CONFIG &
             wait_for 10.7.0.2
             cat /etc/resolv.conf | grep -v '^#'
             getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{{print $1}}' | sort -u
             getent hosts no-such.amazonaws.com; echo $?
             getent hosts 10.7.1.17 | awk '{{print $2}}'
             dig +short alias.amazonaws.com CNAME
             kill $!"
        ));
    let lines = ran.lines();
    assert_eq!(lines[0], "nameserver 127.0.0.1", "{ran}");
    let found = lines
        .iter()
        .position(|line| line == "10.7.1.17")
        .unwrap_or_else(|| panic!("{ran}"));
    assert_eq!(
        lines[found..],
        [
            "10.7.1.17",
            "10.7.2.17",
            "2",
            "ip-10-7-1-17.ec2.internal",
            "ec2.us-east-1.amazonaws.com."
        ],
        "{ran}"
    );
}

#[test]
fn nsd_in_172_31() {
    let zone = file!(
        "amazonaws.zone",
        "$ORIGIN amazonaws.com.
$TTL 60
@ IN SOA ns host 1 7200 900 1209600 30
@ IN NS ns
ns IN A 172.31.0.2
ec2.us-east-1 IN A 172.31.1.17
ec2.us-east-1 IN A 172.31.2.17
big IN TXT \"0123456789012345678901234567890123456789012345678901234567890123456789\"
raw IN TYPE65280 \\# 3 010203
",
    );
    let config = file!(
        "nsd.conf",
        &format!(
            r#"
server:
    ip-address: 172.31.0.2
    username: ""
    zonesdir: ""
    database: ""
    pidfile: ""
    xfrdfile: ""
    zonelistfile: "/tmp/proxify-test-nsd.zones"
    server-count: 1
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: amazonaws.com
    zonefile: {}
"#,
            zone.display()
        ),
    );
    let ran = sandbox!()
        .options(&["--vpc-cidr", "172.31.0.0/16", "--resolver", "none"])
        .env("CONFIG", config)
        .run(&format!(
            "{WAIT_FOR}
             $SANDBOX ctl vpc nsd -d -c $CONFIG &
             wait_for 172.31.0.2
             getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{{print $1}}' | sort -u
             dig +short raw.amazonaws.com TYPE65280
             dig no-such.amazonaws.com | grep -c 'status: NXDOMAIN.*'
             dig other.example | grep -o 'status: [A-Z]*'
             dig other.example | grep -o 'EDE: [0-9]*.*'
             kill $!"
        ));
    ran.assert_prints(&[
        "172.31.1.17",
        "172.31.2.17",
        "\\# 3 010203",
        "1",
        "status: SERVFAIL",
        "EDE: 13 (Cached Error): (172.31.0.2:53 answered REFUSED)",
    ]);
}

/// No lookup fails and nothing is flushed: the VPC's resolver moves while names are looked up.
#[test]
fn a_change_of_nameserver_on_the_parent_is_in_effect_within_five_seconds() {
    let local = [
        r#"local-zone: "amazonaws.com." static"#,
        r#"local-data: "ec2.us-east-1.amazonaws.com. 60 IN A 10.0.9.9""#,
        r#"local-data: "sqs.us-east-1.amazonaws.com. 60 IN A 10.0.9.10""#,
    ];
    let config = file!(
        "unbound-moved.conf",
        unbound_conf("10.0.0.1", "10.0.0.0/16", &local)
    );
    let ran = sandbox!().env("CONFIG", config).run(&format!(
        "{WAIT_FOR}
         $SANDBOX ctl vpc unbound -d -c $CONFIG &
         unbound=$!
         wait_for 10.0.0.1
         $PROBE watch /run/stop ec2.us-east-1.amazonaws.com=10.0.1.17,10.0.9.9 &
         watch=$!
         getent ahostsv4 sqs.us-east-1.amazonaws.com >/dev/null
         $SANDBOX ctl parent sh -c 'echo nameserver 10.0.0.1 > /etc/resolv.conf'
         $PROBE until 5 ec2.us-east-1.amazonaws.com 10.0.9.9
         $PROBE until 1 sqs.us-east-1.amazonaws.com 10.0.9.10
         touch /run/stop
         wait $watch && echo no lookup failed
         kill $unbound"
    ));
    ran.assert_prints(&["10.0.9.9", "10.0.9.10", "right", "no lookup failed"]);
}
