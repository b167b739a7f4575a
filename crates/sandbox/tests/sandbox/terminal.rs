//! Without CMD: a shell on the caller's terminal. script(1) gives us one.

use std::io::{Read, Write as _};
use std::process::Stdio;

use crate::host::{As, Program};

/// Reads until `word` has come; fails with what came instead.
fn read_until(output: &mut impl Read, word: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains(word) {
        let count = output.read(&mut byte).unwrap();
        assert_eq!(
            count,
            1,
            "{word:?} never came, but {:?}",
            String::from_utf8_lossy(&seen)
        );
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn without_cmd_it_is_a_shell_with_job_control_on_the_callers_terminal() {
    for options in ["", " --no-proxify"] {
        let program = Program::new(As::Root);
        let mut script = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("{}{options}", program.path().display()))
            .arg("/dev/null")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = script.stdin.take().unwrap();
        let mut stdout = script.stdout.take().unwrap();

        // The quotes keep the echo of what we type apart from what it prints.
        stdin.write_all(b"echo fla''gs=$-.\n").unwrap();
        let flags = read_until(&mut stdout, "flags=");
        let flags = flags + &read_until(&mut stdout, ".");
        assert!(
            flags.split("flags=").nth(1).unwrap().contains('m'),
            "no job control: {flags}"
        );

        // ^C ends what runs in the foreground, and neither the shell nor the relay.
        stdin
            .write_all(b"sh -c 'echo star''ted; exec sleep 1000'\n")
            .unwrap();
        read_until(&mut stdout, "started");
        stdin.write_all(b"\x03").unwrap();
        stdin
            .write_all(b"kill -0 $(cat /run/sandbox/relay.pid) && echo ali''ve\n")
            .unwrap();
        read_until(&mut stdout, "alive");

        stdin.write_all(b"exit 5\n").unwrap();
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).unwrap();
        let rest = String::from_utf8_lossy(&rest);
        assert_eq!(script.wait().unwrap().code(), Some(5), "{options}: {rest}");
    }
}

#[test]
fn the_terminals_interrupt_reaches_cmd_once() {
    let program = Program::new(As::Root);
    let cmd =
        "trap 'echo int''errupt' INT; sleep 1000 & echo star''ted; wait; wait; echo not''reached";
    let path = program.directory().join("cmd");
    std::fs::write(&path, cmd).unwrap();
    for options in ["", " --no-proxify"] {
        let mut script = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!(
                "{}{options} sh {}",
                program.path().display(),
                path.display()
            ))
            .arg("/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = script.stdin.take().unwrap();
        let mut stdout = script.stdout.take().unwrap();
        read_until(&mut stdout, "started");
        stdin.write_all(b"\x03").unwrap();
        let seen = read_until(&mut stdout, "interrupt");
        assert!(!seen.contains("notreached"));
        // The second `wait` would end if the signal came again.
        stdin.write_all(b"\x1c").unwrap();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert!(
            !rest.contains("interrupt") && !rest.contains("notreached"),
            "{options}: {rest}"
        );
        assert_eq!(script.wait().unwrap().code(), Some(128 + 3), "{options}");
    }
}

#[test]
fn the_callers_shell_can_stop_and_continue_the_sandbox() {
    for options in ["", " --no-proxify"] {
        let program = Program::new(As::Root);
        let mut script = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command", "sh -i", "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = script.stdin.take().unwrap();
        let mut stdout = script.stdout.take().unwrap();
        // Under another process of the same job, as `cargo run` is one.
        let cmd = program.directory().join("cmd");
        let text = "trap 'echo continued' CONT; echo started; while :; do sleep 1000 & wait; done";
        std::fs::write(&cmd, text).unwrap();
        let command = format!(
            "sh -c '\"$0\" \"$@\"; exit $?' {}{options} sh {}\n",
            program.path().display(),
            cmd.display()
        );
        stdin.write_all(command.as_bytes()).unwrap();
        read_until(&mut stdout, "started");
        stdin.write_all(b"\x1a").unwrap();
        read_until(&mut stdout, "Stopped");
        stdin.write_all(b"echo the sh''ell\n").unwrap();
        read_until(&mut stdout, "the shell");
        stdin.write_all(b"fg; echo st''atus $?\n").unwrap();
        read_until(&mut stdout, "continued");
        stdin.write_all(b"\x03").unwrap();
        let seen = read_until(&mut stdout, "status ") + &read_until(&mut stdout, "\n");
        assert!(seen.contains("status 130"), "{options}: {seen}");
        stdin.write_all(b"exit\n").unwrap();
        script.wait().unwrap();
    }
}

#[test]
fn in_a_pipeline_the_terminal_is_left_to_the_others() {
    let program = Program::new(As::Root);
    let line = format!(
        "{} echo data | sh -c 'read x; read y < /dev/tty; echo $x-$y'",
        program.path().display()
    );
    let mut script = std::process::Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--command",
            "bash --norc -i",
            "/dev/null",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = script.stdin.take().unwrap();
    let mut stdout = script.stdout.take().unwrap();
    stdin.write_all(line.as_bytes()).unwrap();
    stdin.write_all(b"\ntyped\n").unwrap();
    read_until(&mut stdout, "data-typed");
    stdin.write_all(b"exit\n").unwrap();
    script.wait().unwrap();
}
