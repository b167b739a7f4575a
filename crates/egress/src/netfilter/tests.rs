use std::process::Command;

use super::blob::Blob;
use super::sockopt::Info;
use super::*;
use crate::namespaces::in_namespaces;

/// What is built into the kernels of Nitro enclaves, 4.14 and 6.6 alike, of what concerns packets.
const BUILT_IN: [&str; 14] = [
    "IP6_NF_FILTER",
    "IP6_NF_IPTABLES",
    "IP6_NF_NAT",
    "IP6_NF_TARGET_REJECT",
    "IP_NF_FILTER",
    "IP_NF_IPTABLES",
    "IP_NF_NAT",
    "IP_NF_TARGET_REJECT",
    "NETFILTER_XTABLES",
    "NETFILTER_XT_MATCH_ADDRTYPE",
    "NETFILTER_XT_TARGET_REDIRECT",
    "NF_CONNTRACK",
    "NF_NAT",
    "TUN",
];

/// The option that brings each match and target (linux, net/netfilter/Makefile and
/// net/ipv{4,6}/netfilter/Makefile).
fn option(family: Family, name: &str) -> &'static str {
    match (name, family) {
        // `tcp` and `udp` are xt_tcpudp, which comes with x_tables itself.
        ("" | "ERROR" | "tcp" | "udp", _) => "NETFILTER_XTABLES",
        ("addrtype", _) => "NETFILTER_XT_MATCH_ADDRTYPE",
        ("REDIRECT", _) => "NETFILTER_XT_TARGET_REDIRECT",
        ("REJECT", Family::V4) => "IP_NF_TARGET_REJECT",
        ("REJECT", Family::V6) => "IP6_NF_TARGET_REJECT",
        (other, _) => panic!("{other}: which option brings it?"),
    }
}

fn every_rule(family: Family) -> Vec<Rule> {
    let ip: std::net::IpAddr = match family {
        Family::V4 => [10, 0, 0, 2].into(),
        Family::V6 => [0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x253].into(),
    };
    let tests = [
        Test::ToThisMachine,
        Test::To(ip),
        Test::Tcp,
        Test::MarkedSyn {
            interface: "proxify0",
        },
        Test::DnsUdp { nameserver: ip },
        Test::DnsTcp { nameserver: ip },
        Test::Any,
    ];
    let verdicts = [Verdict::Return, Verdict::Redirect(7777), Verdict::Reject];
    tests
        .into_iter()
        .flat_map(|test| {
            verdicts.map(|verdict| Rule {
                test: test.clone(),
                verdict,
            })
        })
        .collect()
}

/// The names of an entry's matches and target.
fn names(family: Family, entry: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = family.entry_size();
    while at < entry.len() {
        let size = usize::from(u16::from_ne_bytes([entry[at], entry[at + 1]]));
        let name: Vec<u8> = entry[at + 2..at + 31]
            .iter()
            .copied()
            .take_while(|byte| *byte != 0)
            .collect();
        names.push(String::from_utf8(name).unwrap());
        at += size;
    }
    assert_eq!(at, entry.len());
    names
}

#[test]
fn the_kernels_of_nitro_enclaves_have_what_every_rule_needs() {
    for family in [Family::V4, Family::V6] {
        let mut needed = vec![option(family, "ERROR"), "TUN", "NF_CONNTRACK", "NF_NAT"];
        needed.extend(match family {
            Family::V4 => ["IP_NF_IPTABLES", "IP_NF_NAT", "IP_NF_FILTER"],
            Family::V6 => ["IP6_NF_IPTABLES", "IP6_NF_NAT", "IP6_NF_FILTER"],
        });
        for rule in every_rule(family) {
            for name in names(family, &rule.render(family)) {
                needed.push(option(family, &name));
            }
        }
        for option in needed {
            assert!(BUILT_IN.contains(&option), "{option} is not built in");
        }
    }
}

/// Byte by byte as `iptables-legacy` writes `-p tcp -d 10.0.0.2 --dport 53 -j REDIRECT --to-ports 7777`.
#[test]
fn a_rule_of_ipv4_has_the_layout_of_the_kernels_interface() {
    let rule = Rule {
        test: Test::DnsTcp {
            nameserver: [10, 0, 0, 2].into(),
        },
        verdict: Verdict::Redirect(7777),
    };
    let mut expected = Vec::new();
    expected.extend([0; 4]); // source
    expected.extend([10, 0, 0, 2]);
    expected.extend([0; 4]); // its mask
    expected.extend([255; 4]);
    expected.extend([0; 64]); // interfaces and their masks
    expected.extend(6_u16.to_ne_bytes());
    expected.extend([0; 2]); // flags, inversions
    expected.extend([0; 4]); // nfcache
    expected.extend(160_u16.to_ne_bytes()); // target
    expected.extend(216_u16.to_ne_bytes()); // next
    expected.extend([0; 4]); // comefrom
    expected.extend([0; 16]); // counters
    expected.extend(48_u16.to_ne_bytes());
    expected.extend(b"tcp");
    expected.extend([0; 27]); // to 29 bytes, and revision 0
    for port in [0_u16, 65535, 53, 53] {
        expected.extend(port.to_ne_bytes());
    }
    expected.extend([0; 8]); // option, flags, inversions, alignment
    expected.extend(56_u16.to_ne_bytes());
    expected.extend(b"REDIRECT");
    expected.extend([0; 22]);
    expected.extend(1_u32.to_ne_bytes()); // one range
    expected.extend(2_u32.to_ne_bytes()); // ports are given
    expected.extend([0; 8]); // addresses are not
    expected.extend(7777_u16.to_be_bytes());
    expected.extend(7777_u16.to_be_bytes());
    expected.extend([0; 4]); // alignment
    assert_eq!(rule.render(Family::V4), expected);
}

#[test]
fn a_rule_of_ipv6_has_the_layout_of_the_kernels_interface() {
    let rule = Rule {
        test: Test::MarkedSyn {
            interface: "proxify0",
        },
        verdict: Verdict::Redirect(7777),
    };
    let mut expected = vec![0; 64]; // addresses and masks
    expected.extend([0; 16]); // interface in
    expected.extend(b"proxify0\0\0\0\0\0\0\0\0");
    expected.extend([0; 16]);
    expected.extend([255; 9]);
    expected.extend([0; 7]);
    expected.extend(6_u16.to_ne_bytes());
    expected.extend([0, 1, 0]); // traffic class, "there is a protocol", inversions
    expected.extend([0; 3]); // alignment
    expected.extend([0; 4]); // nfcache
    expected.extend(216_u16.to_ne_bytes());
    expected.extend(288_u16.to_ne_bytes());
    expected.extend([0; 4]); // comefrom
    expected.extend([0; 4]); // alignment
    expected.extend([0; 16]); // counters
    expected.extend(48_u16.to_ne_bytes());
    expected.extend(b"tcp");
    expected.extend([0; 27]);
    for port in [0_u16, 65535, 0, 65535] {
        expected.extend(port.to_ne_bytes());
    }
    expected.extend([0, 0x0A, 0x0A, 0]); // option, mask, SYN and PSH, inversions
    expected.extend([0; 4]);
    expected.extend(72_u16.to_ne_bytes());
    expected.extend(b"REDIRECT");
    expected.extend([0; 22]);
    expected.extend(2_u32.to_ne_bytes());
    expected.extend([0; 32]);
    expected.extend(7777_u16.to_be_bytes());
    expected.extend(7777_u16.to_be_bytes());
    assert_eq!(rule.render(Family::V6), expected);
}

/// `filter` as the kernel makes it: a policy for each of its three hooks, and the end.
fn fresh(family: Family) -> (Info, Vec<u8>) {
    let accept = rule::accept(family);
    let step = u32::try_from(accept.len()).unwrap();
    let mut bytes = accept.repeat(3);
    bytes.extend(rule::label(family, "ERROR"));
    let hooks = [0, 0, step, 2 * step, 0];
    let info = Info {
        valid_hooks: 0b01110,
        hook_entry: hooks,
        underflow: hooks,
        entries: 4,
        size: u32::try_from(bytes.len()).unwrap(),
        ..Info::default()
    };
    (info, bytes)
}

#[test]
fn a_chain_that_is_added_and_taken_away_leaves_a_table_as_it_was() {
    for family in [Family::V4, Family::V6] {
        let (info, bytes) = fresh(family);
        let old = Blob::parse(family, &info, &bytes).unwrap();
        let mut blob = old.clone();
        blob.add_chain(CHAIN, &every_rule(family));
        let with = blob.render();
        assert_eq!(with.entries, 4 + 1 + 2 + 21);
        assert_eq!(
            with.hook_entry[3],
            old.render().hook_entry[3],
            "OUTPUT starts with our jump"
        );
        assert!(with.underflow[3] > with.hook_entry[3]);
        // As it is read back.
        let info = Info {
            hook_entry: with.hook_entry,
            underflow: with.underflow,
            entries: with.entries,
            ..info
        };
        let mut blob = Blob::parse(family, &info, &with.bytes).unwrap();
        blob.remove_chain("another");
        assert_eq!(blob.render(), with);
        blob.remove_chain(CHAIN);
        assert_eq!(blob.render(), old.render());
        assert_eq!(blob.render().bytes, bytes);
    }
}

#[test]
fn what_is_no_table_is_not_taken_for_one() {
    let family = Family::V4;
    let (info, bytes) = fresh(family);
    for end in 1..bytes.len() {
        // Cut at the end of an entry the last hooks are missing.
        assert_eq!(Blob::parse(family, &info, &bytes[..end]), None, "{end}");
    }
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut changed = bytes.clone();
            changed[at] = value;
            if let Some(mut blob) = Blob::parse(family, &info, &changed) {
                blob.remove_chain(CHAIN);
                blob.add_chain(CHAIN, &every_rule(family));
                blob.remove_chain(CHAIN);
                let _ = blob.render();
            }
        }
    }
}

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every rule as `iptables-legacy` reads it.
#[test]
fn the_kernel_takes_every_rule_and_iptables_reads_it() {
    let name = "netfilter::tests::the_kernel_takes_every_rule_and_iptables_reads_it";
    in_namespaces(name, || {
        let rule = |test, verdict| Rule { test, verdict };
        let nameserver = [10, 0, 0, 2].into();
        let nat = [
            rule(Test::ToThisMachine, Verdict::Return),
            rule(Test::DnsUdp { nameserver }, Verdict::Redirect(53)),
            rule(Test::DnsTcp { nameserver }, Verdict::Redirect(53)),
            rule(
                Test::MarkedSyn {
                    interface: "proxify0",
                },
                Verdict::Redirect(7777),
            ),
            rule(Test::Tcp, Verdict::Redirect(7777)),
        ];
        install(Family::V4, NAT, &nat).unwrap();
        assert_eq!(
            sh("iptables-legacy -t nat -S proxify; iptables-legacy -t nat -S OUTPUT"),
            "-N proxify
-A proxify -m addrtype --dst-type LOCAL -j RETURN
-A proxify -d 10.0.0.2/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 53
-A proxify -d 10.0.0.2/32 -p tcp -m tcp --dport 53 -j REDIRECT --to-ports 53
-A proxify -o proxify0 -p tcp -m tcp --tcp-flags SYN,PSH SYN,PSH -j REDIRECT --to-ports 7777
-A proxify -p tcp -j REDIRECT --to-ports 7777
-P OUTPUT ACCEPT
-A OUTPUT -j proxify
"
        );
        let filter = [
            rule(Test::To([0, 0, 0, 0, 0, 0, 0, 1].into()), Verdict::Return),
            rule(Test::Tcp, Verdict::Return),
            rule(Test::Any, Verdict::Reject),
        ];
        install(Family::V6, FILTER, &filter).unwrap();
        assert_eq!(
            sh("ip6tables-legacy -S proxify"),
            "-N proxify
-A proxify -d ::1/128 -j RETURN
-A proxify -p tcp -j RETURN
-A proxify -j REJECT --reject-with icmp6-port-unreachable
"
        );
        // A second time they are replaced; what others add stays where it is.
        sh("iptables-legacy -t nat -N other; iptables-legacy -t nat -A other -j proxify
            iptables-legacy -t nat -I OUTPUT -d 10.0.0.9 -j other; iptables-legacy -t nat -A OUTPUT -p udp");
        install(Family::V4, NAT, &nat[4..]).unwrap();
        let output = "-P OUTPUT ACCEPT\n-A OUTPUT -d 10.0.0.9/32 -j other\n-A OUTPUT -p udp\n";
        assert_eq!(
            sh("iptables-legacy -t nat -S proxify; iptables-legacy -t nat -S OUTPUT"),
            format!(
                "-N proxify\n-A proxify -p tcp -j REDIRECT --to-ports 7777\n{output}-A OUTPUT -j proxify\n"
            )
        );
        remove(Family::V4, NAT).unwrap();
        remove(Family::V6, FILTER).unwrap();
        assert_eq!(
            sh("iptables-legacy -t nat -S OUTPUT; iptables-legacy -t nat -S other"),
            format!("{output}-N other\n")
        );
        assert!(!sh("ip6tables-legacy -S").contains("proxify"));
        // A table that nobody uses is not made.
        remove(Family::V6, NAT).unwrap();
        assert!(!exists(Family::V6, NAT));
    });
}
