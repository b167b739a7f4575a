//! `--route`: a corporate resolver beside AmazonDNS, whichever of the two the parent names. The
//! corporate one is a real unbound at 10.0.0.1, which knows no private AWS name.

use std::path::PathBuf;

use tests::{Ran, Sandbox, WAIT_FOR, file, sandbox, unbound_conf};

/// Starts the corporate resolver.
const CORPORATE: &str = "
    PROXIFY=$(dirname $SANDBOX)/proxify
    $SANDBOX ctl vpc unbound -d -c $CONFIG &
    UNBOUND=$!
    wait_for 10.0.0.1\n";

fn corporate_resolver(name: &str) -> PathBuf {
    let local = [
        r#"local-zone: "." refuse"#,
        r#"local-zone: "amazonaws.com." static"#,
        r#"local-data: "amazonaws.com. 900 IN SOA ns. host. 1 7200 900 1209600 60""#,
        r#"local-zone: "corp.example." static"#,
        r#"local-data: "corp.example. 900 IN SOA ns. host. 1 7200 900 1209600 60""#,
        r#"local-data: "db.corp.example. 60 IN A 10.0.5.7""#,
        r#"local-data-ptr: "10.0.5.7 db.corp.example""#,
    ];
    file!(name, unbound_conf("10.0.0.1", "10.0.0.0/16", &local))
}

/// An enclave whose script arranges its parent and starts proxify itself.
fn arranged(config: &str) -> Sandbox {
    sandbox!()
        .options(&["--no-proxify", "--no-relay"])
        .env("CONFIG", corporate_resolver(config))
        .env("PROXIFY_RELAY_LOG", "error")
}

#[track_caller]
fn assert_logs(ran: &Ran, line: &str) {
    assert!(ran.stderr().contains(line), "{line}\n{ran}");
}

/// A DHCP option set names a corporate resolver, which denies and refuses what only AmazonDNS knows.
#[test]
fn private_aws_names_resolve_beside_a_corporate_resolver() {
    let ran = arranged("corporate-first.conf").run(&format!(
        "{WAIT_FOR}{CORPORATE}
         $SANDBOX ctl parent sh -c 'echo nameserver 10.0.0.1 > /etc/resolv.conf'
         $SANDBOX ctl relay start
         cat > /run/app.sh <<'END'
getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{{print $1}}' | sort -u
dig +noall +comments +answer kv.kv.internal | grep -o 'status: [A-Z]*'
getent hosts 10.0.1.17 | awk '{{print $2}}'
getent hosts db.corp.example | awk '{{print $1}}'
END
         $PROXIFY -- sh /run/app.sh
         echo and with routes
         export PROXIFY_LOG=warn,proxify=info,stub=debug
         PROXIFY_ROUTE='amazonaws.com=cidr:10.0.0.0/16 1.0.10.in-addr.arpa=10.0.0.2' \\
             $PROXIFY -- sh /run/app.sh
         echo and more of them
         $PROXIFY --route=amazonaws.com=10.0.0.2 --route=internal.=amazon -- sh /run/app.sh
         $PROXIFY --route=internal=amazon --route=Internal.=10.0.0.2 -- sh /run/app.sh
         echo $?
         kill $UNBOUND"
    ));
    ran.assert_prints(&[
        "status: SERVFAIL",
        "10.0.5.7",
        "and with routes",
        "10.0.1.17",
        "10.0.2.17",
        "status: SERVFAIL",
        "ip-10-0-1-17.ec2.internal",
        "10.0.5.7",
        "and more of them",
        "10.0.1.17",
        "10.0.2.17",
        "status: NOERROR",
        "10.0.5.7",
        "64",
    ]);
    assert_logs(&ran, "suffix=amazonaws.com nameservers=[10.0.0.2:53]");
    for (name, route, nameserver) in [
        (
            "ec2.us-east-1.amazonaws.com",
            "amazonaws.com",
            "10.0.0.2:53",
        ),
        (
            "17.1.0.10.in-addr.arpa",
            "1.0.10.in-addr.arpa",
            "10.0.0.2:53",
        ),
        ("kv.kv.internal", "internal", "169.254.169.253:53"),
        ("db.corp.example", ".", "10.0.0.1:53"),
    ] {
        assert_logs(
            &ran,
            &format!("name={name} route={route} nameserver={nameserver}"),
        );
    }
    assert_logs(&ran, "internal has two routes");
}

#[test]
fn a_corporate_zone_resolves_beside_amazon_dns_and_fails_alone() {
    let ran = sandbox!()
        .env("CONFIG", corporate_resolver("corporate-beside.conf"))
        .env(
            "PROXIFY_ROUTE",
            "corp.example=10.0.0.1 5.0.10.in-addr.arpa=10.0.0.1",
        )
        .run(&format!(
            "{WAIT_FOR}{CORPORATE}
             getent hosts DB.Corp.example | awk '{{print $1}}'
             getent hosts 10.0.5.7 | awk '{{print $2}}'
             getent hosts 10.0.1.17 | awk '{{print $2}}'
             dig no.corp.example | grep -o 'status: [A-Z]*'
             dig notcorp.example | grep -o 'status: [A-Z]*'
             kill $UNBOUND; wait $UNBOUND
             dig other.corp.example | grep -o -e 'status: [A-Z]*' -e 'EDE: [0-9]* .*'
             getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{{print $1}}' | sort -u
             awk '{{print $2}}' /run/sandbox/queries | grep 'corp.example.$' | sort -u"
        ));
    ran.assert_prints(&[
        "10.0.5.7",
        "db.corp.example",
        "ip-10-0-1-17.ec2.internal",
        "status: NXDOMAIN",
        "status: NXDOMAIN",
        "status: SERVFAIL",
        "EDE: 23 (Network Error): (10.0.0.1:53 cannot be reached from the parent)",
        "10.0.1.17",
        "10.0.2.17",
        // AmazonDNS is never asked for the other zone's names.
        "notcorp.example.",
    ]);
}

#[test]
fn where_nothing_can_be_discovered_app_does_not_wait_for_it() {
    let ran = arranged("corporate-alone.conf")
        .env("PROXIFY_ROUTE", "corp.example=10.0.0.1")
        .run(&format!(
            "{WAIT_FOR}{CORPORATE}
             $SANDBOX ctl parent sh -c ': > /etc/resolv.conf'
             touch /run/sandbox/imds/off
             touch /run/sandbox/without/169.254.169.253 /run/sandbox/without/fd00:ec2::253
             $SANDBOX ctl relay start
             $PROXIFY -- sh -c \"getent hosts db.corp.example | cut -d ' ' -f 1\"
             kill $UNBOUND"
        ));
    ran.assert_prints(&["10.0.5.7"]);
    assert_logs(&ran, "no source has a nameserver yet");
    assert!(!ran.stderr().contains("going on without"), "{ran}");
}

/// It is connected to the route's nameserver long before.
#[test]
fn app_waits_for_the_nameservers_of_all_other_names() {
    let ran = sandbox!()
        .options(&["--no-proxify", "--no-relay"])
        .env("PROXIFY_ROUTE", "kv.internal=10.0.0.2")
        .env("PROXIFY_LOG", "info")
        .run(
            "$SANDBOX ctl parent sh -c ': > /etc/resolv.conf'
             touch /run/sandbox/imds/hang
             $SANDBOX ctl relay start
             $(dirname $SANDBOX)/proxify -- \
                 grep -o 'nameservers taken source=AmazonDNS' /run/log 2> /run/log",
        );
    ran.assert_prints(&["nameservers taken source=AmazonDNS"]);
}

#[test]
fn a_route_that_the_parent_does_not_let_through_is_told() {
    let ran = sandbox!()
        .env("PROXIFY_ROUTE", "corp.example=10.0.0.1")
        .env("PROXIFY_RELAY_DENY", "10.0.0.1/32")
        .run(
            "dig db.corp.example | grep -o -e 'status: [A-Z]*' -e 'EDE: [0-9]* .*'
             getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{print $1}' | sort -u",
        );
    ran.assert_prints(&[
        "status: SERVFAIL",
        "EDE: 23 (Network Error): (10.0.0.1:53 cannot be reached from the parent)",
        "10.0.1.17",
        "10.0.2.17",
    ]);
    let log = ran.stderr();
    let told = "names of this route that are not cached do not resolve";
    let told: Vec<&str> = log.lines().filter(|line| line.contains(told)).collect();
    assert_eq!(told.len(), 1, "{ran}");
    assert!(
        told[0].contains("route=corp.example nameserver=10.0.0.1:53"),
        "{ran}"
    );
}
