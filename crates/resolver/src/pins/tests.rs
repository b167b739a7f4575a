use super::*;

const PRIVATE: &str = "10.0.0.0/8";

fn pin(suffix: &str, networks: &[&str]) -> Pin {
    Pin {
        suffix: suffix.parse().unwrap(),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
    }
}

/// Pins of one network each.
fn pins(pins: &[(&str, &str)]) -> Pins {
    let pins = pins.iter().map(|(suffix, network)| pin(suffix, &[network]));
    Pins::new(pins.collect()).unwrap()
}

/// The suffixes of the pins that judge an answer with this chain, names with blanks between them.
fn judging(pins: &Pins, chain: &str) -> Vec<String> {
    let mut judges = pins.judges();
    for name in chain.split(' ') {
        judges.add(&name.parse().unwrap());
    }
    let judging = pins
        .numbered()
        .filter(|(number, _)| judges.pins & 1 << number != 0);
    judging.map(|(_, pin)| pin.suffix.to_string()).collect()
}

#[test]
fn what_contradicts_itself_is_refused() {
    let suffix = || "corp.example".to_owned();
    let twice = vec![
        pin("Corp.Example.", &[PRIVATE]),
        pin("corp.example", &[PRIVATE]),
    ];
    assert_eq!(Pins::new(twice), Err(PinsError::Twice { suffix: suffix() }));
    let many = |count| {
        let pins = (0..count).map(|number: usize| pin(&format!("z{number}"), &[PRIVATE]));
        Pins::new(pins.collect())
    };
    assert_eq!(many(33), Err(PinsError::TooMany { count: 33 }));
    // Each has a bit of its own.
    let all = many(32).unwrap();
    for number in 0..32 {
        let name = format!("z{number}");
        assert_eq!(judging(&all, &name), [&*name]);
    }
    let networks = |count| Pins::new(vec![pin("corp.example", &vec![PRIVATE; count])]);
    let suffix = suffix();
    let count = 65;
    assert_eq!(
        networks(count),
        Err(PinsError::TooManyNetworks { suffix, count })
    );
    assert!(networks(64).is_ok());
    for mapped in ["::ffff:10.0.0.0/104", "::ffff:0:0/96"] {
        let refused = Pins::new(vec![pin("a", &[mapped])]);
        assert!(matches!(refused, Err(PinsError::Mapped { .. })), "{mapped}");
    }
}

#[test]
fn the_longest_suffix_judges_at_the_borders_of_labels() {
    let pins = pins(&[
        ("example", PRIVATE),
        ("corp.example", PRIVATE),
        ("amazonaws.com", PRIVATE),
    ]);
    for (name, by) in [
        ("corp.example", &["corp.example"][..]),
        ("a.b.Corp.Example", &["corp.example"]),
        ("notcorp.example", &["example"]),
        ("corp.example.com", &[]),
        ("notexample", &[]),
        ("ec2.us-east-1.amazonaws.com", &["amazonaws.com"]),
        ("ec2.cn-north-1.amazonaws.com.cn", &[]),
    ] {
        assert_eq!(judging(&pins, name), by, "{name}");
    }
    let all = self::pins(&[(".", PRIVATE), ("corp.example", PRIVATE)]);
    assert_eq!(judging(&all, "a.test"), ["."]);
    assert_eq!(judging(&all, "."), ["."]);
    assert_eq!(judging(&all, "a.corp.example"), ["corp.example"]);
}

#[test]
fn names_of_gateway_endpoints_are_exempt_unless_a_pin_is_for_them() {
    let aws = [
        ("amazonaws.com", PRIVATE),
        ("amazonaws.com.cn", PRIVATE),
        ("api.aws", PRIVATE),
        ("us-west-2.amazonaws.com", PRIVATE),
    ];
    for exempt in [
        "s3.amazonaws.com",
        "bucket.s3.amazonaws.com",
        "s3-external-1.amazonaws.com",
        "s3-us-west-2.amazonaws.com",
        "bucket.s3-us-west-2.amazonaws.com",
        "s3-fips-us-gov-west-1.amazonaws.com",
        "s3.us-east-1.amazonaws.com",
        "S3.US-West-2.Amazonaws.COM",
        "www.bucket.s3.us-east-1.amazonaws.com",
        "s3.us-east-1.s3.us-east-1.amazonaws.com",
        "s3-fips.us-gov-east-1.amazonaws.com",
        "s3.dualstack.us-east-1.amazonaws.com",
        "bucket.s3-fips.dualstack.us-east-1.amazonaws.com",
        "point-123456789012.s3-accesspoint.us-east-1.amazonaws.com",
        "point-123456789012.s3-accesspoint.dualstack.us-east-1.amazonaws.com",
        "123456789012.s3-control.us-east-1.amazonaws.com",
        "s3-control.dualstack.us-east-1.amazonaws.com",
        "bucket--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com",
        "s3express-control.us-east-1.amazonaws.com",
        "s3.cn-north-1.amazonaws.com.cn",
        "dynamodb.us-east-1.amazonaws.com",
        "dynamodb-fips.us-east-1.amazonaws.com",
        "dynamodb.us-east-1.api.aws",
        "dynamodb.cn-north-1.amazonaws.com.cn",
        "dynamodb.cn-north-1.api.amazonwebservices.com.cn",
        "123456789012.ddb.us-east-1.amazonaws.com",
        "123456789012.ddb.us-east-1.api.aws",
    ] {
        assert!(judging(&pins(&aws), exempt).is_empty(), "{exempt}");
        assert!(judging(&pins(&[(".", PRIVATE)]), exempt).is_empty());
        let own = [&[(exempt, PRIVATE)], &aws[..]].concat();
        let own_suffix = exempt.to_ascii_lowercase();
        assert_eq!(judging(&pins(&own), exempt), [&*own_suffix]);
        assert_eq!(judging(&pins(&own), &format!("a.{exempt}")), [own_suffix]);
    }
    for pinned in [
        "ec2.us-east-1.amazonaws.com",
        "streams.dynamodb.us-east-1.amazonaws.com",
        "a.dynamodb.us-east-1.amazonaws.com",
        "ddb.us-east-1.amazonaws.com",
        "s3.amazonaws.com.example",
        "s3.example",
        "s3.us-east-1.example.amazonaws.com",
        "s3.vpce.amazonaws.com",
        "s3.us-east-1.vpce.amazonaws.com",
        "bucket.vpce-0123-abcd.s3.us-east-1.vpce.amazonaws.com",
        "s3.evil.amazonaws.com",
        "s3.-1.amazonaws.com",
        "s3.us--1.amazonaws.com",
        "s3.us-1.amazonaws.com",
        "xs3.us-east-1.amazonaws.com",
        "s3-evil.us-east-1.amazonaws.com",
        "s3-evil.amazonaws.com",
        "s3.dualstack.amazonaws.com",
        "s3.dualstack.dualstack.us-east-1.amazonaws.com",
        "bucket.s3-accelerate.amazonaws.com",
        "bucket.s3-website-us-east-1.amazonaws.com",
        "us-east-1.amazonaws.com",
    ] {
        assert_eq!(judging(&pins(&[(".", PRIVATE)]), pinned), ["."], "{pinned}");
    }
}

#[test]
fn a_pin_for_a_bucket_leaves_the_others_alone() {
    let pins = pins(&[
        ("amazonaws.com", PRIVATE),
        ("kv.s3.us-east-1.amazonaws.com", PRIVATE),
    ]);
    let kv = "kv.s3.us-east-1.amazonaws.com";
    assert_eq!(judging(&pins, kv), [kv]);
    assert!(judging(&pins, "other.s3.us-east-1.amazonaws.com").is_empty());
}

#[test]
fn each_name_of_a_chain_is_judged() {
    let pins = pins(&[("amazonaws.com", PRIVATE), ("corp.example", PRIVATE)]);
    for (chain, by) in [
        (
            "ec2.us-east-1.amazonaws.com a.cloudfront.test",
            &["amazonaws.com"][..],
        ),
        ("api.test ec2.us-east-1.amazonaws.com", &["amazonaws.com"]),
        (
            "api.test ec2.us-east-1.amazonaws.com a.test",
            &["amazonaws.com"],
        ),
        (
            "api.corp.example ec2.us-east-1.amazonaws.com",
            &["amazonaws.com", "corp.example"],
        ),
        ("api.test other.test", &[]),
    ] {
        assert_eq!(judging(&pins, chain), by, "{chain}");
    }
}

#[test]
fn what_a_name_was_released_from_does_not_judge_where_it_leads() {
    let pins = pins(&[
        ("amazonaws.com", PRIVATE),
        ("open.amazonaws.com", "0.0.0.0/0"),
    ]);
    // As AmazonDNS answers for a bucket.
    let s3 = "bucket.s3.amazonaws.com s3-1-w.amazonaws.com s3-w.us-east-1.amazonaws.com";
    assert!(judging(&pins, s3).is_empty());
    assert!(judging(&pins, &format!("assets.test {s3}")).is_empty());
    assert_eq!(
        judging(&pins, "open.amazonaws.com lb.us-east-1.elb.amazonaws.com"),
        ["open.amazonaws.com"]
    );
    // Who was judged before that stays so.
    assert_eq!(
        judging(&pins, &format!("ec2.us-east-1.amazonaws.com {s3}")),
        ["amazonaws.com"]
    );
}

#[test]
fn a_pinned_suffix_before_another_judges_too() {
    let pins = pins(&[
        ("amazonaws.com", PRIVATE),
        ("corp.example", "192.168.0.0/16"),
    ]);
    assert_eq!(
        judging(&pins, "ec2.us-east-1.amazonaws.com.corp.example"),
        ["amazonaws.com", "corp.example"]
    );
    assert_eq!(
        judging(&pins, "db.xamazonaws.com.corp.example"),
        ["corp.example"]
    );
    let china = self::pins(&[("amazonaws.com", PRIVATE), ("amazonaws.com.cn", PRIVATE)]);
    assert_eq!(
        judging(&china, "ec2.cn-north-1.amazonaws.com.cn"),
        ["amazonaws.com.cn"]
    );
    // A bucket may be named so, and the parent's search list cannot lead there.
    let bucket = "assets.corp.example.s3.us-east-1.amazonaws.com";
    assert!(judging(&pins, bucket).is_empty());
    let twice = self::pins(&[("example", PRIVATE)]);
    assert_eq!(judging(&twice, "example.example"), ["example"]);
}

#[test]
fn of_search_names_those_under_a_pin_may_be_used() {
    let without = Pins::default();
    assert!(without.take_search("evil.example"));
    let pins = pins(&[("amazonaws.com", PRIVATE), ("corp.example", PRIVATE)]);
    for (name, is_taken) in [
        ("corp.example", true),
        ("eu.Corp.example", true),
        ("amazonaws.com", true),
        ("us-east-1.amazonaws.com", true),
        ("evil.example", false),
        ("com", false),
        // What is under it is exempt.
        ("s3.us-east-1.amazonaws.com", false),
        ("evil.s3.amazonaws.com", false),
        ("no name", false),
        ("", false),
    ] {
        assert_eq!(pins.take_search(name), is_taken, "{name}");
    }
}

#[test]
fn an_address_in_disguise_is_judged_as_what_it_is() {
    let v4 = pin("a", &[PRIVATE]);
    let both = pin(
        "a",
        &[
            PRIVATE,
            "fd00::/8",
            "64:ff9b::/96",
            "2002::/16",
            "::/96",
            "::ffff:0:0:0/96",
        ],
    );
    for (address, in_v4, in_both) in [
        ("10.0.1.17", true, true),
        ("11.0.1.17", false, false),
        ("::ffff:10.0.1.17", true, true),
        ("::ffff:11.0.1.17", false, false),
        ("fd00::1", false, true),
        ("2600::1", false, false),
        // Translators and tunnels: these too must be within a network, and what they lead to.
        ("64:ff9b::10.0.1.17", false, true),
        ("64:ff9b::11.0.1.17", false, false),
        ("2002:a00:111::1", false, true),
        ("2002:b00:111::1", false, false),
        ("::10.0.1.17", false, true),
        ("::11.0.1.17", false, false),
        ("::ffff:0:10.0.1.17", false, true),
        ("::ffff:0:11.0.1.17", false, false),
    ] {
        let ip: IpAddr = address.parse().unwrap();
        assert_eq!(
            (v4.holds(ip), both.holds(ip)),
            (in_v4, in_both),
            "{address}"
        );
    }
}

#[test]
fn another_host_is_a_matter_of_the_same_pins() {
    let pins = pins(&[
        ("amazonaws.com", PRIVATE),
        ("open.amazonaws.com", "0.0.0.0/0"),
    ]);
    let mut judges = pins.judges();
    judges.add(&"ec2.us-east-1.amazonaws.com".parse().unwrap());
    let follow = |host: &str| judges.follow(&host.parse().unwrap()).is_ok();
    assert!(follow("other.amazonaws.com"));
    assert!(!follow("evil.example"));
    assert!(!follow("open.amazonaws.com"));
    assert!(!follow("evil.s3.amazonaws.com"));
    // Nobody judges this one, but whom it leads to.
    let none = pins.judges();
    let other = none.follow(&"ec2.us-east-1.amazonaws.com".parse().unwrap());
    assert!(other.unwrap().judge([11, 0, 0, 1].into()).is_err());
}

#[test]
fn a_pin_is_told_of_once_a_minute_with_a_count() {
    let pins = pins(&[("a", PRIVATE), ("b", PRIVATE)]);
    let mut reports = Reports::new(&pins);
    let nameserver = SocketAddr::from(([10, 0, 0, 2], 53));
    let mut left_out = |now, pin| {
        let lead = Lead::Address([11, 0, 0, 1].into());
        reports.refused(now, &pins, Outside { pin, lead }, nameserver);
        reports
            .take()
            .map(|told| (told.suffix.to_string(), told.left_out))
    };
    let told = |suffix: &str, count| Some((suffix.to_owned(), count));
    assert_eq!(left_out(0, 0), told("a", 0));
    assert_eq!(left_out(1, 0), None);
    assert_eq!(left_out(59_999, 0), None);
    assert_eq!(left_out(59_999, 1), told("b", 0));
    assert_eq!(left_out(60_000, 0), told("a", 2));
    assert_eq!(left_out(119_999, 0), None);
    assert_eq!(left_out(120_000, 0), told("a", 1));
}
