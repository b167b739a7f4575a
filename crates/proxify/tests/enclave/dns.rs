//! `proxify dns`: the service without an APP, for init scripts.

use std::os::unix::net::UnixDatagram;

use crate::lab::{Enclave, ORIGINAL};

#[test]
fn an_init_script_waits_for_its_line_and_ends_it_by_term() {
    let enclave = Enclave::new();
    let script = r#"
        mkfifo ready
        for signal in TERM INT; do
            bash -c 'exec "$PROXIFY" dns --ready-fd 3 3>ready' &
            read line < ready
            echo "ready: $line"
            serves && echo serves
            grep nameserver resolv.conf
            # A shell starts its background jobs with INT ignored; proxify listens to it all the same.
            kill -$signal $!
            wait $!
            echo $?
            cat resolv.conf
        done
    "#;
    let once = [
        "ready: ",
        "serves",
        "nameserver 127.0.0.1",
        "0",
        ORIGINAL.trim_end(),
    ];
    assert_eq!(enclave.run(script).lines(), [once, once].concat());
}

#[test]
fn a_service_manager_is_told_once_names_are_served() {
    let enclave = Enclave::new();
    let socket = UnixDatagram::bind(enclave.path("notify")).unwrap();
    let script = r#"NOTIFY_SOCKET="$PWD/notify" exec "$PROXIFY" dns"#;
    let mut proxify = enclave.command("sh", script).spawn().unwrap();
    let mut text = [0; 64];
    let length = socket.recv(&mut text).unwrap();
    assert_eq!(&text[..length], b"READY=1\n");
    assert!(enclave.resolv_conf().contains("nameserver 127.0.0.1"));
    // `timeout` passes it on.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(proxify.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    proxify.wait().unwrap();
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

/// A pipe that is full, and read by nobody.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let enclave = Enclave::new();
    let script = r#"
        mkfifo ready log
        exec 9<>log
        dd if=/dev/zero of=log oflag=nonblock bs=4096 count=100 2>/dev/null
        "$PROXIFY" dns --log debug --ready-fd 3 3>ready 2>&9 &
        read line < ready
        serves && echo serves
        kill $!
        wait $!
        echo $?
    "#;
    assert_eq!(enclave.run(script).lines(), ["serves", "0"]);
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn an_app_beside_it_uses_its_stub_and_leaves_it_alone() {
    let enclave = Enclave::new();
    let script = r#"
        mkfifo ready
        "$PROXIFY" dns --ready-fd 3 3>ready &
        read line < ready
        "$PROXIFY" -- sh -c 'grep -c nameserver.127.0.0.1 resolv.conf; exit 4'
        echo $?
        serves && grep -c nameserver.127.0.0.1 resolv.conf
        kill $!
        wait $!
    "#;
    assert_eq!(enclave.run(script).lines(), ["1", "4", "1"]);
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}
