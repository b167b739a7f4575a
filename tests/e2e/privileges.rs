//! What proxify may do once it serves, and that APP may do what proxify was given.

use tests::sandbox;

/// Capabilities by number (linux/capability.h).
const DAC_OVERRIDE: u64 = 1 << 1;
const FOWNER: u64 = 1 << 3;
const KILL: u64 = 1 << 5;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;

/// `of PID` for a script: each thread's name, what it may do, and whether it may get more by a program.
const OF: &str = r#"
of() {
    for thread in /proc/$1/task/*/status; do
        awk '/^(Name|CapPrm|CapEff|NoNewPrivs):/ {printf "%s ", $2} END {print ""}' $thread
    done | sort
}
settled() {
    for attempt in $(seq 200); do
        of $1 | grep -q ' 0 $' || return 0
        sleep 0.05
    done
    echo 'a thread keeps everything' >&2; of $1 >&2; exit 1
}
"#;

#[track_caller]
fn assert_least(lines: &[String]) {
    let threads: Vec<(&str, u64)> = lines
        .iter()
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [name, permitted, effective, no_new_privileges] = fields[..] else {
                panic!("{line}");
            };
            assert_eq!((permitted, no_new_privileges), (effective, "1"), "{line}");
            (name, u64::from_str_radix(effective, 16).unwrap())
        })
        .collect();
    assert_eq!(
        threads,
        [
            ("egress", NET_ADMIN | NET_RAW),
            ("log", 0),
            ("proxify", KILL | DAC_OVERRIDE | FOWNER),
            ("publish", 0),
        ]
    );
}

#[test]
fn each_thread_may_do_what_it_needs() {
    let ran = sandbox!().run(&format!("{OF} settled $PPID; of $PPID"));
    assert_least(&ran.lines());
}

#[test]
fn so_it_is_without_an_app_and_after_a_takeover() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{OF}
         PROXIFY=$(dirname $SANDBOX)/proxify
         mkfifo /run/ready
         $PROXIFY dns --ready-fd 9 9>/run/ready &
         first=$!
         read -r line < /run/ready
         settled $first; of $first
         $PROXIFY -- sh -c 'touch /run/second; while [ ! -e /run/end ]; do sleep 0.05; done' &
         second=$!
         while [ ! -e /run/second ]; do sleep 0.05; done
         kill $first; wait $first
         settled $second; of $second
         touch /run/end; wait $second"
    ));
    let lines = ran.lines();
    assert_eq!(lines.len(), 8, "{ran}");
    assert_least(&lines[..4]);
    assert_least(&lines[4..]);
}

/// All sets, the bit, the securebits' effect, the limit: as without proxify.
#[test]
fn app_may_do_what_proxify_was_given() {
    let ran = sandbox!().options(&["--no-proxify"]).run(
        r#"PROXIFY=$(dirname $SANDBOX)/proxify
         of_app() { "$@" sh -c 'grep -e ^Cap -e ^NoNewPrivs -e ^Uid -e ^Groups /proc/self/status'; }
         for given in true \
             'setpriv --bounding-set -sys_boot,-mknod true' \
             'setpriv --inh-caps +net_raw --ambient-caps +net_raw true' \
             'setpriv --no-new-privs true'; do
             with=${given% true}; [ "$with" != true ] || with=env
             of_app $with > /run/without
             of_app $with $PROXIFY -- > /run/with
             cmp /run/without /run/with && echo same
         done
         grep -c ^Cap /run/with"#,
    );
    ran.assert_prints(&["same", "same", "same", "same", "5"]);
}

#[test]
fn what_is_needed_later_can_be_done() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{OF}
         PROXIFY=$(dirname $SANDBOX)/proxify
         rm -f /etc/resolv.conf
         echo 'nameserver 192.0.2.1' > /etc/resolv.conf
         touch /run/mounted; chmod 444 /run/mounted
         mount --bind /run/mounted /etc/resolv.conf
         echo 'nameserver 192.0.2.2' > /run/mounted
         $PROXIFY -- setpriv --reuid 0 sh -c '
             trap \"echo TERM; exit 0\" TERM; touch /run/app
             while :; do sleep 0.05; done' &
         proxify=$!
         while [ ! -e /run/app ]; do sleep 0.05; done
         settled $proxify
         echo 'nameserver 192.0.2.3' > /etc/resolv.conf
         for attempt in $(seq 100); do
             grep -q '^nameserver 127.0.0.1$' /etc/resolv.conf && break; sleep 0.1
         done
         grep '^nameserver' /etc/resolv.conf
         kill $proxify; wait $proxify
         grep '^nameserver' /etc/resolv.conf; stat -c %a /etc/resolv.conf
         iptables-legacy -t nat -S | grep -c proxify; ip route show table all | grep -c proxify0"
    ));
    assert_eq!(
        ran.stdout().lines().collect::<Vec<_>>(),
        [
            "nameserver 127.0.0.1",
            "TERM",
            "nameserver 192.0.2.2",
            "444",
            "0",
            "0"
        ],
        "{ran}"
    );
}
