//! `proxify -- APP` as an image's init uses it.

use tests::sandbox;

/// An image's /init, with $PROXIFY in the place of the old one.
const PROXIFY: &str = "PROXIFY=$(dirname $SANDBOX)/proxify\n";

#[test]
fn the_exit_status_is_apps() {
    for (script, status) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
    ] {
        let ran = sandbox!().run(script);
        assert_eq!(ran.status(), Some(status), "{ran}");
    }
}

#[test]
fn the_kv_servers_init_one_after_the_other() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROXIFY}
         $PROXIFY -- sh -c 'getent hosts ec2.us-east-1.amazonaws.com >/dev/null && echo region'
         exec $PROXIFY -- sh -c 'getent hosts sqs.us-east-1.amazonaws.com >/dev/null && echo server; exit 3'"
    ));
    assert_eq!(
        (ran.stdout().as_str(), ran.status()),
        ("region\nserver\n", Some(3)),
        "{ran}"
    );
}

#[test]
fn without_the_two_dashes_as_the_old_one_took_it() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROXIFY} exec $PROXIFY getent hosts ec2.us-east-1.amazonaws.com"
    ));
    assert_eq!(ran.lines().len(), 2, "{ran}");
}

#[test]
fn one_inside_the_other_and_two_side_by_side() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROXIFY}
         $PROXIFY -- $PROXIFY -- getent hosts ec2.us-east-1.amazonaws.com >/dev/null && echo nested
         $PROXIFY -- sh -c 'touch /run/first; while [ ! -e /run/go ]; do sleep 0.05; done' &
         while [ ! -e /run/first ]; do sleep 0.05; done
         $PROXIFY -- sh -c 'touch /run/go; while [ ! -e /run/ended ]; do sleep 0.05; done
             # The owner has ended: within 1 s this one serves.
             sleep 1; getent hosts sqs.us-east-1.amazonaws.com >/dev/null && echo taken over' &
         wait %1; touch /run/ended; wait"
    ));
    ran.assert_prints(&["nested", "taken over"]);
}

#[test]
fn killing_proxify_kills_app() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROXIFY}
         $PROXIFY -- sh -c 'echo $$ > /run/app; exec sleep 1000' &
         while [ ! -s /run/app ]; do sleep 0.05; done
         kill -KILL $!; wait $!; echo $?
         app=$(cat /run/app)
         for attempt in $(seq 100); do
             kill -0 $app 2>/dev/null || break; sleep 0.05
         done
         kill -0 $app 2>/dev/null || echo gone"
    ));
    ran.assert_prints(&["137", "gone"]);
}

#[test]
fn signals_reach_app_and_orphans_are_reaped() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROXIFY}
         cat > /run/app.sh <<'END'
for signal in HUP INT QUIT USR1 USR2 CONT; do trap \"echo $signal\" $signal; done
trap 'echo TERM; exit 9' TERM
touch /run/ready
while :; do sleep 0.05; done
END
         # A shell without job control ignores INT and QUIT in what it starts with &.
         env --default-signal=INT,QUIT $PROXIFY -- sh /run/app.sh &
         proxify=$!
         while [ ! -e /run/ready ]; do sleep 0.05; done
         for signal in HUP INT QUIT USR1 USR2 CONT TERM; do kill -$signal $proxify; sleep 0.3; done
         wait $proxify; echo $?"
    ));
    ran.assert_prints(&["HUP", "INT", "QUIT", "USR1", "USR2", "CONT", "TERM", "9"]);
}

#[test]
fn what_cannot_run_is_said_and_leaves_resolv_conf_as_it_was() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROXIFY}
         rm -f /etc/resolv.conf; echo 'nameserver 192.0.2.1' > /etc/resolv.conf; chmod 444 /etc/resolv.conf
         $PROXIFY -- /no/such/program; echo $?
         $PROXIFY -- /etc/resolv.conf; echo $?
         $PROXIFY --no-such-option; echo $?
         $PROXIFY -- true; echo $?
         cat /etc/resolv.conf; stat -c %a /etc/resolv.conf"
    ));
    ran.assert_prints(&["127", "126", "64", "0", "nameserver 192.0.2.1", "444"]);
    assert!(ran.stderr().contains("/no/such/program"), "{ran}");
}

/// An image without APP under proxify: its init starts the stub and waits for its word.
#[test]
fn proxify_dns_under_a_plain_shell_init() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROXIFY}
         mkfifo /run/ready
         $PROXIFY dns --ready-fd 9 9>/run/ready &
         dns=$!
         read -r line < /run/ready && echo ready
         getent hosts ec2.us-east-1.amazonaws.com >/dev/null && echo resolves
         grep -c '^nameserver 127.0.0.1$' /etc/resolv.conf
         kill -TERM $dns; wait $dns; echo $?
         grep -c '^nameserver 127.0.0.1$' /etc/resolv.conf 2>/dev/null || echo restored"
    ));
    let lines = ran.lines();
    assert_eq!(lines[..4], ["ready", "resolves", "1", "0"], "{ran}");
    assert_eq!(lines.last().map(String::as_str), Some("restored"), "{ran}");
}

#[test]
fn nameservers_by_hand() {
    for nameservers in [
        "10.0.0.2",
        "10.0.0.2:53",
        "cidr:10.0.0.0/16",
        "192.0.2.7,10.0.0.2",
        "parent",
    ] {
        let ran = sandbox!()
            .env("PROXIFY_NAMESERVERS", nameservers)
            .run("getent ahostsv4 ec2.us-east-1.amazonaws.com | awk '{print $1}' | sort -u");
        ran.assert_prints(&["10.0.1.17", "10.0.2.17"]);
    }
}

#[test]
fn a_foreign_listener_on_port_53_is_named() {
    let ran = sandbox!().options(&["--no-proxify"]).run(&format!(
        "{PROXIFY}
         $SANDBOX ctl parent true
         python3 -c 'import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind((\"127.0.0.1\",53)); open(\"/run/up\",\"w\"); time.sleep(1000)' &
         while [ ! -e /run/up ]; do sleep 0.05; done
         $PROXIFY -- true; echo $?
         kill $!"
    ));
    assert!(ran.stderr().contains("python3"), "{ran}");
    assert_ne!(ran.lines(), ["0"], "{ran}");
}

/// Some enclaves' kernels have IPv6 off: the stub then serves IPv4 alone, and says so.
#[test]
fn without_ipv6_the_stub_serves_ipv4_alone() {
    let ran = sandbox!()
        .options(&["--no-proxify"])
        .env("PROXIFY_LOG", "info")
        .run(&format!(
            "{PROXIFY}
             for interface in all lo; do
                 echo 1 > /proc/sys/net/ipv6/conf/$interface/disable_ipv6
             done
             $PROXIFY -- sh -c 'dig +short ec2.us-east-1.amazonaws.com | sort; dig +time=1 +tries=1 @::1 . >/dev/null || echo no IPv6'"
        ));
    ran.assert_prints(&["10.0.1.17", "10.0.2.17", "no IPv6"]);
    assert!(
        ran.stderr().contains("not served: this system has no IPv6"),
        "{ran}"
    );
}
