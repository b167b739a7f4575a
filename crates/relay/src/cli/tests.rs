use clap::CommandFactory;

use super::*;

fn status(args: &[&str]) -> ExitCode {
    main(std::iter::once(&"proxify-relay").chain(args))
}

#[test]
fn the_options_are_sound() {
    Options::command().debug_assert();
}

#[test]
fn without_options_it_is_the_parent_of_enclaves() {
    let options = Options::try_parse_from(["proxify-relay"]).unwrap();
    assert_eq!(options.listen, ListenAddress::VsockAny);
    assert_eq!(options.port, 8888);
    assert_eq!(options.upstream_pps, 900);
    assert_eq!(options.resolv_conf, PathBuf::from("/etc/resolv.conf"));
    assert!(options.allow.is_empty() && options.deny.is_empty() && !options.insecure_tcp);
}

#[test]
fn rules_may_be_repeated() {
    let args = [
        "proxify-relay",
        "--deny",
        "169.254.169.254/32",
        "--deny",
        "[::1]:22",
    ];
    let options = Options::try_parse_from(args).unwrap();
    let deny: Vec<String> = options.deny.iter().map(ToString::to_string).collect();
    assert_eq!(deny, ["169.254.169.254/32", "[::1]/128:22"]);
}

#[test]
fn the_quota_is_a_number_of_packets_or_none() {
    for (text, pps) in [("0", 0), ("10", 10), ("1000000", 1_000_000)] {
        let options = Options::try_parse_from(["proxify-relay", "--upstream-pps", text]).unwrap();
        assert_eq!(options.upstream_pps, pps);
    }
}

#[test]
fn help_and_version_are_no_errors() {
    assert_eq!(status(&["--help"]), ExitCode::SUCCESS);
    assert_eq!(status(&["--version"]), ExitCode::SUCCESS);
}

#[test]
fn bad_usage_exits_64() {
    for args in [
        &["--listen", "vsock:3"][..],
        &["--listen", "tcp:0.0.0.0"],
        &["--listen", "tcp:127.0.0.1", "--port", "70000"],
        &["--allow", "10.0.0.1/8"],
        &["--port", "x"],
        &["--log", "relay=loud"],
        &["--log-format", "xml"],
        &["--ready-fd", "2"],
        &["--upstream-pps", "9"],
        &["--upstream-pps", "1000001"],
        &["--no-such-option"],
        &["argument"],
    ] {
        assert_eq!(status(args), ExitCode::from(64), "{args:?}");
    }
}

#[test]
fn what_cannot_be_listened_on_exits_69() {
    assert_eq!(
        status(&["--listen", "unix:/nowhere/relay"]),
        ExitCode::from(69)
    );
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let args = ["--listen", "tcp:127.0.0.1", "--port", &port];
    assert_eq!(status(&args), ExitCode::from(69));
}
