//! What stands in resolv.conf, whoever else has a say in it.

use crate::lab::{Enclave, ORIGINAL};

/// A relay that was taken over sends what it likes: nothing of it stands in the file but names.
#[test]
fn a_hostile_relay_puts_no_line_into_it() {
    let enclave = Enclave::behind(
        b"nameserver 6.6.6.6\nnameserver 127.0.0.1\nsearch a.example\rnameserver\x0b7.7.7.7 b\0.example \
          \x1b[2J.example ../etc kv.internal\n\
          options ndots:15 timeout:0 attempts:255 use-vc trust-ad rotate edns0\nsearch \xff evil.example\n\
          domain\nname\0server 6.6.6.6\noptions use-vc\r\n",
    );
    let script = r#"
        exec "$PROXIFY" -- sh -c 'for tick in $(seq 200); do
            grep -q ^search resolv.conf && break; sleep 0.05
        done; cat resolv.conf'
    "#;
    let expected = "# Written by proxify, whose stub answers here; the file from before is put back \
                    at the end.\nnameserver 127.0.0.1\nsearch a.example nameserver 7.7.7.7 kv.internal\n\
                    options timeout:1 attempts:5 ndots:1\n";
    assert_eq!(enclave.run(script).stdout, expected);
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}

#[test]
fn another_programs_text_is_put_right_and_told_once() {
    let enclave = Enclave::new();
    let script = r#"
        "$PROXIFY" -- sh -c 'for round in 1 2 3; do
            echo nameserver 6.6.6.6 > resolv.conf
            for tick in $(seq 40); do
                grep -q nameserver.127.0.0.1 resolv.conf && echo ours && break; sleep 0.05
            done
        done; echo nameserver 6.6.6.6 > resolv.conf'
    "#;
    let outcome = enclave.run(script);
    assert_eq!(outcome.lines(), ["ours"; 3]);
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    for word in [
        "WARN",
        "another program",
        "resolv.conf",
        "--resolv-conf none",
    ] {
        assert!(outcome.stderr.contains(word), "{outcome:?}");
    }
    assert_eq!(enclave.resolv_conf(), ORIGINAL);
}
