//! `proxify check` in an enclave, on its parent, and where nothing answers.

use tests::sandbox;

const PROXIFY: &str = "PROXIFY=$(dirname $SANDBOX)/proxify\n";

fn run(options: &[&str], script: &str) -> tests::Ran {
    sandbox!()
        .options(options)
        .run(&format!("{PROXIFY}{script}"))
}

#[test]
fn an_interface_endpoint_is_private_with_its_addresses_and_their_names() {
    run(&[], "$PROXIFY check ec2.us-east-1.amazonaws.com").assert_prints(&[
        "✓ ec2.us-east-1.amazonaws.com  private",
        "    10.0.1.17  interface endpoint     60 s  ip-10-0-1-17.ec2.internal",
        "    10.0.2.17  interface endpoint     60 s  ip-10-0-2-17.ec2.internal",
        "1 name: 1 private",
        "asked 127.0.0.1:53; VPC 100.64.0.0/16, 10.0.0.0/16",
    ]);
}

#[test]
fn without_the_endpoint_it_is_public_and_a_script_is_told() {
    let ran = run(
        &["--without-endpoint", "ec2"],
        "$PROXIFY check --require-private ssm.us-east-1.amazonaws.com ec2.us-east-1.amazonaws.com; \
         echo $?",
    );
    let text = ran.lines().join("\n");
    for line in [
        "✓ ssm.us-east-1.amazonaws.com  private\n",
        "✗ ec2.us-east-1.amazonaws.com  PUBLIC\n",
        "  public                 60 s",
        "2 names: 1 private, 1 public\n",
    ] {
        assert!(text.contains(line), "{line}\n{ran}");
    }
    assert!(text.ends_with("\n1"), "{ran}");
}

/// Without a name the region's usual endpoints are asked for, and the zone has no KMS, STS or ECR.
#[test]
fn without_names_the_services_of_the_parents_region_are_checked() {
    let ran = run(&[], "$PROXIFY check; echo $?");
    let text = ran.lines().join("\n");
    for line in [
        "· s3.us-east-1.amazonaws.com              gateway: the route table decides\n",
        "✓ aps-workspaces.us-east-1.amazonaws.com  private\n",
        "✗ kms.us-east-1.amazonaws.com             FAILED\n    NXDOMAIN: there is no such name\n",
        "15 names: 10 private, 2 by a gateway, 3 failed\n",
    ] {
        assert!(text.contains(line), "{line}\n{ran}");
    }
    assert!(text.ends_with("\n1"), "{ran}");
}

#[test]
fn an_endpoints_own_name_tells_the_zones_of_all() {
    let ran = run(
        &[],
        "$PROXIFY check vpce-0123456789abcde17-a1b2c3d4.ec2.us-east-1.vpce.amazonaws.com \
         ec2.us-east-1.amazonaws.com keys.partner.example \
         vpce-0a1b2c3d4e5f60718-k9x8w7v6.vpce-svc-0fedcba9876543210.us-east-1.vpce.amazonaws.com \
         bucket.s3.us-east-1.amazonaws.com chain.kv.internal v6only.kv.internal | \
         sed 's/  */ /g'",
    );
    let text = ran.lines().join("\n");
    for line in [
        " 10.0.1.17 endpoint's own name 60 s us-east-1a ip-10-0-1-17.ec2.internal\n",
        " 10.0.1.17 interface endpoint 60 s us-east-1a ip-10-0-1-17.ec2.internal\n",
        " 10.0.2.40 endpoint service 60 s us-east-1b\n",
        " → s3-r-w.us-east-1.amazonaws.com 5 s\n 52.216.",
        " → end.kv.internal 7 s\n 10.0.1.51 in the VPC 120 s\n",
        " fd00:ec2:7::52 private, outside the VPC 60 s\n",
    ] {
        assert!(text.contains(line), "{line}\n{ran}");
    }
}

#[test]
fn connections_go_out_as_a_programs_would() {
    let ran = run(
        &[],
        "mkfifo /tmp/up; $SANDBOX ctl vpc python3 -c '
import socket
listener = socket.create_server((\"10.0.1.17\", 443))
print(flush=True)
listener.accept()' >/tmp/up & read up </tmp/up
         $PROXIFY check --connect --json ec2.us-east-1.amazonaws.com; echo $?",
    );
    let text = ran.lines().join("\n");
    assert!(text.contains("\"seconds\": 0."), "{ran}");
    assert!(text.contains("\"error\": \"connection refused\""), "{ran}");
    assert!(text.ends_with("\n1"), "{ran}");
}

#[test]
fn on_the_parent_its_own_nameserver_and_imds_are_asked() {
    let ran = run(
        &[],
        "$SANDBOX ctl parent $PROXIFY check sqs.us-east-1.amazonaws.com",
    );
    let last = "asked 10.0.0.2:53; VPC 100.64.0.0/16, 10.0.0.0/16";
    assert_eq!(ran.lines().last().unwrap(), last, "{ran}");
}

#[test]
fn another_nameserver_is_asked_by_tcp_where_udp_is_not_carried() {
    let ran = run(
        &[],
        "$PROXIFY check --server 169.254.169.253 --vpc-cidr 10.0.0.0/16 many.kv.internal",
    );
    let lines = ran.lines();
    assert!(lines.contains(&"    and 68 more".to_owned()), "{ran}");
    let last = "asked 169.254.169.253:53; VPC 10.0.0.0/16";
    assert_eq!(lines.last().unwrap(), last, "{ran}");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let ran = run(
        &["--no-proxify"],
        "$PROXIFY check --server 127.0.0.1:5353 --vpc-cidr 10.0.0.0/16 a.example; echo $?
         PROXIFY_PARENT=unix:/nowhere $PROXIFY check 2>&1; echo $?
         $PROXIFY check --region '' 2>&1 | head -1
         $PROXIFY check --vpc-cidr 10.0.0.1/8x a.example 2>/dev/null; echo $?",
    );
    let text = ran.lines().join("\n");
    for line in [
        "127.0.0.1:5353 cannot be asked: ",
        "1 name: 1 failed\n",
        "\n69\n",
        "which region? Give --region, or names: ",
        "write a region such as eu-central-1",
    ] {
        assert!(text.contains(line), "{line}\n{ran}");
    }
    assert!(text.ends_with("\n64"), "{ran}");
}
