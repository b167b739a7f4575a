use super::*;

/// The parent's own addresses in these tests.
const OWN: [&str; 3] = ["10.0.3.7", "2001:db8::7", "fe80::7"];

fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Policy {
        allow: rules(allow),
        deny: rules(deny),
    }
}

fn judge(policy: &Policy, to: &str) -> Result<(), Denied> {
    let own: Vec<IpAddr> = OWN.iter().map(|ip| ip.parse().unwrap()).collect();
    policy.judge(to.parse().unwrap(), &own)
}

#[test]
fn the_default_is_everything_but_the_parent_itself() {
    let policy = policy(&[], &[]);
    for open in [
        "10.0.0.2:53",
        "192.0.2.1:443",
        "[2001:db8::8]:443",
        "169.254.169.254:80",
    ] {
        assert_eq!(judge(&policy, open), Ok(()), "{open}");
    }
    for parent in [
        "127.0.0.1:22",
        "127.8.8.8:22",
        "[::1]:22",
        "0.0.0.0:22",
        "[::]:22",
        "10.0.3.7:22",
        "[2001:db8::7]:22",
        "[fe80::7]:22",
    ] {
        assert_eq!(judge(&policy, parent), Err(Denied::Parent), "{parent}");
    }
    for mapped in ["[::ffff:127.0.0.1]:22", "[::ffff:192.0.2.1]:443"] {
        assert_eq!(judge(&policy, mapped), Err(Denied::Mapped), "{mapped}");
    }
}

#[test]
fn an_ipv4_address_behind_nat64_is_judged_as_that_address_too() {
    let open = policy(&[], &[]);
    assert_eq!(judge(&open, "[64:ff9b::192.0.2.1]:443"), Ok(()));
    for parent in ["[64:ff9b::127.0.0.1]:22", "[64:ff9b::10.0.3.7]:22"] {
        assert_eq!(judge(&open, parent), Err(Denied::Parent), "{parent}");
    }
    let denying = policy(&[], &["192.0.2.0/24"]);
    assert!(matches!(
        judge(&denying, "[64:ff9b::192.0.2.1]:443"),
        Err(Denied::Rule(_))
    ));
    let allowing = policy(&["192.0.2.0/24"], &[]);
    assert_eq!(
        judge(&allowing, "[64:ff9b::192.0.2.1]:443"),
        Err(Denied::NotAllowed)
    );
}

#[test]
fn an_address_of_many_hosts_is_refused_whatever_is_allowed() {
    for rules in [&[][..], &["0.0.0.0/0", "::/0"]] {
        let policy = policy(rules, &[]);
        for group in [
            "224.0.0.251:5353",
            "255.255.255.255:67",
            "[ff01::1]:53",
            "[ff02::1:2]:547",
            "[64:ff9b::224.0.0.251]:5353",
        ] {
            assert_eq!(judge(&policy, group), Err(Denied::Group), "{group}");
        }
    }
}

#[test]
fn deny_closes_an_address_a_network_or_a_port() {
    let policy = policy(
        &[],
        &[
            "169.254.169.254/32",
            "192.0.2.0/24:25",
            "[2001:db8::]/32:25",
        ],
    );
    assert!(matches!(
        judge(&policy, "169.254.169.254:80"),
        Err(Denied::Rule(_))
    ));
    assert!(matches!(
        judge(&policy, "192.0.2.9:25"),
        Err(Denied::Rule(_))
    ));
    assert!(matches!(
        judge(&policy, "[2001:db8::9]:25"),
        Err(Denied::Rule(_))
    ));
    assert_eq!(judge(&policy, "192.0.2.9:443"), Ok(()));
    assert_eq!(judge(&policy, "[2001:db8::9]:443"), Ok(()));
    assert_eq!(judge(&policy, "169.254.169.253:53"), Ok(()));
}

#[test]
fn deny_wins_over_allow_and_sees_through_a_mapped_address() {
    let policy = policy(&["192.0.2.0/24", "::ffff:192.0.2.0/120"], &["192.0.2.1/32"]);
    assert!(matches!(
        judge(&policy, "192.0.2.1:80"),
        Err(Denied::Rule(_))
    ));
    assert!(matches!(
        judge(&policy, "[::ffff:192.0.2.1]:80"),
        Err(Denied::Rule(_))
    ));
    assert_eq!(judge(&policy, "[::ffff:192.0.2.2]:80"), Ok(()));
}

#[test]
fn with_an_allow_what_none_of_them_names_is_closed() {
    let policy = policy(&["10.0.0.0/16", "192.0.2.1:443"], &[]);
    assert_eq!(judge(&policy, "10.0.0.2:53"), Ok(()));
    assert_eq!(judge(&policy, "192.0.2.1:443"), Ok(()));
    assert_eq!(judge(&policy, "192.0.2.1:80"), Err(Denied::NotAllowed));
    assert_eq!(
        judge(&policy, "169.254.169.254:80"),
        Err(Denied::NotAllowed)
    );
}

#[test]
fn a_range_never_opens_the_parent_and_a_rule_on_it_alone_does() {
    let ranges = policy(&["0.0.0.0/0", "::/0", "10.0.0.0/16"], &[]);
    for parent in [
        "127.0.0.1:22",
        "[::1]:22",
        "0.0.0.0:22",
        "10.0.3.7:22",
        "[2001:db8::7]:22",
    ] {
        assert_eq!(judge(&ranges, parent), Err(Denied::Parent), "{parent}");
    }
    assert_eq!(judge(&ranges, "[::ffff:127.0.0.1]:22"), Err(Denied::Mapped));
    let mapped = policy(&["::ffff:0:0/96"], &[]);
    assert_eq!(judge(&mapped, "[::ffff:127.0.0.1]:22"), Err(Denied::Parent));
    assert_eq!(judge(&mapped, "[::ffff:192.0.2.1]:22"), Ok(()));

    let named = policy(&["127.0.0.0/8", "::1", "10.0.3.7:8125", "2001:db8::7"], &[]);
    for parent in [
        "127.0.0.1:22",
        "127.9.9.9:1",
        "[::1]:22",
        "10.0.3.7:8125",
        "[2001:db8::7]:1",
    ] {
        assert_eq!(judge(&named, parent), Ok(()), "{parent}");
    }
    assert_eq!(judge(&named, "10.0.3.7:22"), Err(Denied::Parent));
}

#[test]
fn the_parents_own_addresses_include_loopback() {
    let own = own_addresses().unwrap();
    assert!(own.iter().any(IpAddr::is_loopback), "{own:?}");
}
