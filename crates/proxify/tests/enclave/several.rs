//! Several proxifys on one machine: one after the other, one inside the other, side by side.

use crate::lab::{Enclave, ORIGINAL};

#[test]
fn one_after_the_other_as_in_the_servers_init() {
    let enclave = Enclave::new();
    let script = r#"
        "$PROXIFY" -- sh -c 'echo us-east-1 > region' && "$PROXIFY" -- cat region
    "#;
    assert_eq!(enclave.run(script).lines(), ["us-east-1"]);
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn one_inside_the_other() {
    let enclave = Enclave::new();
    let script = r#"
        "$PROXIFY" -- "$PROXIFY" -- sh -c 'grep -c nameserver.127.0.0.1 resolv.conf; exit 6'
        echo $?
    "#;
    assert_eq!(enclave.run(script).lines(), ["1", "6"]);
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn the_next_takes_over_when_the_owner_is_killed_or_ends() {
    let enclave = Enclave::new();
    let script = r#"
        holder() { "$PROXIFY" -- sh -c "until [ -e $1.end ]; do sleep 0.02; done" & }
        holder one; one=$!
        until_true serves
        "$PROXIFY" -- sh -c 'echo up > two.up; until [ -e two.end ]; do sleep 0.02; done' & two=$!
        until_true '[ -e two.up ]'
        kill -9 $one
        wait $one 2>/dev/null
        # Within a second: 50 times 0.02 s.
        until_true serves
        "$PROXIFY" -- sh -c 'echo up > three.up; until [ -e three.end ]; do sleep 0.02; done' & three=$!
        until_true '[ -e three.up ]'
        touch two.end
        wait $two
        echo "two: $?"
        until_true serves
        until_true 'grep -q nameserver.127.0.0.1 resolv.conf'
        touch three.end
        wait $three
        echo "three: $?"
        serves || echo nobody
    "#;
    assert_eq!(
        enclave.run(script).lines(),
        ["two: 0", "three: 0", "nobody"]
    );
    assert_eq!(
        enclave.resolv_conf(),
        ORIGINAL,
        "though the first could not put it back"
    );
}

#[test]
fn a_foreign_listener_is_named() {
    let enclave = Enclave::new();
    // Another /run is another lock, so that one is a stranger to the other.
    let script = r#"
        mkfifo ready
        unshare -m sh -c 'mount -t tmpfs none /run; exec "$PROXIFY" dns --resolv-conf none --ready-fd 3' 3>ready &
        read line < ready
        "$PROXIFY" -- true
        echo $?
        kill $!
        wait $!
    "#;
    let outcome = enclave.run(script);
    assert_eq!(outcome.lines(), ["69"]);
    let error = "cannot answer DNS on 127.0.0.1:53: proxify (pid ";
    assert!(outcome.stderr.contains(error), "{outcome:?}");
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn what_others_write_is_put_right_by_the_next_owner_and_does_not_become_the_original() {
    let enclave = Enclave::new();
    let script = r#"
        holder() { "$PROXIFY" -- sh -c "touch $1.up; until [ -e $1.end ]; do sleep 0.02; done" & }
        ours() { grep -q nameserver.127.0.0.1 resolv.conf; }
        foreign() { echo nameserver 6.6.6.6 > resolv.conf; }
        holder one; one=$!
        until_true serves
        holder two; two=$!
        # It stands in the queue: one that comes after the kill takes what it finds for the original.
        until_true '[ -e two.up ]'
        foreign
        until_true ours
        # The owner is killed before it can look.
        foreign
        kill -9 $one
        wait $one 2>/dev/null
        until_true ours
        foreign
        until_true ours
        # It is the last to write, and has not the last word.
        foreign
        touch two.end
        wait $two
        echo "two: $?"
    "#;
    assert_eq!(enclave.run(script).lines(), ["two: 0"]);
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}
