//! `proxify bench` in an enclave: what it prints, what it asks for, and what it leaves alone.

use serde_json::Value;
use tests::{Ran, sandbox};

const NAME: &str = "ec2.us-east-1.amazonaws.com";

fn run(script: &str) -> Ran {
    // What the stub may send says nothing of what a bench may.
    sandbox!()
        .env("PROXIFY_UPSTREAM_PPS", "0")
        .run(&format!("PROXIFY=$(dirname $SANDBOX)/proxify\n{script}"))
}

#[track_caller]
fn json(ran: &Ran) -> Value {
    assert_eq!(ran.status(), Some(0), "{ran}");
    serde_json::from_str(&ran.stdout()).unwrap_or_else(|error| panic!("{error}\n{ran}"))
}

#[test]
fn targets_stand_side_by_side_above_their_histogram() {
    let ran = run(&format!(
        "$PROXIFY bench --target udp,tcp,getaddrinfo,upstream --server 127.0.0.1 --duration 2s {NAME}"
    ));
    let lines = ran.lines();
    let words = |line: &str| -> Vec<String> {
        line.split("  ")
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect()
    };
    assert_eq!(
        lines[0],
        format!("{NAME} (A), warm, one lookup at a time, 2 s in all")
    );
    assert_eq!(lines[2], "udp          the stub at 127.0.0.1:53, over UDP");
    assert_eq!(
        lines[5],
        "upstream     10.0.0.2:53 through unix:/run/sandbox/link_8888, past the cache"
    );
    let labels = ["udp", "tcp", "getaddrinfo", "upstream", "127.0.0.1"];
    assert_eq!(words(&lines[8]), labels, "{ran}");
    for (line, first) in lines[9..]
        .iter()
        .zip(["p50", "p90", "p99", "p99.9", "p99.99", "max"])
    {
        let words = words(line);
        assert_eq!((&*words[0], words.len()), (first, 6), "{ran}");
    }
    let max = lines.iter().find(|line| line.starts_with("max")).unwrap();
    assert!(!max.contains('–'), "all were measured\n{ran}");
    let failed = lines
        .iter()
        .find(|line| line.starts_with("failed"))
        .unwrap();
    assert_eq!(words(failed)[1..], ["0"; 5], "{ran}");
    assert!(lines.iter().any(|line| line.contains('█')), "{ran}");
    assert!(
        lines.iter().any(|line| line.starts_with("Closed loop")),
        "{ran}"
    );
    assert!(
        !ran.stdout().contains('\x1b') && !ran.stderr().contains('█'),
        "no terminal\n{ran}"
    );
}

#[test]
fn a_rate_is_kept_and_failures_are_in_no_latency() {
    let ran = run(
        "$PROXIFY bench --json --rate 40 --duration 1s --target udp,upstream \\
             v4only.kv.internal no-such.kv.internal >/run/out || exit
         grep -c 'udp v4only.kv.internal. A$' /run/sandbox/queries >&2
         cat /run/out",
    );
    let report = json(&ran);
    assert_eq!(
        (&report["loop"], &report["rate_per_s"]),
        (&"open".into(), &40.into())
    );
    assert_eq!(report["targets"].as_array().map(Vec::len), Some(2));
    for target in report["targets"].as_array().unwrap() {
        assert_eq!(target["intended"], 40, "{ran}");
        assert_eq!(target["answered"], 20, "{ran}");
        assert_eq!(target["failures"]["NXDOMAIN"], 20, "{ran}");
        assert_eq!(
            target["latency_ns"]["p99.99"],
            Value::Null,
            "nobody knows it of 20"
        );
        let max = target["latency_ns"]["max"].as_u64().unwrap();
        assert!(
            target["latency_ns"]["p50"].as_u64().unwrap() <= max,
            "{ran}"
        );
        let points = target["over_time"].as_array().unwrap().iter();
        let counted: u64 = points
            .map(|point| point["answered"].as_u64().unwrap() + point["failed"].as_u64().unwrap())
            .sum();
        assert_eq!(counted, 40, "{ran}");
    }
    // Twenty past the cache, and one to warm it.
    assert_eq!(ran.stderr().lines().next_back(), Some("21"), "{ran}");
}

#[test]
fn what_may_reach_amazon_dns_is_limited_and_cold_names_are_new() {
    let ran = run(
        "$PROXIFY bench --cold --target udp,getaddrinfo,upstream --duration 2s --upstream-pps 60
         grep -o 'bench-.*' /run/sandbox/queries >/run/asked
         echo $(sort /run/asked | uniq -d | wc -l) twice
         wc -l </run/asked",
    );
    let lines = ran.lines();
    assert!(
        lines[0].starts_with("*.s3.us-east-1.amazonaws.com (A), cold,"),
        "{ran}"
    );
    let held = "held back to 60 packets a second to where AmazonDNS may be (--upstream-pps): ";
    assert!(lines.iter().any(|line| line.starts_with(held)), "{ran}");
    let [.., twice, asked] = lines.as_slice() else {
        panic!("{ran}");
    };
    assert_eq!(twice, "0 twice", "{ran}");
    // A burst of 6, then 54 a second; a machine that stalls takes longer than 2 s.
    let asked: u32 = asked.parse().unwrap();
    assert!((7..=6 + 54 * 4).contains(&asked), "{asked}\n{ran}");
}

/// On the parent no cache is between libc and AmazonDNS, and no stub is there.
#[test]
fn on_the_parent_getaddrinfo_is_limited_too() {
    let ran = run(&format!(
        "$SANDBOX ctl parent $PROXIFY bench --duration 1s {NAME}"
    ));
    let text = ran.lines().join("\n");
    assert!(text.contains("(--upstream-pps): getaddrinfo"), "{ran}");
    assert!(text.contains("udp is left out: nobody listens"), "{ran}");
}

#[test]
fn a_page_loads_nothing_and_a_picture_stands_alone() {
    let ran = run(&format!(
        "$PROXIFY bench --duration 500ms --target udp,tcp --html /run/b.html --svg /run/b.svg {NAME} \\
             >/dev/null || exit
         cat /run/b.html; echo ====; cat /run/b.svg"
    ));
    let text = ran.stdout();
    let (html, svg) = text.split_once("====\n").unwrap_or_else(|| panic!("{ran}"));
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    for part in [
        NAME,
        "default-src 'none'",
        "<table>",
        "prefers-color-scheme:dark",
        "<td>",
        "proxify ",
    ] {
        assert!(html.contains(part), "no {part}\n{html}");
    }
    assert_eq!(html.matches("<svg ").count(), 2);
    for page in [html, &svg.replace("http://www.w3.org/2000/svg", "")] {
        assert!(
            page.matches("<path ").count() >= 6,
            "three curves a target\n{page}"
        );
        for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}\n{page}");
        }
    }
}

#[test]
fn what_cannot_be_measured_is_told() {
    let ran = run(&format!(
        "status() {{ \"$@\" 2>&1; echo \"= $?\"; }}
         status $PROXIFY bench --duration 200ms no-such.kv.internal | grep -e percentile -e =
         status $PROXIFY bench --target udp --listen 127.0.0.1:5999 {NAME}
         status $PROXIFY bench '<script>' | grep -e script -e =
         printf 'ok.example\\nno way this\\n' >/run/names
         status $PROXIFY bench --file /run/names | grep -e names -e =
         status $PROXIFY bench --html /no/such {NAME}"
    ));
    let lines = ran.lines();
    for (line, starts) in lines.iter().zip([
        "udp: ",
        "getaddrinfo: ",
        "= 1",
        "proxify bench: nobody can be asked",
        "  udp is left out: nobody listens at the stub at 127.0.0.1:5999, over UDP",
        "= 69",
        "error: `<script>` is no name: '<' is no part of a name",
        "= 64",
        "error: /run/names, line 2: `no way this` is not NAME or NAME TYPE",
        "= 64",
        "proxify bench: cannot write /no/such: No such file or directory",
        "= 69",
    ]) {
        assert!(line.starts_with(starts), "{starts}\n{ran}");
    }
}
