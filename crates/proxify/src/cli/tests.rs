use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn parse(line: &[&str]) -> Result<Config, clap::Error> {
    parse_with(line, &[])
}

fn parse_with(line: &[&str], environment: &[(&str, &str)]) -> Result<Config, clap::Error> {
    Config::parse(std::iter::once(&"proxify").chain(line), |name| {
        environment
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.into())
    })
}

fn app(line: &[&str]) -> (String, Vec<String>) {
    match parse(line).unwrap().job {
        Job::App { program, args } => {
            let text = |word: OsString| word.into_string().unwrap();
            (text(program), args.into_iter().map(text).collect())
        }
        Job::Dns { .. } => panic!("{line:?} is `dns`"),
    }
}

fn error(line: &[&str], environment: &[(&str, &str)]) -> String {
    parse_with(line, environment).unwrap_err().to_string()
}

#[test]
fn app_is_found_with_and_without_dashes_and_keeps_its_options() {
    let run = (
        "app".to_owned(),
        vec!["-x".to_owned(), "--log".to_owned(), "--".to_owned()],
    );
    assert_eq!(app(&["--", "app", "-x", "--log", "--"]), run);
    assert_eq!(app(&["app", "-x", "--log", "--"]), run);
    assert_eq!(
        app(&["--log", "info", "--", "app", "-x", "--log", "--"]),
        run
    );
    assert_eq!(app(&["--force", "app", "-x", "--log", "--"]), run);
    assert_eq!(
        app(&["app", "dns"]),
        ("app".to_owned(), vec!["dns".to_owned()])
    );
    assert_eq!(
        app(&["app", "--help"]),
        ("app".to_owned(), vec!["--help".to_owned()])
    );
    assert_eq!(
        app(&["--", "app", "dns"]),
        ("app".to_owned(), vec!["dns".to_owned()])
    );
    assert_eq!(
        app(&["--", "dns", "x"]),
        ("dns".to_owned(), vec!["x".to_owned()])
    );
    assert_eq!(app(&["--", "--app"]), ("--app".to_owned(), vec![]));
    assert_eq!(app(&["help"]), ("help".to_owned(), vec![]));
}

#[test]
fn dns_takes_options_before_and_after() {
    assert_eq!(parse(&["dns"]).unwrap().job, Job::Dns { ready_fd: None });
    let config = parse(&[
        "--port",
        "1",
        "dns",
        "--parent",
        "unix:/run/x",
        "--ready-fd",
        "3",
    ])
    .unwrap();
    assert_eq!(config.job, Job::Dns { ready_fd: Some(3) });
    assert_eq!(config.parent.to_string(), "unix:/run/x_1");
    let environment = [("PROXIFY_READY_FD", "4"), ("PROXIFY_PORT", "2")];
    let config = parse_with(&["dns", "--parent", "unix:/run/x"], &environment).unwrap();
    assert_eq!(config.job, Job::Dns { ready_fd: Some(4) });
    assert_eq!(config.parent.to_string(), "unix:/run/x_2");
}

#[test]
fn what_is_given_before_dns_and_behind_it_counts_together() {
    let line = [
        "--publish=80",
        "--egress-allow=10.0.0.0/8",
        "--listen=127.0.0.1:53",
        "--route=a=10.0.0.1",
        "dns",
        "--publish=81,82",
        "--egress-allow=[fd00::]/8",
        "--listen=127.0.0.2:53",
        "--route=b=10.0.0.2",
    ];
    let config = parse(&line).unwrap();
    let publish = Ports::from_words(&["80", "81", "82"].map(|word| word.parse().unwrap()));
    assert_eq!(config.publish, publish.unwrap());
    let rules = ["10.0.0.0/8", "[fd00::]/8"].map(|rule| rule.parse().unwrap());
    assert_eq!(config.egress_allow, rules);
    let listen = ["127.0.0.1:53", "127.0.0.2:53"].map(|address| address.parse().unwrap());
    assert_eq!(config.listen, listen);
    assert_eq!(config.routes.iter().count(), 2);

    for line in [
        &["--port", "1", "dns", "--port", "2"][..],
        &["dns", "--port", "1", "--port", "2"],
    ] {
        assert!(error(line, &[]).contains("cannot be used multiple times"));
    }
    assert_eq!(app(&["--log", "dns", "app", "dns"]).0, "app");
    let line = ["--ready-fd", "3", "dns"];
    assert!(error(&line, &[]).contains("--ready-fd"));
    for line in [&["dns", "--", "app"][..], &["dns", "dns"]] {
        assert!(error(line, &[]).contains("unexpected argument"), "{line:?}");
    }
}

#[test]
fn the_defaults_are_an_enclaves() {
    let config = parse(&["app"]).unwrap();
    assert_eq!(config.parent.to_string(), "vsock:3:8888");
    assert_eq!(config.nameservers, Nameservers::Auto);
    assert_eq!(
        config.listen,
        ["127.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]
    );
    let nameserver = IpAddr::from([127, 0, 0, 1]);
    let file = ResolvConfFile {
        path: "/etc/resolv.conf".into(),
        nameserver,
    };
    assert_eq!(config.resolv_conf, Some(file));
    assert_eq!(config.cache_size, 16 << 20);
    assert_eq!(config.upstream_pps, 900);
    assert_eq!(config.publish, Ports::Auto);
    assert_eq!(config.log.to_string(), "warn");
    assert_eq!(config.log_format, logging::Format::Text);
    assert!(!config.force);
}

#[test]
fn the_log_of_queries_is_shown_whatever_else_is() {
    let off = parse(&["--log", "debug", "app"]).unwrap();
    assert!(!off.query_log);
    for (level, others) in [("off", false), ("info", true), ("warn,query=off", false)] {
        let config = parse_with(&["--log", level, "dns"], &[("PROXIFY_QUERY_LOG", "1")]).unwrap();
        assert!(config.query_log);
        let is_on = |target| config.log.would_enable(target, &tracing::Level::INFO);
        assert!(is_on("query"), "{level}");
        assert_eq!(is_on("stub"), others, "{level}");
    }
}

#[test]
fn the_command_line_wins_over_the_environment_and_ours_over_the_old_ones() {
    let environment = [
        ("PROXIFY_CACHE_SIZE", "1MiB"),
        ("PROXIFY_LOG_FORMAT", "json"),
        ("PROXIFY_FORCE", "1"),
        ("PROXIFY_LISTEN", "127.0.0.2:53"),
        ("PROXIFY_LOG", ""),
        ("PROXY_PARENT_CID", "16"),
        ("PROXY_PARENT_PORT", "9999"),
    ];
    let config = parse_with(&["app"], &environment).unwrap();
    assert_eq!(
        (config.cache_size, config.log_format),
        (1 << 20, logging::Format::Json)
    );
    assert!(config.force);
    assert_eq!(config.listen, ["127.0.0.2:53".parse().unwrap()]);
    assert_eq!(config.parent.to_string(), "vsock:16:9999");
    assert_eq!(
        config.log.to_string(),
        "warn",
        "an empty variable says nothing"
    );

    let line = [
        "--cache-size",
        "2MiB",
        "--parent",
        "vsock:5",
        "--port",
        "1",
        "app",
    ];
    let config = parse_with(&line, &environment).unwrap();
    assert_eq!(
        (config.cache_size, config.parent.to_string()),
        (2 << 20, "vsock:5:1".to_owned())
    );
    let old_and_new = [
        ("PROXY_PARENT_CID", "16"),
        ("PROXIFY_PARENT", "unix:/run/x"),
    ];
    let config = parse_with(&["app"], &old_and_new).unwrap();
    assert_eq!(config.parent.to_string(), "unix:/run/x_8888");
    assert!(
        !parse_with(&["app"], &[("PROXIFY_FORCE", "0")])
            .unwrap()
            .force
    );
    // What the command line overrides is not looked at.
    parse_with(
        &["--parent", "vsock:3", "app"],
        &[("PROXY_PARENT_CID", "three")],
    )
    .unwrap();
}

#[test]
fn the_quota_is_a_number_of_packets_or_none() {
    for (text, pps) in [("0", 0), ("10", 10), ("1000000", 1_000_000)] {
        let config = parse(&["--upstream-pps", text, "app"]).unwrap();
        assert_eq!(config.upstream_pps, pps);
    }
    let environment = [("PROXIFY_UPSTREAM_PPS", "200")];
    assert_eq!(
        parse_with(&["dns"], &environment).unwrap().upstream_pps,
        200
    );
}

#[test]
fn an_error_says_what_is_wrong_where_and_what_to_write() {
    for (line, environment, hint) in [
        (
            &["--parent", "3", "app"][..],
            &[][..],
            "vsock:CID, unix:PREFIX",
        ),
        (
            &["app"],
            &[("PROXY_PARENT_CID", "three")],
            "(from PROXY_PARENT_CID)",
        ),
        (
            &["app"],
            &[("PROXIFY_NAMESERVERS", "cidr:10.0.0.0/31")],
            "(from PROXIFY_NAMESERVERS)",
        ),
        (
            &["--nameservers", "cidr:10.0.1.17/16", "app"],
            &[],
            "write 10.0.0.0/16",
        ),
        (&["--listen", "0.0.0.0:53", "app"], &[], "127.0.0.1:53"),
        (
            &["--listen", "127.0.0.1:5353", "app"],
            &[],
            "--resolv-conf none",
        ),
        (&["--listen", "127.0.0.1", "app"], &[], "--listen"),
        (&["--cache-size", "16 elephants", "app"], &[], "16MiB"),
        (
            &["--cache-size", "99999999999999999999GiB", "app"],
            &[],
            "16MiB",
        ),
        (&["--upstream-pps", "9", "app"], &[], "from 10 to"),
        (&["--upstream-pps", "1000001", "app"], &[], "0 for no"),
        (&["--parent", "tcp:10.0.0.1", "app"], &[], "loopback"),
        (&["dns", "--ready-fd", "1"], &[], "1 is not in 3.."),
        (&["dns", "app"], &[], "unexpected argument"),
        (&["--unknown", "app"], &[], "--unknown"),
        (&[], &[], "APP"),
        (&["--"], &[], "APP"),
    ] {
        let text = error(line, environment);
        assert!(text.contains(hint), "{line:?}: {text}");
    }
}

/// The routes of a command line, as `SUFFIX=FIRST,SECOND`.
fn routes(line: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    let config = parse_with(line, environment).unwrap();
    let route = |route: &stub::Route| {
        let list: Vec<_> = route.nameservers.iter().map(ToString::to_string).collect();
        format!("{}={}", route.suffix, list.join(","))
    };
    config.routes.iter().map(route).collect()
}

#[test]
fn routes_are_read_from_several_options_and_from_one_variable() {
    assert!(routes(&["app"], &[]).is_empty());
    let two = "Corp.Example.=10.1.0.53,10.2.0.53:5353  10.in-addr.arpa=cidr:10.0.0.0/16";
    let read = [
        "corp.example=10.1.0.53:53,10.2.0.53:5353",
        "10.in-addr.arpa=10.0.0.2:53",
    ];
    assert_eq!(routes(&["app"], &[("PROXIFY_ROUTE", two)]), read);
    assert_eq!(routes(&["--route", two, "app"], &[]), read);
    let (one, other) = two.split_once("  ").unwrap();
    let line = ["--route", one, "--route", other, "app"];
    assert_eq!(routes(&line, &[]), read);
    assert_eq!(
        routes(&["dns", "--route", one, "--route", other], &[]),
        read
    );
    let line = ["--route", one, "dns", "--route", other];
    assert_eq!(routes(&line, &[]), read);
    // The command line wins, as for every option.
    let environment = [("PROXIFY_ROUTE", two)];
    let amazon = ["--route=amazonaws.com=amazon", "app"];
    for line in [amazon, ["dns", "--route=amazonaws.com=amazon"]] {
        assert_eq!(
            routes(&line, &environment),
            ["amazonaws.com=169.254.169.253:53,[fd00:ec2::253]:53"]
        );
    }
    assert_eq!(routes(&["dns"], &environment), read);
}

#[test]
fn a_route_that_cannot_be_is_an_error_that_says_why() {
    let many: Vec<String> = (0..33).map(|n| format!("z{n}=10.0.0.2")).collect();
    let long_label = format!("{}=10.0.0.2", "a".repeat(64));
    for (route, hint) in [
        ("", "is no route: write SUFFIX=NAMESERVERS"),
        (" ", "is no route: write SUFFIX=NAMESERVERS"),
        ("corp.example", "`corp.example` is no route"),
        ("corp.example:10.0.0.2", "is no route"),
        ("=10.0.0.2", "`` is no suffix"),
        (
            "*.corp=10.0.0.2",
            "'*' is no part of a name; write a name such as corp.example",
        ),
        (".corp=10.0.0.2", "`.corp` is no suffix"),
        (&long_label, "63 characters"),
        (".=10.0.0.2", "--nameservers"),
        ("corp.example=", "for corp.example: `` is no nameserver"),
        (
            "corp.example=auto",
            "for corp.example: `auto` is no nameserver",
        ),
        ("corp.example=cidr:10.0.1.17/16", "write 10.0.0.0/16"),
        (
            "corp.example=10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6,10.0.0.7,10.0.0.8,10.0.0.9",
            "at most 8",
        ),
        (
            "corp.example=10.0.0.2 a=10.0.0.2 CORP.example.=10.0.0.3",
            "corp.example has two routes",
        ),
        (&many.join(" "), "33 routes are too many"),
    ] {
        let usage = parse(&["--route", route, "app"]).unwrap_err();
        assert!(usage.use_stderr());
        let text = usage.to_string();
        assert!(
            text.contains(hint) && text.contains("--route"),
            "{route}: {text}"
        );
    }
    let text = error(&["app"], &[("PROXIFY_ROUTE", "corp.example")]);
    assert!(text.contains("(from PROXIFY_ROUTE)"), "{text}");
    let twice = ["--route=a=10.0.0.2", "--route=a=10.0.0.2", "app"];
    assert!(error(&twice, &[]).contains("a has two routes"));
}

/// The pins of a command line, as `SUFFIX=FIRST,SECOND`.
fn pins(line: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    let config = parse_with(line, environment).unwrap();
    let pin = |pin: &stub::Pin| {
        let list: Vec<_> = pin.networks.iter().map(ToString::to_string).collect();
        format!("{}={}", pin.suffix, list.join(","))
    };
    config.pins.iter().map(pin).collect()
}

#[test]
fn pins_are_read_from_several_options_and_from_one_variable() {
    assert!(pins(&["app"], &[]).is_empty());
    let two = "AmazonAWS.com.=10.0.0.0/16,fd00:1::/64  .=0.0.0.0/0,10.0.1.17";
    let read = [
        "amazonaws.com=10.0.0.0/16,fd00:1::/64",
        ".=0.0.0.0/0,10.0.1.17/32",
    ];
    assert_eq!(pins(&["app"], &[("PROXIFY_PIN", two)]), read);
    assert_eq!(pins(&["--pin", two, "app"], &[]), read);
    let (one, other) = two.split_once("  ").unwrap();
    assert_eq!(pins(&["dns", "--pin", one, "--pin", other], &[]), read);
    // The command line wins, as for every option.
    let environment = [("PROXIFY_PIN", two)];
    let line = ["--pin=a=10.0.0.0/8", "app"];
    assert_eq!(pins(&line, &environment), ["a=10.0.0.0/8"]);
}

#[test]
fn a_pin_that_cannot_be_is_an_error_that_says_why() {
    let many: Vec<String> = (0..33).map(|n| format!("z{n}=10.0.0.0/8")).collect();
    for (pin, hint) in [
        ("", "is no pin: write SUFFIX=CIDR"),
        ("amazonaws.com", "`amazonaws.com` is no pin"),
        ("=10.0.0.0/8", "`` is no suffix"),
        ("*.corp=10.0.0.0/8", "'*' is no part of a name"),
        ("a=", "for a: `` is no network"),
        ("a=10.0.0.0/8,", "for a: `` is no network"),
        ("a=10.0.0.0/33", "`10.0.0.0/33` is no network"),
        ("a=private", "`private` is no network"),
        ("a=10.0.0.1/8", "write 10.0.0.0/8"),
        ("a=::ffff:10.0.0.0/104", "stands for IPv4 addresses"),
        ("a=10.0.0.0/8 A.=10.0.0.0/8", "a has two pins"),
        (&many.join(" "), "33 pins are too many"),
    ] {
        let usage = parse(&["--pin", pin, "app"]).unwrap_err();
        assert!(usage.use_stderr());
        let text = usage.to_string();
        assert!(
            text.contains(hint) && text.contains("--pin"),
            "{pin}: {text}"
        );
    }
}

#[test]
fn a_stub_elsewhere_needs_no_resolv_conf() {
    let config = parse(&["--listen", "127.0.0.1:5353", "--resolv-conf", "none", "app"]).unwrap();
    assert_eq!(config.resolv_conf, None);
    let config = parse(&["--listen", "127.0.0.1:5353,[::1]:53", "app"]).unwrap();
    assert_eq!(
        config.resolv_conf.unwrap().nameserver,
        IpAddr::from(Ipv6Addr::LOCALHOST)
    );
    let config = parse(&["--listen", "[::1]:53,127.0.0.1:53", "app"]).unwrap();
    assert_eq!(
        config.resolv_conf.unwrap().nameserver,
        IpAddr::from(Ipv4Addr::LOCALHOST)
    );
}

#[test]
fn help_shows_two_examples_and_every_option() {
    let help = error(&["--help"], &[]);
    assert!(help.contains("proxify -- /server") && help.contains("proxify dns --nameservers"));
    for option in [
        "parent",
        "port",
        "nameservers",
        "route",
        "listen",
        "resolv-conf",
        "cache-size",
        "upstream-pps",
        "log",
        "log-format",
        "query-log",
        "force",
    ] {
        assert!(help.contains(&format!("--{option} ")) || help.contains(&format!("--{option}\n")));
    }
    let help = error(&["--force", "dns", "--help"], &[]);
    for part in ["proxify dns [OPTIONS]", "--ready-fd", "--egress-allow"] {
        assert!(help.contains(part), "{help}");
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
    Dns::command().debug_assert();
}

#[test]
fn ports_are_listed_with_commas_or_by_several_options() {
    let list = |ports: &Ports| match ports {
        Ports::List(list) => list.iter().map(ToString::to_string).collect(),
        other => vec![format!("{other:?}")],
    };
    let line = [
        "--publish",
        "8443:443,80",
        "--publish",
        "[::1]:81:81",
        "app",
    ];
    let config = parse(&line).unwrap();
    assert_eq!(list(&config.publish), ["8443:443", "80:80", "[::1]:81:81"]);
    let environment = [("PROXIFY_PUBLISH", "8080,81")];
    let config = parse_with(&["app"], &environment).unwrap();
    assert_eq!(list(&config.publish), ["8080:8080", "81:81"]);
    let config = parse_with(&["--publish", "none", "app"], &environment).unwrap();
    assert_eq!(config.publish, Ports::None);
    for (line, says) in [
        (["--publish", "http", "app"], "8443:443"),
        (["--publish", "auto,80", "app"], "stands alone"),
        (["--publish", "80:1,80:2", "app"], "two programs"),
    ] {
        let error = error(&line, &[]);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn egress_is_auto_and_goes_everywhere_unless_told_otherwise() {
    let config = parse(&["app"]).unwrap();
    assert_eq!(config.egress, Some(egress::Mode::Auto));
    assert!(config.egress_allow.is_empty());

    let environment = [
        ("PROXIFY_EGRESS", "off"),
        ("PROXIFY_EGRESS_ALLOW", "10.0.0.0/8,10.9.0.1:443"),
    ];
    let config = parse_with(&["app"], &environment).unwrap();
    assert_eq!(config.egress, Some(egress::Mode::Off));
    let rules: Vec<String> = config
        .egress_allow
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(rules, ["10.0.0.0/8", "10.9.0.1/32:443"]);

    let line = [
        "--egress",
        "detour",
        "--egress-allow",
        "10.0.1.0/24",
        "--egress-allow",
        "[fd00::]/8:80",
        "app",
    ];
    let config = parse_with(&line, &environment).unwrap();
    assert_eq!(config.egress, Some(egress::Mode::Detour));
    let rules: Vec<String> = config
        .egress_allow
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(rules, ["10.0.1.0/24", "[fd00::]/8:80"]);

    let message = error(&["--egress", "tun", "app"], &[]);
    assert!(
        message.contains("auto, detour, redirect or off"),
        "{message}"
    );
    let message = error(&["--egress-allow", "10.0.0.1/8", "app"], &[]);
    assert!(message.contains("did you mean 10.0.0.0/8"), "{message}");
}
