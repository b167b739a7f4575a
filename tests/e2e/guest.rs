//! proxify as process 1 of a virtual machine, over real AF_VSOCK.

use tests::guest;

#[test]
fn an_image_resolves_names_and_ends_with_its_applications_status() {
    let app = "
        tell child of $PPID with $*
        tell $(grep ^nameserver /etc/resolv.conf)
        tell $(/lookup ec2.us-east-1.amazonaws.com)
        tell $(nslookup -type=a keys.partner.example | sed -n 's/^Address: //p')
        exit 7";
    let ran = guest!("status", app).run(
        "bridge 16:/run/sandbox/link
         boot 16 /init.sh --parent vsock:2 --log info /app two words
         ended 16 60
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
         expect 16 60 '^= 10.0'
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
         expect 16 60 '^= started'
         console 16 | grep -q WARN && echo warned
         $SANDBOX ctl relay start
         ended 16 60
         told 16; status 16",
    );
    ran.assert_prints(&["warned", "started", "resolved", "signalled", "status 9"]);
}

/// Both ends as they are deployed, with their defaults: the relay listens on AF_VSOCK.
#[test]
fn a_parent_instance_in_a_second_guest() {
    let app = "
        tell $(/lookup ec2.us-east-1.amazonaws.com)
        tell $(/lookup no-such-name.kv.internal)
        exit 3";
    let ran = guest!("parent", app).options(&["--no-relay"]).run(
        "bridge 3:$LAB/parent 16:$LAB/enclave
         boot_parent
         expect 3 60 'listening on vsock:any:8888'
         boot 16 /init.sh /app
         ended 16 60
         told 16; status 16",
    );
    ran.assert_prints(&["10.0.1.17 10.0.2.17", "EAI_NONAME", "status 3"]);
}
