//! Whatever way it ends, the host is as it was.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::{As, Host, Program, processes_with};

/// Every process of the sandbox inherits the pipes of its output, so their end is the end of all of them.
fn ends_without_a_trace(user: As, options: &[&str], signal: Signal) {
    let before = Host::look();
    let marker = format!(
        "SANDBOX_TEST_MARK={user:?}{signal}{}{}",
        options.join(""),
        std::process::id()
    );
    let (name, value) = marker.split_once('=').unwrap();
    let vandalism = "echo x > /etc/resolv.conf; echo x >> /etc/hosts; echo x > /etc/new-file; \
                     (echo x >> /etc/passwd) 2>/dev/null; rm -f /etc/nsswitch.conf; echo x > /run/new-file; \
                     sandbox ctl parent sh -c 'echo x > /etc/resolv.conf; echo x > /etc/new-file; echo x > /run/y'; \
                     echo ready; exec sleep 1000";
    let program = Program::new(user);
    let mut child = program
        .command()
        .args(options)
        .args(["sh", "-c", vandalism])
        .env(name, value)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut stderr = child.stderr.take().unwrap();
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    if line != "ready\n" {
        let mut why = String::new();
        stderr.read_to_string(&mut why).unwrap();
        panic!("{user:?} {options:?}: {line:?} {why}");
    }
    assert!(
        processes_with(&marker).len() >= 3,
        "the test looks for processes in the wrong way"
    );

    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    child.wait().unwrap();
    stdout.read_to_end(&mut Vec::new()).unwrap();
    stderr.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(processes_with(&marker), [""; 0], "{user:?} {options:?}");
    assert!(
        Host::look() == before,
        "{user:?} {options:?}: /etc, /run, interfaces or mounts of the host changed"
    );
}

#[test]
fn after_kill_9_as_root() {
    ends_without_a_trace(As::Root, &[], Signal::SIGKILL);
}

#[test]
fn after_kill_9_without_privileges() {
    ends_without_a_trace(As::Nobody, &[], Signal::SIGKILL);
}

#[test]
fn after_kill_9_without_proxify_or_relay() {
    ends_without_a_trace(
        As::Root,
        &["--no-proxify", "--no-relay", "--resolver", "none"],
        Signal::SIGKILL,
    );
}

#[test]
fn after_a_clean_end() {
    ends_without_a_trace(As::Root, &[], Signal::SIGTERM);
    ends_without_a_trace(As::Nobody, &[], Signal::SIGTERM);
}
