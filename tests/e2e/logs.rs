//! What both programs log: no name that is asked for, unless `--query-log` says so or at debug; as JSON, one
//! object a line with the fields that machines look for.

use tests::{Ran, Sandbox, sandbox};

/// Stands in every name that the script asks for.
const CANARY: &str = "canary";

/// Names that resolve, that do not exist, that no nameserver answers for, that lead out of a pin, and that
/// a search list is tried on; from the cache, stale and refused; to a relay that is gone and that is asked
/// for a name itself.
const LOOKUPS: &str = "
    lookup() { dig +time=6 +tries=1 +noall $*; }
    relay='import socket
s = socket.socket(socket.AF_UNIX)
s.connect(\"/run/sandbox/link_8888\")
s.sendall(b\"\\x05\\x01\\x00\\x05\\x01\\x00\\x03\\x0bcanary.test\\x01\\xbb\")
s.recv(99)'
    lookup canary.kv.internal
    lookup canary.kv.internal
    lookup +tcp canary.kv.internal AAAA
    getent ahosts canary.example
    lookup canary.localhost
    lookup canary.kv.internal AXFR
    lookup 'canary\\010\\027[31m.kv.internal'
    lookup canary.pinned.s3.us-east-1.amazonaws.com
    lookup canary.s3.us-east-1.amazonaws.com
    lookup canary.s3.us-east-1.amazonaws.com
    /usr/bin/python3 -c \"$relay\"
    touch /run/sandbox/without/10.0.0.2
    lookup canary-silent.kv.internal
    $SANDBOX ctl relay kill
    lookup canary-down.kv.internal
    $SANDBOX ctl relay start
    rm /run/sandbox/without/10.0.0.2
    sleep 0.1
";

fn sandbox(format: &str) -> Sandbox {
    sandbox!()
        .env("PROXIFY_LOG", "info")
        .env("PROXIFY_LOG_FORMAT", format)
        .env("PROXIFY_RELAY_LOG", "info")
        .env("PROXIFY_RELAY_LOG_FORMAT", format)
        .env(
            "PROXIFY_PIN",
            "pinned.s3.us-east-1.amazonaws.com=10.0.0.0/16",
        )
}

/// What is logged, a line each, without what the script's own programs say.
fn logged(ran: &Ran) -> Vec<String> {
    assert_eq!(ran.status(), Some(0), "{ran}");
    ran.stderr().lines().map(str::to_owned).collect()
}

/// The line's fields, of which each has these.
fn fields(line: &str) -> serde_json::Map<String, serde_json::Value> {
    let object = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let serde_json::Value::Object(fields) = object else {
        panic!("no object: {line}");
    };
    for name in ["timestamp", "level", "target", "message"] {
        let text = fields.get(name).and_then(|value| value.as_str());
        assert!(text.is_some_and(|text| !text.is_empty()), "{name}: {line}");
    }
    let time = fields["timestamp"].as_str().unwrap();
    assert!(time.contains('T') && time.ends_with('Z'), "{line}");
    let level = fields["level"].as_str().unwrap();
    assert!(["ERROR", "WARN", "INFO"].contains(&level), "{line}");
    fields
}

#[test]
fn no_name_that_is_asked_for_is_in_the_log() {
    for format in ["text", "json"] {
        let ran = sandbox(format).run(LOOKUPS);
        let log = logged(&ran);
        assert!(
            !log.iter().any(|line| line.contains(CANARY)),
            "{format}: {ran}"
        );
        // The failures are there all the same, and say where the names are.
        let failure = |line: &&String| line.contains("a lookup failed");
        let failures: Vec<&String> = log.iter().filter(failure).collect();
        assert!(!failures.is_empty(), "{format}: {ran}");
        for failure in failures {
            assert!(failure.contains("`proxify explain NAME` tells more"));
        }
        for what in [
            "handshake refused",
            "names that are not cached do not resolve",
        ] {
            assert!(log.iter().any(|line| line.contains(what)), "{what}: {ran}");
        }
        if format == "json" {
            log.iter().for_each(|line| drop(fields(line)));
        }
    }
}

#[test]
fn the_log_of_queries_has_each_with_what_became_of_it() {
    let ran = sandbox("json")
        .env("PROXIFY_LOG", "off")
        .env("PROXIFY_RELAY_LOG", "off")
        .env("PROXIFY_QUERY_LOG", "1")
        .run(LOOKUPS);
    let log = logged(&ran);
    let mut seen = Vec::new();
    for line in &log {
        let fields = fields(line);
        assert_eq!(fields["target"], "query", "{line}");
        let text = |name: &str| fields.get(name).and_then(|value| value.as_str());
        let waited = fields
            .get("duration_ms")
            .and_then(serde_json::Value::as_f64);
        let words: Vec<&str> = ["name", "type", "transport", "outcome", "rcode"]
            .into_iter()
            .filter_map(text)
            .collect();
        let nameserver = text("nameserver").unwrap_or("-");
        let ede = fields.get("ede").and_then(serde_json::Value::as_u64);
        assert_eq!(
            waited.is_some(),
            !["hit", "negative", "policy"].contains(&words[3])
        );
        seen.push(format!(
            "{} {nameserver} {}",
            words.join(" "),
            ede.unwrap_or_default()
        ));
    }
    for expected in [
        "canary.s3.us-east-1.amazonaws.com A udp upstream NOERROR 10.0.0.2:53 0",
        "canary.s3.us-east-1.amazonaws.com A udp hit NOERROR - 0",
        "canary.pinned.s3.us-east-1.amazonaws.com A udp blocked SERVFAIL 10.0.0.2:53 15",
        "canary.kv.internal A udp upstream NXDOMAIN 10.0.0.2:53 0",
        "canary.kv.internal A udp negative NXDOMAIN - 0",
        "canary.example A udp upstream NXDOMAIN 10.0.0.2:53 0",
        "canary.localhost A udp policy NOERROR - 0",
        "canary\\010\\027[31m.kv.internal A udp upstream NXDOMAIN 10.0.0.2:53 0",
        "canary-silent.kv.internal A udp failed SERVFAIL 10.0.0.2:53 22",
        "canary-down.kv.internal A udp failed SERVFAIL - 23",
    ] {
        assert!(
            seen.iter().any(|line| line == expected),
            "{expected}: {seen:#?}"
        );
    }
    assert!(seen.len() == log.len() && log.len() > 8, "{ran}");
}

/// More than may be noted in a second: the rest is a count, and each query has its reply.
#[test]
fn a_flood_is_cut_and_counted() {
    let ran = sandbox!()
        .env("PROXIFY_QUERY_LOG", "1")
        .env("PROXIFY_LOG_FORMAT", "json")
        .run(
            "/usr/bin/python3 -c '
import socket
query = bytes.fromhex(\"471101000001000000000000096c6f63616c686f73740000010001\")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
for batch in range(100):
    for _ in range(50): s.sendto(query, (\"127.0.0.1\", 53))
    for _ in range(50): s.recv(512)
print(\"5000 replies\")'
             sleep 1.1
             dig +short localhost",
        );
    ran.assert_prints(&["5000 replies", "127.0.0.1"]);
    let stderr = ran.stderr();
    let lines: Vec<_> = stderr.lines().map(fields).collect();
    let queries = lines.iter().filter(|line| line["target"] == "query");
    let (noted, left_out) = queries.fold((0, 0), |(noted, left_out), line| {
        let more = line.get("left_out").and_then(serde_json::Value::as_u64);
        (noted + 1, left_out + more.unwrap_or(0))
    });
    // libc, or the sandbox, may have asked as well.
    assert!(
        noted + left_out >= 5001 && left_out > 0,
        "{noted}, {left_out}"
    );
}
