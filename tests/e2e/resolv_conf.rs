//! The enclave's resolv.conf, byte by byte, behind all kinds of parents, and in foreign hands.

use tests::{WAIT_FOR, file, sandbox, unbound_conf};

const HEADER: &str =
    "# Written by proxify, whose stub answers here; the file from before is put back at the end.\n";

/// Makes $PARENT the parent's resolv.conf, and waits until the enclave has it, which `search` tells.
const FOLLOW: &str = "
$SANDBOX ctl parent sh -c 'cat $PARENT > /etc/resolv.conf'
for attempt in $(seq 60); do
    grep -qx \"search $SEARCH\" /etc/resolv.conf && break
    sleep 0.1
done
cat /etc/resolv.conf
";

/// Runs `script` behind a parent whose resolv.conf says `text`; `prepare` comes before. Checks that
/// the enclave's then says exactly `expected` after our header, and gives the lines after it.
#[track_caller]
fn behind(
    name: &str,
    text: impl AsRef<[u8]>,
    prepare: &str,
    expected: [&str; 3],
    script: &str,
) -> Vec<String> {
    let search = expected[1].strip_prefix("search ").unwrap();
    let ran = sandbox!()
        .env("PARENT", file!(name, text))
        .env("SEARCH", search)
        .run(&format!("{prepare}\n{FOLLOW}\n{script}"));
    let lines = ran.lines();
    let [nameserver, search, options] = expected;
    let conf = format!("{HEADER}{nameserver}\n{search}\n{options}\n");
    assert!(
        ran.stdout().starts_with(&conf),
        "{conf}\nwas expected\n{ran}"
    );
    lines.into_iter().skip(conf.lines().count()).collect()
}

const NAMESERVER: &str = "nameserver 127.0.0.1";
const OPTIONS: &str = "options timeout:5 attempts:2 ndots:1";

/// A private name, by its full name and by the search list.
const RESOLVES: &str = "
getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{print $1}' | sort -u
getent ahostsv4 v4only | awk '{print $1}' | sort -u
";
const RESOLVED: [&str; 3] = ["10.0.1.17", "10.0.2.17", "10.0.1.52"];

#[test]
fn a_parent_on_eks() {
    let lines = behind(
        "eks.conf",
        "search kv.svc.cluster.local svc.cluster.local cluster.local ec2.internal kv.internal\n\
         nameserver 10.0.0.2\noptions ndots:5\n",
        "",
        [
            NAMESERVER,
            "search kv.svc.cluster.local svc.cluster.local cluster.local ec2.internal kv.internal",
            OPTIONS,
        ],
        &format!(
            "{RESOLVES}
             # With ndots:5 this name would have been tried with each search name first.
             getent ahostsv4 sqs.us-east-1.amazonaws.com >/dev/null
             grep -c 'sqs.us-east-1.amazonaws.com.*cluster.local' /run/sandbox/queries || true"
        ),
    );
    assert_eq!(lines, [&RESOLVED[..], &["0"]].concat());
}

#[test]
fn a_parent_with_systemd_resolved() {
    let behind_it = "nameserver 10.0.0.2\nsearch unused.example\n";
    let lines = behind(
        "resolved.conf",
        "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch kv.internal\n",
        &format!(
            "$SANDBOX ctl parent sh -c '
                 mkdir -p /run/systemd/resolve
                 printf \"{}\" > /run/systemd/resolve/resolv.conf'",
            behind_it.replace('\n', "\\n")
        ),
        [NAMESERVER, "search kv.internal", OPTIONS],
        RESOLVES,
    );
    assert_eq!(lines, RESOLVED);
}

#[test]
fn a_parent_with_ipv6_nameservers() {
    let local = [
        r#"local-zone: "ec2.us-east-1.amazonaws.com." static"#,
        r#"local-data: "ec2.us-east-1.amazonaws.com. 60 IN A 10.0.1.66""#,
        r#"local-zone: "kv.internal." static"#,
        r#"local-data: "v4only.kv.internal. 60 IN A 10.0.1.67""#,
    ];
    let unbound = file!(
        "v6-unbound.conf",
        unbound_conf("fd00:ec2:7::2", "::/0", &local)
    );
    let lines = behind(
        "v6.conf",
        "nameserver fd00:ec2:7::2\nsearch kv.internal\nnameserver fe80::1%eth0\n",
        &format!(
            "$SANDBOX ctl vpc ip address add fd00:ec2:7::2/64 dev vpc0 nodad
             $SANDBOX ctl parent ip address add fd00:ec2:7::10/64 dev eth0 nodad
             $SANDBOX ctl vpc unbound -d -c {} &
             {WAIT_FOR}
             wait_for fd00:ec2:7::2",
            unbound.display()
        ),
        [NAMESERVER, "search kv.internal", OPTIONS],
        &format!("{RESOLVES} kill $!"),
    );
    assert_eq!(lines, ["10.0.1.66", "10.0.1.67"]);
}

#[test]
fn a_parent_with_six_nameservers() {
    // libc would take three of them. A lookup has time for three silent ones, too, but the next goes
    // on where it ended.
    for place in [1, 5] {
        let mut nameservers: Vec<String> = (201..207)
            .map(|last| format!("nameserver 10.0.0.{last}\n"))
            .collect();
        nameservers[place] = "nameserver 10.0.0.2\n".to_owned();
        let lines = behind(
            &format!("six-{place}.conf"),
            format!("{}search kv.internal\n", nameservers.concat()),
            "",
            [NAMESERVER, "search kv.internal", OPTIONS],
            &format!(
                "for attempt in $(seq 8); do
                     getent hosts v4only >/dev/null && break
                     sleep 1
                 done
                 {RESOLVES}"
            ),
        );
        assert_eq!(lines, RESOLVED, "the answering one is number {place}");
    }
}

#[test]
fn a_parent_with_options_of_its_own() {
    let lines = behind(
        "rotate.conf",
        "options rotate timeout:1 attempts:3 use-vc single-request-reopen no-aaaa inet6 debug\n\
         sortlist 10.0.0.0/8\nlookup file bind\nfamily inet6\nsearch kv.internal\nnameserver 10.0.0.2\n",
        "",
        [
            NAMESERVER,
            "search kv.internal",
            "options timeout:1 attempts:3 ndots:1",
        ],
        RESOLVES,
    );
    assert_eq!(lines, RESOLVED);
}

#[test]
fn a_parent_with_hostile_text() {
    let mut text = b"nameserver 127.0.0.1\nnameserver 224.0.0.1\nnameserver ::ffff:10.0.0.3\n\
        nameserver 0.0.0.0\nnameserver 10.0.0.2 nameserver 6.6.6.6\n\
        nameserver 6.6.6.6\0\nnameserver\x0b6.6.6.\nname\0server 6.6.6.6\n\xff\xfe nameserver 6.6.6.6\n\
        options ndots:15 timeout:4294967295 attempts:0 use-vc trust-ad \x1b[2J\n\
        options timeout:99999999999999999999\n\
        search a\rnameserver"
        .to_vec();
    // The last `search` counts: names that are none among 500.
    for name in 0..500 {
        let name = match name % 5 {
            0 => format!(" {}.example", "x".repeat(64)),
            1 => " a\0.example".to_owned(),
            2 => " \x1b[31m.example".to_owned(),
            3 => " -.example".to_owned(),
            _ => format!(" s{name}.example"),
        };
        text.extend(name.bytes());
    }
    text.extend(b" kv.internal\n");
    let lines = behind(
        "hostile.conf",
        text,
        "",
        [
            NAMESERVER,
            "search a nameserver s4.example s9.example s14.example s19.example",
            "options timeout:5 attempts:1 ndots:1",
        ],
        "getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{print $1}' | sort -u
         wc -l < /etc/resolv.conf",
    );
    assert_eq!(lines, ["10.0.1.17", "10.0.2.17", "4"]);
}

/// `ours` is whether the enclave's resolv.conf names the stub; `put_right` waits for that for 2 s.
const WATCH: &str = r#"
ours() { [ ! -L /etc/resolv.conf ] && grep -qx 'nameserver 127.0.0.1' /etc/resolv.conf; }
put_right() {
    for attempt in $(seq 40); do ours && return; sleep 0.05; done
    echo "$1 stands after 2 s:"; cat /etc/resolv.conf
}
"#;

#[test]
fn whatever_rewrites_it_is_put_right_within_two_seconds_in_one_line() {
    let ran = sandbox!().run(&format!(
        r#"{WATCH}
        for attempt in $(seq 50); do grep -q search /etc/resolv.conf && break; sleep 0.1; done
        cp /etc/resolv.conf /run/before
        echo 'nameserver 6.6.6.6' > /etc/resolv.conf; put_right 'one written in place'
        echo 'nameserver 6.6.6.6' > /etc/new; mv /etc/new /etc/resolv.conf; put_right 'a renamed one'
        echo 'nameserver 6.6.6.6' > /run/theirs; ln -sf /run/theirs /etc/resolv.conf; put_right 'a link'
        ln -sf /run/nowhere /etc/resolv.conf; put_right 'a dangling link'
        rm /etc/resolv.conf; put_right 'none'
        : > /etc/resolv.conf; put_right 'an empty one'
        mount --bind /run/theirs /etc/resolv.conf; put_right 'a mount'
        getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{{print $1}}' | sort -u
        umount /etc/resolv.conf
        cmp /run/before /etc/resolv.conf && echo the same byte for byte"#
    ));
    ran.assert_prints(&["10.0.1.17", "10.0.2.17", "the same byte for byte"]);
    // The others happened within the same minute.
    assert_eq!(ran.stderr().matches("another program").count(), 1, "{ran}");
    assert!(ran.stderr().contains("a file of 19 bytes"), "{ran}");
}

/// The old images' companion overwrites the file with the parent's text and `use-vc`.
#[test]
fn a_getter_that_writes_every_100_ms_gets_one_line_and_not_the_last_word() {
    let ran = sandbox!().options(&["--no-proxify"]).run(
        r#"PROXIFY=$(dirname $SANDBOX)/proxify
        rm -f /etc/resolv.conf; echo 'nameserver 192.0.2.1' > /etc/resolv.conf
        getter() {
            while [ ! -e /run/stop ]; do
                printf 'nameserver 10.0.0.2
search ec2.internal
options use-vc
' > /etc/resolv.conf
                sleep 0.1
            done
        }
        $PROXIFY -- sh -c 'touch /run/up; sleep 4; touch /run/stop; sleep 0.2' & proxify=$!
        while [ ! -e /run/up ]; do sleep 0.05; done
        getter
        wait $proxify
        cat /etc/resolv.conf"#,
    );
    ran.assert_prints(&["nameserver 192.0.2.1"]);
    assert_eq!(ran.stderr().matches("another program").count(), 1, "{ran}");
}

#[test]
fn with_none_it_is_left_alone() {
    let ran = sandbox!().env("PROXIFY_RESOLV_CONF", "none").run(
        "rm -f /etc/resolv.conf; echo '# mine' > /etc/resolv.conf
             sleep 2.5; cat /etc/resolv.conf
             # No nameserver in the file means 127.0.0.1.
             getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{print $1}' | sort -u",
    );
    ran.assert_prints(&["# mine", "10.0.1.17", "10.0.2.17"]);
    assert!(!ran.stderr().contains("another program"), "{ran}");
}
