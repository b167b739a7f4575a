//! An application in the enclave that does what a KV server does: the AWS SDK over HTTPS to the VPC's
//! endpoints, gRPC to others, and gRPC and HTTP from the parent in. None of it knows of proxify.

use std::path::Path;
use std::process::Command;

use tests::{Sandbox, sandbox};

/// `within SECONDS COMMAND…` for a script: tries until the command succeeds.
const WITHIN: &str = r#"
within() {
    seconds=$1; shift
    for attempt in $(seq $((seconds * 5))); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    echo "not within $seconds s: $*" >&2; exit 1
}
"#;

/// A sandbox whose script has `$PYTHON`, with the SDK and gRPC in it, and this test's folder as `$KV`.
fn with_python() -> Sandbox {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kv_server/bin/python");
    assert!(
        python.exists(),
        "{} is missing; `tests/run` makes it",
        python.display()
    );
    sandbox!()
        .env("PYTHON", python)
        .env("KV", tests.join("kv_server"))
}

/// The issuer that the SDK trusts and the services' certificate, made anew.
fn certificates() -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certificates");
    std::fs::create_dir_all(&folder).expect("the directory is cargo's own for tests");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/kv_server/certificates.sh");
    let made = Command::new(script)
        .current_dir(&folder)
        .output()
        .expect("a shell is there");
    assert!(
        made.status.success(),
        "{made:?}; `tests/run` installs openssl"
    );
    folder
}

#[test]
fn boto3_uses_the_services_at_their_private_addresses() {
    with_python()
        .env("CERTIFICATES", certificates())
        .env("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "regional")
        .run(&format!(
            "{WITHIN}
             cd $CERTIFICATES
             $SANDBOX ctl vpc $PYTHON -m moto.server -H 0.0.0.0 -p 443 -c tls.pem -k tls.key \
                 >/tmp/moto.log 2>&1 &
             within 30 $SANDBOX ctl vpc curl -sk https://127.0.0.1
             $PYTHON $KV/services.py ca.pem && kill $!"
        ))
        .assert_prints(&[
            "s3 10240000 True",
            "sqs delta is there",
            "ssm 3",
            "ec2 10.7.0.0/16",
            "requests 200",
        ]);
}

#[test]
fn grpc_goes_out_and_comes_in() {
    with_python()
        .run(&format!(
            "{WITHIN}
             $SANDBOX ctl vpc $PYTHON $KV/kv.py serve 0.0.0.0:50052 & vpc=$!
             $PYTHON $KV/kv.py serve '[::]:50051' & enclave=$!
             $PYTHON $KV/kv.py get kv.kv.internal:50052 out
             within 10 $SANDBOX ctl parent $PYTHON $KV/kv.py get 127.0.0.1:50051 in
             $SANDBOX ctl parent $PYTHON $KV/kv.py get 127.0.0.1:50051 in
             kill $vpc $enclave"
        ))
        .assert_prints(&["value of out", "value of in"]);
}

/// wrk is not asked how fast it was, only whether each of its requests was answered.
#[test]
fn nginx_in_the_enclave_answers_wrk_on_the_parent() {
    let config = tests::file!(
        "nginx.conf",
        "daemon off; worker_processes 1; pid /tmp/nginx.pid; error_log stderr;
         events { worker_connections 1024; }
         http {
             access_log off; client_body_temp_path /tmp/nginx-body; proxy_temp_path /tmp/nginx-proxy;
             fastcgi_temp_path /tmp/nginx-f; uwsgi_temp_path /tmp/nginx-u; scgi_temp_path /tmp/nginx-s;
             server { listen 8080; location / { return 200 'from the enclave\\n'; } }
         }",
    );
    let ran = sandbox!().env("CONFIG", config).run(&format!(
        "{WITHIN}
         nginx -c $CONFIG & nginx=$!
         within 10 $SANDBOX ctl parent curl -sf http://127.0.0.1:8080/
         $SANDBOX ctl parent curl -sS http://127.0.0.1:8080/
         $SANDBOX ctl parent wrk -t 1 -c 100 -d 3s http://127.0.0.1:8080/ >/tmp/wrk.txt
         grep -c 'Requests/sec: *[1-9]' /tmp/wrk.txt
         grep -E 'Socket errors|Non-2xx' /tmp/wrk.txt
         kill $nginx"
    ));
    ran.assert_prints(&["from the enclave", "1"]);
}
