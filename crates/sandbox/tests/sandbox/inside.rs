//! What CMD finds around it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::{As, Program, text};

#[test]
fn the_enclave_has_only_loopback_and_nothing_that_answers_past_the_stub() {
    for user in [As::Root, As::Nobody] {
        let found = Program::new(user).script(
            &["--no-proxify"],
            "ls /sys/class/net; ls /run; cat /etc/hosts; grep hosts: /etc/nsswitch.conf
             readlink /etc/resolv.conf; test ! -e /etc/resolv.conf; id -u; ls -A /var/run/",
        );
        let expected = [
            "lo",
            "sandbox",
            "127.0.0.1 localhost",
            "::1 localhost",
            "hosts: files dns",
            "/run/resolvconf/resolv.conf",
            "0",
            "sandbox",
        ];
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{user:?}");
    }
}

#[test]
fn the_hosts_etc_is_there_to_read_but_not_to_write() {
    for user in [As::Root, As::Nobody] {
        let program = Program::new(user);
        let found = program.script(&["--no-proxify"], "cat /etc/passwd; ls -A /etc");
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        assert!(found.starts_with(&passwd), "{user:?}");
        for entry in std::fs::read_dir("/etc").unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            let named = found.lines().any(|line| line == name) || name == "resolv_override.conf";
            assert!(named, "{user:?}: /etc/{name} is missing");
        }
        for part in ["", "sandbox ctl parent "] {
            // To truncate asks the mount first, whoever we are; to append asks the file's mode first.
            let script = format!("{part}sh -c '! echo x > /etc/passwd' 2>&1");
            let refused = program.script(&["--no-proxify"], &script);
            assert!(refused.contains("Read-only"), "{user:?}: {refused}");
        }
    }
}

#[test]
fn the_parents_files_are_its_own() {
    let found = Program::new(As::Nobody).script(
        &["--no-proxify"],
        "sandbox ctl parent sh -c 'echo nameserver 192.0.2.1 > /etc/resolv.conf'
         test ! -e /etc/resolv.conf
         cd /usr; sandbox ctl parent sh -c 'cat /etc/resolv.conf; pwd'",
    );
    assert_eq!(found, "nameserver 192.0.2.1\n/usr\n");
}

#[test]
fn the_relay_is_started_stopped_and_killed_at_will() {
    for user in [As::Root, As::Nobody] {
        let found = Program::new(user).script(
            &["--no-proxify", "--no-relay"],
            "ls /run/sandbox | grep -e link -e relay || echo none
             sandbox ctl relay start; cd /run/sandbox; ls link_8888 relay.pid
             sandbox ctl relay start 2>&1 | grep -o 'runs already' || :
             sandbox ctl relay kill; ls relay.pid 2>/dev/null || echo gone
             sandbox ctl relay start; kill -0 $(cat relay.pid) && echo alive
             sandbox ctl relay stop; ls relay.pid 2>/dev/null || echo gone
             sandbox ctl relay stop 2>&1 | grep -o 'does not run' || :",
        );
        let expected = [
            "none",
            "link_8888",
            "relay.pid",
            "runs already",
            "gone",
            "alive",
            "gone",
            "does not run",
        ];
        assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{user:?}");
    }
}

#[test]
fn the_programs_are_at_hand() {
    let found = Program::new(As::Root).script(
        &["--no-proxify"],
        "echo $SANDBOX $PROXIFY_PARENT; \"$SANDBOX\" --help | head -1 | cut -c1-4
         proxify --help > /dev/null && proxify-relay --help > /dev/null && echo both",
    );
    assert_eq!(
        found,
        "/run/sandbox/bin/sandbox unix:/run/sandbox/link\nRuns\nboth\n"
    );
}

#[test]
fn orphans_are_reaped_and_end_with_the_sandbox() {
    let output = Program::new(As::Root).run(&["sh", "-c", "(sleep 1000 &) ; echo done"]);
    // That this returns at all says it: the orphan holds the pipe of our output.
    assert_eq!(text(&output.stdout), "done\n");
}

#[test]
fn signals_sent_to_the_sandbox_reach_cmd() {
    for user in [As::Root, As::Nobody] {
        let program = Program::new(user);
        for options in [&[][..], &["--no-proxify"]] {
            for signal in [
                Signal::SIGTERM,
                Signal::SIGINT,
                Signal::SIGHUP,
                Signal::SIGUSR1,
            ] {
                let name = signal.as_str().trim_start_matches("SIG");
                // INT is ignored in background jobs of a shell without job control, and `wait` returns at a trap.
                let script = format!("trap 'exit 42' {name}; sleep 1000 & echo ready; wait");
                let mut child = program
                    .command()
                    .args(options)
                    .args(["sh", "-c", &script])
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut line = String::new();
                BufReader::new(child.stdout.as_mut().unwrap())
                    .read_line(&mut line)
                    .unwrap();
                assert_eq!(line, "ready\n");
                kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
                assert_eq!(
                    child.wait().unwrap().code(),
                    Some(42),
                    "{user:?} {options:?} {signal}"
                );
            }
        }
    }
}
