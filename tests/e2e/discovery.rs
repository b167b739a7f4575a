//! Where the nameservers come from: each source when all before it fail, as proxify's log has it.

use tests::{Ran, Sandbox, sandbox};

/// Before the relay reads it for the first time.
const PARENT_HAS_NONE: &str = "$SANDBOX ctl parent sh -c ': > /etc/resolv.conf'\n";

/// The relay and proxify, started by the script once it has arranged the parent.
const START_RELAY: &str = "$SANDBOX ctl relay start; PROXIFY=$(dirname $SANDBOX)/proxify\n";

const LOOKUP: &str = "getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{print $1}' | sort -u";

const NO_IMDS: &str = "touch /run/sandbox/imds/off\n";

fn quiet() -> Sandbox {
    sandbox!()
        .options(&["--no-proxify", "--no-relay", "--vpc-cidr", "10.7.0.0/16"])
        .env("PROXIFY_LOG", "info")
        .env("PROXIFY_RELAY_LOG", "error")
}

/// Looks a name up under proxify after `arranged`, and gives what proxify logged.
fn look_up(arranged: &str) -> Ran {
    let ran = quiet().run(&format!(
        "{arranged}{START_RELAY}$PROXIFY -- sh -c \"{}\"",
        LOOKUP.replace('$', "\\$")
    ));
    ran.assert_prints(&["10.7.1.17", "10.7.2.17"]);
    ran
}

/// The log lines of each source in their order: what was taken, and what was passed over.
#[track_caller]
fn assert_taken(ran: &Ran, source: &str, nameservers: &str) {
    let log = ran.stderr();
    let taken: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("nameservers taken"))
        .collect();
    let expected = format!("source={source} nameservers=[{nameservers}]");
    assert_eq!(taken.len(), 1, "{ran}");
    assert!(taken[0].contains(&expected), "{expected}\n{ran}");
}

#[track_caller]
fn assert_passed_over(ran: &Ran, source: &str, why: &str) {
    let log = ran.stderr();
    let lines = log
        .lines()
        .filter(|line| line.contains(&format!("passed over source={source} why=")));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 1, "{source}: one line\n{ran}");
    assert!(lines[0].contains(why), "{why}\n{ran}");
}

#[test]
fn the_command_line() {
    for (nameservers, taken) in [
        ("cidr:10.7.0.0/16", "10.7.0.2:53"),
        ("amazon", "169.254.169.253:53, [fd00:ec2::253]:53"),
    ] {
        let arranged = format!("export PROXIFY_NAMESERVERS={nameservers}\n");
        assert_taken(&look_up(&arranged), "the command line", taken);
    }
}

#[test]
fn the_override_file() {
    let ran = look_up("echo 'nameserver 169.254.169.253' > /etc/resolv_override.conf\n");
    assert_taken(&ran, "the override file", "169.254.169.253:53");
}

#[test]
fn the_parents_resolv_conf() {
    let ran = look_up("");
    assert_taken(&ran, "the parent's resolv.conf", "10.7.0.2:53");
    assert_passed_over(&ran, "the override file", "there is none");
}

#[test]
fn imds_names_the_primary_block_of_the_primary_interface() {
    let ran = look_up(PARENT_HAS_NONE);
    assert_taken(&ran, "IMDS", "10.7.0.2:53");
    assert_passed_over(&ran, "the parent's resolv.conf", "knows no nameserver");
    let why = "only an old parent has one, and the relay knows no nameserver";
    assert_passed_over(&ran, "the old parent's getter", why);
    let alone = look_up("export PROXIFY_NAMESERVERS=imds\n");
    assert_taken(&alone, "IMDS", "10.7.0.2:53");
}

#[test]
fn an_imds_that_fails_is_passed_over_with_one_line() {
    for (fault, why) in [
        ("off", "closed before the end"),
        ("hang", "hung for 1 s"),
        ("401", "the status is 401"),
        ("404", "the status is 404"),
        ("redirect", "the status is 302"),
        ("html", "not one word"),
        ("huge", "the body is longer"),
        ("nul", "not one word"),
        ("garbage", "not a VPC's IPv4 block"),
        ("small", "/30 is the least"),
    ] {
        let ran = look_up(&format!(
            "{PARENT_HAS_NONE}touch /run/sandbox/imds/{fault}
             rm -f /etc/resolv.conf; echo 'nameserver 10.7.0.2' > /etc/resolv.conf\n"
        ));
        assert_taken(&ran, "the image's resolv.conf", "10.7.0.2:53");
        assert_passed_over(&ran, "IMDS", why);
    }
}

#[test]
fn the_images_resolv_conf() {
    let ran = look_up(&format!(
        "{PARENT_HAS_NONE}{NO_IMDS}
         rm -f /etc/resolv.conf
         printf 'nameserver 127.0.0.1\nnameserver 10.7.0.2\n' > /etc/resolv.conf\n"
    ));
    assert_taken(&ran, "the image's resolv.conf", "10.7.0.2:53");
}

#[test]
fn amazon_dns_at_its_link_local_address() {
    let ran = look_up(&format!(
        "{PARENT_HAS_NONE}{NO_IMDS}
         rm -f /etc/resolv.conf; echo 'nameserver 127.0.0.1' > /etc/resolv.conf\n"
    ));
    let source = "AmazonDNS at 169.254.169.253";
    assert_taken(&ran, source, "169.254.169.253:53");
    let image = "the image's resolv.conf";
    assert_passed_over(&ran, image, "it names no nameserver");
}

#[test]
fn amazon_dns_at_its_ipv6_address() {
    let ran = look_up(&format!(
        "{PARENT_HAS_NONE}{NO_IMDS}touch /run/sandbox/without/169.254.169.253\n"
    ));
    let source = "AmazonDNS at fd00:ec2::253";
    assert_taken(&ran, source, "[fd00:ec2::253]:53");
    assert_passed_over(&ran, "AmazonDNS at 169.254.169.253", "hung for 1 s");
    assert_passed_over(&ran, "the image's resolv.conf", "there is none");
}

#[test]
fn better_sources_are_taken_up_while_app_runs() {
    let wait = |source: &str| {
        format!(
            "for attempt in $(seq 100); do
                 grep -q 'nameservers taken source={source}' /run/log && break; sleep 0.1
             done\n"
        )
    };
    let ran = quiet().run(&format!(
        "{PARENT_HAS_NONE}{NO_IMDS}{START_RELAY}
         $PROXIFY dns 2> /run/log &
         {}rm /run/sandbox/imds/off
         {}$SANDBOX ctl parent sh -c 'echo nameserver 10.7.0.2 > /etc/resolv.conf'
         {}echo 'nameserver 169.254.169.253' > /etc/resolv_override.conf
         {}rm /etc/resolv_override.conf
         for attempt in $(seq 100); do
             [ $(grep -c 'taken source=the parent' /run/log) = 2 ] && break; sleep 0.1
         done
         {LOOKUP}
         sed -n 's/.*nameservers taken source=\\(.*\\) nameservers=.*/\\1/p' /run/log
         kill $!",
        wait("AmazonDNS at 169"),
        wait("IMDS"),
        wait("the parent"),
        wait("the override"),
    ));
    ran.assert_prints(&[
        "10.7.1.17",
        "10.7.2.17",
        "AmazonDNS at 169.254.169.253",
        "IMDS",
        "the parent's resolv.conf",
        "the override file",
        "the parent's resolv.conf",
    ]);
}
