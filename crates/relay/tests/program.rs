//! The program as init systems start and stop it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use link::{Address, Parent};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Started through a shell that puts the pipe on descriptor 3.
fn start(prefix: &Path) -> Child {
    Command::new("sh")
        .args([
            "-c",
            r#"exec "$0" --control none --listen "unix:$1" --ready-fd 3 3>&1 >/dev/null"#,
        ])
        .arg(env!("CARGO_BIN_EXE_proxify-relay"))
        .arg(prefix)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_until_ready(relay: &mut Child) {
    let mut line = String::new();
    BufReader::new(relay.stdout.take().unwrap())
        .read_to_string(&mut line)
        .unwrap();
    assert_eq!(line, "\n");
}

#[test]
fn it_is_ready_serves_and_ends_with_0_on_a_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("relay");
        let mut relay = start(&prefix);
        wait_until_ready(&mut relay);

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let parent = Parent::new(Address::Unix(prefix), link::DEFAULT_PORT);
        let granted = runtime.block_on(parent.request(link::Command::ResolvConf));
        // Kept open: a lasting connection must not hold the relay up.
        let granted = granted.unwrap();

        kill(Pid::from_raw(relay.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(relay.wait().unwrap().code(), Some(0));
        drop(granted);
        let log: Vec<String> = BufReader::new(relay.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .collect();
        assert!(
            log.iter()
                .any(|line| line.contains("listening address=unix:")),
            "{log:?}"
        );
        assert!(!directory.path().join("relay_8888").exists());
    }
}

/// By hand it is often root's.
#[test]
fn no_thread_of_it_may_do_more_than_it_needs() {
    /// CAP_DAC_OVERRIDE, for the unix socket's directory, and CAP_NET_BIND_SERVICE.
    const NEEDED: u64 = 1 << 1 | 1 << 10;
    let directory = tempfile::tempdir().unwrap();
    let mut relay = start(&directory.path().join("relay"));
    wait_until_ready(&mut relay);
    let threads = std::fs::read_dir(format!("/proc/{}/task", relay.id())).unwrap();
    let mut count = 0;
    for thread in threads {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let value = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.unwrap().trim().to_owned()
        };
        for set in ["CapPrm:", "CapEff:"] {
            let set = u64::from_str_radix(&value(set), 16).unwrap();
            assert_eq!(set & !NEEDED, 0, "{status}");
        }
        assert_eq!(value("NoNewPrivs:"), "1");
        count += 1;
    }
    assert!(count > 1, "its workers");
    relay.kill().unwrap();
    relay.wait().unwrap();
}

#[test]
fn a_killed_relay_is_replaced_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("relay");
    let mut first = start(&prefix);
    wait_until_ready(&mut first);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(directory.path().join("relay_8888").exists());
    let mut second = start(&prefix);
    wait_until_ready(&mut second);
    second.kill().unwrap();
    second.wait().unwrap();
}
