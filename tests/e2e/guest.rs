//! proxify as process 1 of a virtual machine, over real AF_VSOCK.

use std::path::Path;
use std::process::Command;

use tests::guest;

/// Process 1 itself: nothing is mounted, not even /proc and /dev, and `lo` is down.
#[test]
fn a_bare_image_resolves_names_and_ends_with_its_applications_status() {
    let app = "
        tell child of $PPID with $*
        tell $(grep ^nameserver /etc/resolv.conf)
        tell $(/lookup ec2.us-east-1.amazonaws.com)
        tell $(nslookup -type=a keys.partner.example | sed -n 's/^Address: //p')
        exit 7";
    let ran = guest!("status", app).run(
        "bridge 16:/run/sandbox/link
         boot 16 /proxify --parent vsock:2 --log info /app two words
         ended 16 90
         told 16
         console 16 | grep -o 'lo was down'
         status 16",
    );
    ran.assert_prints(&[
        "child of 1 with two words",
        "nameserver 127.0.0.1",
        "10.0.1.17 10.0.2.17",
        "10.0.1.40 10.0.2.40",
        "lo was down",
        "status 7",
    ]);
}

#[test]
fn the_relay_killed_and_started_again_while_the_guest_runs() {
    let app = "
        tell $(/lookup ec2.us-east-1.amazonaws.com)
        read line
        tell $(/lookup sqs.us-east-1.amazonaws.com)
        read line
        tell $(/lookup sqs.us-east-1.amazonaws.com)";
    let ran = guest!("restart", app).run(
        "bridge 16:/run/sandbox/link
         boot 16 /init.sh --parent vsock:2 /app
         expect 16 90 '^= 10.0'
         $SANDBOX ctl relay kill
         say 16 away
         expect 16 30 '^= EAI'
         $SANDBOX ctl relay start
         say 16 back
         ended 16 30
         told 16; status 16",
    );
    ran.assert_prints(&[
        "10.0.1.17 10.0.2.17",
        "EAI_AGAIN",
        "10.0.1.12 10.0.2.12",
        "status 0",
    ]);
}

#[test]
fn the_relay_late_and_a_signal_to_process_1() {
    let app = "
        trap 'tell signalled; exit 9' TERM
        tell started
        until /lookup ec2.us-east-1.amazonaws.com | grep -q 10.0; do sleep 0.1; done
        tell resolved
        kill -TERM 1
        while :; do sleep 0.1; done";
    let ran = guest!("late", app).options(&["--no-relay"]).run(
        "bridge 16:/run/sandbox/link
         boot 16 /init.sh --parent vsock:2 /app
         expect 16 90 '^= started'
         console 16 | grep -q WARN && echo warned
         $SANDBOX ctl relay start
         ended 16 90
         told 16; status 16",
    );
    ran.assert_prints(&["warned", "started", "resolved", "signalled", "status 9"]);
}

#[test]
fn the_guest_fetches_over_http() {
    let app = "
        tell $(/fetch v4only.kv.internal 80 /page)
        tell $(/fetch v4only.kv.internal 81 /page)";
    let ran = guest!("fetch", app).run(
        "serve_page
         bridge 16:/run/sandbox/link
         boot 16 /init.sh --parent vsock:2 /app
         ended 16 90
         told 16; status 16",
    );
    ran.assert_prints(&[
        "10.0.1.52 a page from the VPC",
        "connect: Connection refused",
        "status 0",
    ]);
}

/// By the guest's own TUN and packet rules, on another kernel than this machine's.
#[test]
fn connections_leave_the_guest_and_keep_their_errors() {
    let app = "
        for options in '' -n; do
            tell $(/connect $options 10.0.1.17 8080)
            tell $(/connect $options fd00:ec2::253 8080)
            tell $(/connect $options 10.0.1.17 81)
            tell $(/connect $options 10.0.0.10 80)
            tell $(/connect $options fd00:ec2::10 80)
        done";
    let services = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/services.py");
    let kept = [
        "connect ECONNREFUSED",
        "connect EHOSTUNREACH",
        "connect EACCES",
    ];
    for (way, failures) in [("detour", kept), ("redirect", ["then ECONNRESET"; 3])] {
        let ran = guest!(way, app).run(&format!(
            "$SANDBOX ctl vpc python3 {services} /run/sandbox/services &
             within 20 test -e /run/sandbox/services
             bridge 16:/run/sandbox/link
             boot 16 /init.sh --parent vsock:2 --egress {way} /app
             ended 16 90
             told 16; status 16"
        ));
        let each = [&["peer HTTP/1.0 200"; 2][..], &failures].concat();
        // A redirected connection's reset may come before connect() has returned.
        let lines = ran.lines().into_iter();
        let lines: Vec<String> = lines
            .map(|line| line.replace("connect ECONNRESET", "then ECONNRESET"))
            .collect();
        assert_eq!(lines, [&each[..], &each, &["status 0"]].concat(), "{ran}");
    }
}

#[test]
fn a_program_of_the_guest_answers_at_the_parents_port() {
    let app = "
        serve_page
        read line
        tell $line
        exit 4";
    let ran = guest!("publish", app).run(
        "bridge 16:/run/sandbox/link
         boot 16 /init.sh --parent vsock:2 /app
         page() { $SANDBOX ctl vpc curl -s -m 3 http://10.0.0.10:8080/; }
         within 90 page
         $SANDBOX ctl relay kill
         page || echo gone
         $SANDBOX ctl relay start
         within 30 page
         say 16 bye
         ended 16 30
         told 16; status 16",
    );
    ran.assert_prints(&[
        "a page from the enclave",
        "gone",
        "a page from the enclave",
        "bye",
        "status 4",
    ]);
}

/// Both ends as they are deployed, with their defaults: systemd runs the relay's unit with all that it
/// forbids, and the relay listens on AF_VSOCK.
#[test]
fn a_parent_instance_with_systemd_in_a_second_guest() {
    let app = "
        serve_page
        tell $(/lookup ec2.us-east-1.amazonaws.com)
        read line
        until /lookup sqs.us-east-1.amazonaws.com | grep -q 10.0; do sleep 0.1; done
        tell $(/fetch v4only.kv.internal 80 /page)
        exit 3";
    let ran = guest!("parent", app).options(&["--no-relay"]).run(
        "serve_page
         bridge 3:$LAB/parent 16:$LAB/enclave
         boot_parent
         expect 3 90 'Started proxify-relay.service'
         boot 16 /init.sh /app
         expect 16 90 '^= 10.0'
         page() { $SANDBOX ctl parent curl -s -m 3 http://127.0.0.1:8080/; }
         within 20 page
         say 3 'kill -KILL $(pidof proxify-relay)'
         expect 3 10 'status=9/KILL'
         within 30 page
         say 16 again
         ended 16 90
         told 16; status 16",
    );
    ran.assert_prints(&[
        "a page from the enclave",
        "a page from the enclave",
        "10.0.1.17 10.0.2.17",
        "10.0.1.52 a page from the VPC",
        "status 3",
    ]);
}

#[test]
fn the_parents_user_data_fits_cloud_inits_schema() {
    let packages = guest::packages(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let user_data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../enclave/cloud-init.yaml");
    let output = Command::new("/usr/bin/python3")
        .env(
            "PYTHONPATH",
            packages.join("cloud-init/usr/lib/python3/dist-packages"),
        )
        .args(["-m", "cloudinit.cmd.main", "schema", "--config-file"])
        .arg(user_data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with("Valid"), "{said}");
}
