//! The sandbox as a program: what CMD finds in it, and what the host finds after it.
//!
//! These tests make namespaces. They run as root, and fail, with a word of why, where they cannot; the unprivileged
//! ones give root up themselves and need user namespaces.

mod host;
mod inside;
mod leaves_nothing;
mod naming;
mod terminal;

use host::{As, Program, text};

#[test]
fn the_exit_status_is_that_of_cmd() {
    for user in [As::Root, As::Nobody] {
        let program = Program::new(user);
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + 15)] {
            let status = program.run(&["sh", "-c", script]).status;
            assert_eq!(status.code(), Some(code), "{user:?}: {script}");
        }
    }
}

#[test]
fn a_cmd_that_cannot_run_is_126_or_127_with_and_without_proxify() {
    let program = Program::new(As::Root);
    for options in [&[][..], &["--no-proxify"]] {
        for (cmd, code) in [("/nonexistent/program", 127), ("/etc/hosts", 126)] {
            let output = program.run(&[options, &[cmd]].concat());
            assert_eq!(output.status.code(), Some(code), "{cmd}: {output:?}");
            assert!(text(&output.stderr).contains(cmd), "{output:?}");
        }
    }
}

#[test]
fn bad_usage_is_64_and_says_what_is_bad() {
    let program = Program::new(As::Nobody);
    for (arguments, why) in [
        (&["--vpc-cidr", "10.0.0.1/16", "true"][..], "host bits"),
        (&["--vpc-cidr", "10.0.0.0/28", "true"], "too small"),
        (&["--without-endpoint", "lambda", "true"], "aps-workspaces"),
        (&["--no-such-option", "true"], "--no-such-option"),
        (&["ctl", "relay", "dance"], "stop"),
        (&["ctl", "parent"], "CMD"),
    ] {
        let output = program.run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
}

#[test]
fn help_names_what_is_in_the_sandbox() {
    let output = Program::new(As::Nobody).run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for word in [
        "/run/sandbox/queries",
        "without/ec2",
        "ec2.us-east-1.vpce.amazonaws.com",
        "ctl relay",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn a_zone_file_that_is_not_there_is_named_and_nothing_runs() {
    let output = Program::new(As::Nobody).run(&["--zone", "/nonexistent.zone", "echo", "ran"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(
        text(&output.stderr).contains("/nonexistent.zone"),
        "{output:?}"
    );
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn ctl_outside_a_sandbox_says_so() {
    let program = Program::new(As::Nobody);
    for arguments in [
        ["ctl", "parent", "true"],
        ["ctl", "vpc", "true"],
        ["ctl", "relay", "stop"],
    ] {
        let output = program.run(&arguments);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        assert!(
            text(&output.stderr).contains("no sandbox here"),
            "{output:?}"
        );
    }
}

#[test]
fn where_user_namespaces_are_off_the_sysctl_is_named() {
    // A user namespace of our own in which the limit is 0, and whose root has no capabilities.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                  exec setpriv --inh-caps=-all --bounding-set=-all \"$0\" true";
    let program = Program::new(As::Nobody);
    let output = program.wrapped(&["unshare", "--user", "--map-root-user", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(
        text(&output.stderr).contains("user.max_user_namespaces"),
        "{output:?}"
    );
}
