use super::*;

#[test]
fn a_rule_matches_its_network_and_its_port() {
    for (rule, matching, other) in [
        ("192.0.2.0/24", "192.0.2.255:1", "192.0.3.0:1"),
        ("192.0.2.0/24:25", "192.0.2.9:25", "192.0.2.9:26"),
        ("192.0.2.1", "192.0.2.1:443", "192.0.2.2:443"),
        ("2001:db8::/32", "[2001:db8:ffff::1]:1", "[2001:db9::]:1"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443", "[2001:db8::1]:80"),
        ("0.0.0.0/0", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"),
    ] {
        let rule: Rule = rule.parse().unwrap();
        assert!(rule.matches(matching.parse().unwrap()), "{rule}");
        assert!(!rule.matches(other.parse().unwrap()), "{rule}");
    }
}

#[test]
fn rules_read_back_as_written() {
    for (text, canonical) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/8:443", "10.0.0.0/8:443"),
        ("10.0.1.17", "10.0.1.17/32"),
        ("10.0.1.17:443", "10.0.1.17/32:443"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::/32:443", "[2001:db8::]/32:443"),
        ("[2001:db8::]/32", "2001:db8::/32"),
        ("[2001:db8::]/32:443", "[2001:db8::]/32:443"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("[2001:db8::1]:443", "[2001:db8::1]/128:443"),
        ("::ffff:0:0/96", "::ffff:0:0/96"),
    ] {
        let rule: Rule = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
        assert_eq!(rule, canonical.parse().unwrap(), "{text}");
    }
}

#[test]
fn what_is_no_rule_is_refused_with_what_to_write() {
    for (text, hint) in [
        ("", "is not CIDR[:PORT]"),
        ("example.com", "is not CIDR[:PORT]"),
        ("10.0.0.0/33", "is not CIDR[:PORT]"),
        ("10.0.0.0/", "is not CIDR[:PORT]"),
        ("[10.0.0.0]/8", "is not CIDR[:PORT]"),
        ("[::1", "is not CIDR[:PORT]"),
        ("[::1]x", "is not CIDR[:PORT]"),
        ("10.0.0.0/8:0", "`0` in"),
        ("10.0.0.0/8:", "is not a port"),
        ("10.0.0.1:65536", "`65536` in"),
        ("10.0.0.0/8:443:80", "`443:80` in"),
        ("10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("2001:db8::1/32:443", "did you mean 2001:db8::/32?"),
    ] {
        let error = text.parse::<Rule>().unwrap_err().to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
}
