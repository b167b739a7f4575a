//! APP as a child that does not notice it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::lab::{Enclave, ORIGINAL};

#[test]
fn its_status_is_proxifys() {
    let enclave = Enclave::new();
    let script = r#"
        for end in 'exit 0' 'exit 7' 'exit 255' 'kill -TERM $$' 'kill -KILL $$' 'kill -40 $$'; do
            "$PROXIFY" -- sh -c "$end"
            echo $?
        done
        "$PROXIFY" sh -c 'exit $#' name -x --log --
        echo $?
    "#;
    assert_eq!(
        enclave.run(script).lines(),
        ["0", "7", "255", "143", "137", "168", "3"]
    );
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn an_app_that_cannot_run_is_126_or_127_with_the_reason() {
    let enclave = Enclave::new();
    for (name, text, mode) in [
        ("plain", "#!/bin/sh\n", 0o644),
        ("lost", "#!/no/such/interpreter\n", 0o755),
    ] {
        fs::write(enclave.path(name), text).unwrap();
        fs::set_permissions(enclave.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (app, status, reason) in [
        ("no-such-app", 127, "not in PATH"),
        ("./no-such-app", 127, "no such file"),
        ("./plain", 126, "chmod +x"),
        ("./lost", 126, "not in this image"),
        ("/", 126, "directory"),
    ] {
        let outcome = enclave.run(&format!("PATH=/usr/bin:/bin; \"$PROXIFY\" -- {app}"));
        assert_eq!(outcome.status, Some(status), "{outcome:?}");
        let line = format!("proxify: cannot run {app}: ");
        assert!(
            outcome.stderr.contains(&line) && outcome.stderr.contains(reason),
            "{outcome:?}"
        );
        assert_eq!(enclave.resolv_conf(), ORIGINAL);
    }
}

#[test]
fn it_finds_the_stub_and_the_parents_search_list_in_resolv_conf() {
    let enclave = Enclave::new();
    let outcome = enclave.run(
        r#""$PROXIFY" -- sh -c 'until_true() { until eval "$1"; do sleep 0.02; done; }
        until_true "grep -q ^search resolv.conf"; grep -v "^#" resolv.conf'"#,
    );
    let lines = [
        "nameserver 127.0.0.1",
        "search ec2.internal",
        "options timeout:5 attempts:2 ndots:1",
    ];
    assert_eq!(outcome.lines(), lines);
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn its_environment_descriptors_and_signals_are_its_own() {
    let enclave = Enclave::new();
    // HUP and CHLD are ignored here, as under nohup, and descriptor 7 is open.
    let script = r#"
        cat > show <<'END'
            env | grep -v '^_=' | sort
            ls /proc/self/fd
            grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status
            ulimit -n
            cut -d' ' -f5-8 /proc/self/stat
END
        trap '' HUP CHLD
        exec 7>/dev/null
        export NOTIFY_SOCKET=/run/notify FOO='b a r'
        sh ./show > plain
        "$PROXIFY" -- sh ./show > under
        cmp plain under
    "#;
    assert_eq!(enclave.run(script).lines(), Vec::<&str>::new());
}

#[test]
fn signals_sent_to_proxify_reach_it() {
    let enclave = Enclave::new();
    let script = r#"
        cat > app <<'END'
            for signal in TERM INT HUP QUIT USR1 USR2 WINCH CONT; do
                trap "echo $signal >> got" $signal
            done
            sleep 30 &
            trap 'kill $!; exit 5' ABRT
            echo $$ > app.pid
            while :; do wait $!; done
END
        # Without -m a shell starts its background jobs with INT and QUIT ignored.
        "$PROXIFY" -- sh ./app &
        until_true '[ -s app.pid ]'
        for signal in TERM INT HUP QUIT USR1 USR2 WINCH CONT; do
            kill -$signal $!
            until_true "grep -qs $signal got"
        done
        kill -TSTP $!
        until_true 'grep -q "^State:.T" /proc/$(cat app.pid)/status'
        kill -CONT $!
        until_true 'grep -q "^State:.S" /proc/$(cat app.pid)/status'
        kill -ABRT $(cat app.pid)
        wait $!
        echo $?
        grep -v CONT got
    "#;
    let outcome = {
        let output = enclave
            .command("bash", &format!("set -m\n{script}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let got: Vec<&str> = outcome.lines().collect();
    assert_eq!(
        got,
        ["5", "TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH"],
        "each once"
    );
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn killing_proxify_kills_it() {
    let enclave = Enclave::new();
    let script = r#"
        "$PROXIFY" -- sh -c 'echo $$ > app.pid; exec sleep 30' &
        until_true '[ -s app.pid ]'
        kill -9 $!
        wait $!
        echo $?
        until_true '! [ -d /proc/$(cat app.pid) ] || grep -q "^State:.Z" /proc/$(cat app.pid)/status'
    "#;
    assert_eq!(enclave.run(script).lines(), ["137"]);
}

#[test]
fn as_pid_1_proxify_reaps_orphans_and_ends_with_its_app() {
    let enclave = Enclave::new();
    let script = r#"
        cat > app <<'END'
            echo $PPID
            (sh -c 'echo $$ > orphan.pid' &)
            until [ -s orphan.pid ]; do sleep 0.02; done
            tries=500
            while [ -d /proc/$(cat orphan.pid) ] && [ $tries -gt 0 ]; do
                tries=$((tries - 1)); sleep 0.02
            done
            [ $tries -gt 0 ] && exit 9
END
        unshare --pid --fork --kill-child --mount-proc "$PROXIFY" -- sh ./app
        echo $?
    "#;
    assert_eq!(enclave.run(script).lines(), ["1", "9"]);
}

#[test]
fn a_signal_before_it_starts_ends_proxify_and_puts_resolv_conf_back() {
    let enclave = Enclave::new();
    // No relay there, so that APP is waited with.
    let script = r#"
        export PROXIFY_PARENT=unix:/nonexistent/relay
        "$PROXIFY" -- sh -c 'echo started' &
        until_true 'grep -q 127.0.0.1 resolv.conf'
        kill -TERM $!
        wait $!
        echo $?
    "#;
    assert_eq!(enclave.run(script).lines(), ["143"]);
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn lo_is_brought_up_and_bad_usage_is_64() {
    let enclave = Enclave::new();
    let script = r#"
        "$PROXIFY" --no-such-option -- true; echo $?
        "$PROXIFY"; echo $?
        "$PROXIFY" dns --ready-fd 9; echo $?
        "$PROXIFY" --help > /dev/null; echo $?
        "$PROXIFY" --version > /dev/null; echo $?
        "$PROXIFY" -- grep -c '0100007F:0035 ' /proc/net/udp
    "#;
    assert_eq!(
        enclave.run(script).lines(),
        ["64", "64", "64", "0", "0", "1"]
    );
}
