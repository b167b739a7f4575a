//! In a network namespace of their own, with the self-test as the program.

use std::process::Command;

use super::*;
use crate::namespaces::in_namespaces;

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// All that a machinery may change.
fn state() -> String {
    sh("ip -o link; ip route; ip -6 route
        for table in nat filter; do iptables-legacy -t $table -S; ip6tables-legacy -t $table -S; done")
}

fn config(mode: Mode) -> Config {
    Config {
        parent: link::Parent::new("unix:/nonexistent/relay".parse().unwrap(), 8888),
        mode,
        allow: Vec::new(),
        stub: vec!["127.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()],
    }
}

/// Sets up in a new enclave, says what is there then, and takes all away again.
fn passes(way: Way, expected: &[&str]) {
    sh("ip link set lo up; ip addr add 192.0.2.1/32 dev lo; ip addr add fd00::1/128 dev lo");
    let before = state();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut machinery = Machinery::start(&config(Mode::Auto), &Activity::default(), way)
            .await
            .unwrap();
        let families: Vec<Family> = machinery
            .families
            .iter()
            .map(|(family, _)| *family)
            .collect();
        assert_eq!(families, FAMILIES);
        machinery.nameservers = vec!["10.0.0.2:53".parse().unwrap()];
        machinery.set_nameservers();
        let now = state();
        let dns = "-A proxify -d 10.0.0.2/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 53";
        for line in expected.iter().chain([&dns]) {
            assert!(now.contains(line), "{line}: {now}");
        }
        machinery.end().await;
    });
    assert_eq!(state(), before);
}

#[test]
fn the_redirect_passes_its_self_test() {
    let name = "machinery::tests::the_redirect_passes_its_self_test";
    in_namespaces(name, || {
        passes(
            Way::Redirect,
            &["0.0.0.0/1 dev lo", "-A proxify -p tcp -j REDIRECT"],
        );
    });
}

#[test]
fn the_detour_passes_its_self_test() {
    let name = "machinery::tests::the_detour_passes_its_self_test";
    in_namespaces(name, || {
        passes(
            Way::Detour,
            &[
                "128.0.0.0/1 dev proxify0",
                "--tcp-flags SYN,PSH SYN,PSH -j REDIRECT",
            ],
        );
    });
}

/// A machine that refuses all of IPv6 still has its IPv4.
#[test]
fn what_refuses_ipv6_leaves_ipv4_carried() {
    let name = "machinery::tests::what_refuses_ipv6_leaves_ipv4_carried";
    in_namespaces(name, || {
        sh(
            "ip link set lo up; ip addr add 192.0.2.1/32 dev lo; ip addr add fd00::1/128 dev lo
            ip6tables-legacy -A OUTPUT -p tcp -j REJECT",
        );
        // Looking makes the tables.
        state();
        let before = state();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let config = config(Mode::Auto);
            let machinery = Machinery::start(&config, &Activity::default(), Way::Redirect)
                .await
                .unwrap();
            let families: Vec<Family> = machinery.families.iter().map(|each| each.0).collect();
            assert_eq!(families, [Family::V4]);
            let ipv6 = sh("ip -6 route; ip6tables-legacy -t nat -S");
            assert!(!ipv6.contains("proxify") && !ipv6.contains("/1"), "{ipv6}");
            machinery.end().await;
        });
        assert_eq!(state(), before);
    });
}

/// The self-test can fail: without its rules no connection arrives.
#[test]
fn a_way_without_rules_does_not_pass() {
    let name = "machinery::tests::a_way_without_rules_does_not_pass";
    in_namespaces(name, || {
        sh("ip link set lo up; ip addr add 192.0.2.1/32 dev lo
            iptables-legacy -t nat -A OUTPUT -j ACCEPT");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let result = runtime.block_on(Machinery::start(
            &config(Mode::Auto),
            &Activity::default(),
            Way::Detour,
        ));
        let error = result.err().unwrap().to_string();
        assert!(
            error.contains("detour does not work here for IPv4: a connection"),
            "{error}"
        );
        assert!(!state().contains("proxify"), "{}", state());
    });
}
