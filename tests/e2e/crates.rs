//! The crates depend on each other as the architecture says, and on nothing more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each crate and the crates of ours that it may depend on.
const ALLOWED: [(&str, &[&str]); 21] = [
    ("wire", &[]),
    ("check", &[]),
    ("histogram", &[]),
    ("resolver", &["histogram", "wire"]),
    ("resolv", &[]),
    ("link", &[]),
    ("privileges", &[]),
    ("logging", &["privileges"]),
    ("egress", &["histogram", "link", "privileges"]),
    ("publish", &["link", "privileges"]),
    ("report", &["histogram"]),
    ("metrics", &["report"]),
    ("operator", &[]),
    ("control", &["operator", "report"]),
    ("measure", &["link", "wire"]),
    ("vpc", &["link", "resolv"]),
    ("stub", &["link", "resolver", "wire"]),
    (
        "relay",
        &[
            "histogram",
            "link",
            "logging",
            "metrics",
            "operator",
            "privileges",
            "report",
            "resolv",
            "wire",
        ],
    ),
    (
        "proxify",
        &[
            "check",
            "control",
            "egress",
            "link",
            "logging",
            "measure",
            "metrics",
            "privileges",
            "publish",
            "report",
            "resolv",
            "stub",
            "vpc",
        ],
    ),
    ("manual", &["proxify", "relay"]),
    ("sandbox", &["proxify", "relay"]),
];

#[test]
fn crates_depend_only_on_those_under_them() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let found: BTreeSet<String> = fs::read_dir(&crates)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, listed);
    for (name, allowed) in ALLOWED {
        let manifest = fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
        let section = manifest
            .split("\n[dependencies]\n")
            .nth(1)
            .unwrap_or_default();
        let section = section.split("\n[").next().unwrap_or_default();
        let ours: Vec<&str> = section
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|dependency| listed.contains(*dependency))
            .collect();
        for dependency in ours {
            assert!(
                allowed.contains(&dependency),
                "{name} may not depend on {dependency}"
            );
        }
    }
}
