//! Each metric moves, and with each of its labels.
//!
//! A metric that a table of the crate `metrics` gets and nothing here provokes is a failure: it may be
//! one that nothing increments.

use std::collections::{BTreeMap, BTreeSet};

use metrics::{Kind, Metric};

use crate::measured;
use crate::page::{family, series};

/// Both pages are watched while a script runs, and then printed. `until_moved SERIES COMMAND…` runs a
/// command until a series has moved: what takes some luck on a slow machine.
const WATCH: &str = "
    PATH=$PATH:/usr/sbin:/sbin
    URL=http://$PROXIFY_METRICS/metrics
    MOVED=/run/sandbox/moved END=/run/sandbox/end
    LINK=/run/sandbox/link_8888
    provoke() { python3 $CLIENTS/provoke.py \"$@\"; }
    ask() { dig +time=5 +tries=1 \"$@\" > /dev/null; }
    python3 $CLIENTS/scrape.py $URL $MOVED.enclave $END & enclave=$!
    $SANDBOX ctl parent python3 $CLIENTS/scrape.py $URL $MOVED.relay $END & relay=$!
    until_moved() {
        series=$1; shift
        for attempt in $(seq 20); do
            \"$@\"
            for look in $(seq 10); do
                grep -qs \"^$series [0-9.]*[1-9]\" $MOVED.enclave $MOVED.relay && return
                sleep 0.1
            done
        done
    }
    finish() { touch $END; wait $enclave $relay; cat $MOVED.enclave $MOVED.relay; }
";

/// Names that are fresh, about to expire, past their TTL and never known; TCP both ways; faults.
fn everyday() -> String {
    let ran = measured()
        .env("PROXIFY_PIN", "sns.us-east-1.amazonaws.com=192.0.2.0/24")
        .env("PROXIFY_ROUTE", "closed.example=10.0.0.1:5399 denied.example=10.9.9.9")
        .env("PROXIFY_PUBLISH", "8443:443,10.9.9.9:8444:443")
        .env("PROXIFY_RELAY_DENY", "10.9.9.9/32")
        .run(&format!(
            "{WATCH}
             ask ec2.us-east-1.amazonaws.com; ask ec2.us-east-1.amazonaws.com; ask localhost
             provoke drop
             ask sns.us-east-1.amazonaws.com
             ask closed.example
             # TTL 2 s: a refresh begins in the last fifth of a second.
             again() {{ for n in $(seq 30); do ask short.kv.internal; sleep 0.05; done; }}
             until_moved proxify_prefetches_total again

             python3 $CLIENTS/tcp.py serve 0.0.0.0:443 &
             $SANDBOX ctl vpc python3 $CLIENTS/tcp.py serve 10.0.1.17:443 &
             until python3 $CLIENTS/tcp.py row 10.0.1.17:443 1 &&
                 $SANDBOX ctl vpc python3 $CLIENTS/tcp.py row 10.0.0.10:8443 1; do sleep 0.1; done 2>/dev/null >&2
             provoke hold 10.0.1.17:443 >/dev/null & out=$!
             $SANDBOX ctl vpc python3 $CLIENTS/provoke.py hold 10.0.0.10:8443 >/dev/null & in=$!
             provoke hold 10.0.1.17:1 2>/dev/null
             provoke hold 10.0.0.10:22 2>/dev/null
             wait $out $in

             provoke garbage $LINK
             # BIND of a port that is another's, and one REPORT more than an enclave may have.
             provoke requests $LINK 050200010000000020fb \\
                 05d20001000000000000 05d20001000000000000 05d20001000000000000 05d20001000000000000 \\
                 05d20001000000000000

             $SANDBOX ctl parent mv /etc/resolv.conf /etc/away; sleep 2.5
             $SANDBOX ctl parent mv /etc/away /etc/resolv.conf

             # AmazonDNS falls silent.
             touch /run/sandbox/without/10.0.0.2
             ask short.kv.internal
             ask silent.kv.internal & first=$!; ask silent.kv.internal; wait $first
             # A failure is remembered for a second.
             until_moved proxify_cached_failures_total ask silent.kv.internal
             finish"
        ));
    assert_eq!(ran.status(), Some(0), "{ran}");
    ran.stdout()
}

/// More names than the quotas let through, of the enclave and of the relay.
fn over_quota() -> String {
    let ran = measured()
        .env("PROXIFY_UPSTREAM_PPS", "100")
        .env("PROXIFY_RELAY_UPSTREAM_PPS", "50")
        .run(&format!(
            "{WATCH}
             for series in upstream_queued_lookups over_quota_total upstream_delayed_total \\
                 upstream_packets_per_second relay_quota_queued_queries 'relay_dns_delayed_total{{.*}}' \\
                 'relay_dns_failures_total{{.*over_quota.*}}'; do
                 until_moved proxify_$series provoke ask 300 kv.internal
             done
             finish"
        ));
    assert_eq!(ran.status(), Some(0), "{ran}");
    ran.stdout()
}

/// More lookups than the stub takes, more queries than the relay has sockets for, and more connections
/// than an enclave gets.
fn crowded() -> String {
    let ran = measured()
        .env("PROXIFY_UPSTREAM_PPS", "0")
        .env("PROXIFY_RELAY_UPSTREAM_PPS", "0")
        .env(
            "PROXIFY_ROUTE",
            "a.example=10.0.0.1:5301 b.example=10.0.0.1:5302 c.example=10.0.0.1:5303",
        )
        .run(&format!(
            "{WATCH}
             $SANDBOX ctl vpc python3 $CLIENTS/provoke.py silent 10.0.0.1:5301 10.0.0.1:5302 10.0.0.1:5303 &
             silent=$!; sleep 0.3
             for series in overload_total 'relay_dns_failures_total{{.*too_many.*}}'; do
                 until_moved proxify_$series provoke ask 1500 a.example b.example c.example
             done
             kill $silent
             until_moved 'proxify_relay_turned_away_total{{.*}}' provoke connect $LINK 16385
             finish"
        ));
    assert_eq!(ran.status(), Some(0), "{ran}");
    ran.stdout()
}

#[test]
fn each_metric_moves_when_what_it_counts_happens() {
    let pages = std::thread::scope(|scope| {
        let running = [everyday, over_quota, crowded].map(|provoke| scope.spawn(provoke));
        running.map(|running| running.join().unwrap())
    });
    let largest = series(&pages.concat());
    let metrics: BTreeMap<&str, Metric> = metrics::of_enclave()
        .chain(metrics::of_relay())
        .chain(metrics::of_process())
        .map(|metric| (metric.name, metric))
        .collect();
    let served: BTreeSet<&str> = largest.keys().map(|series| family(series)).collect();
    let known: BTreeSet<&str> = metrics.keys().copied().collect();
    let differ: Vec<_> = served.symmetric_difference(&known).collect();
    assert!(
        differ.is_empty(),
        "served or in a table, and not both: {differ:?}"
    );
    let still: Vec<&String> = largest
        .iter()
        .filter(|(series, value)| {
            // Of a histogram, that it counts.
            let is_part = series.contains("_bucket") || series.ends_with("_sum");
            let kind = metrics[family(series)].kind;
            **value == 0.0 && !(kind == Kind::Histogram && is_part)
                // Nameservers that never answer, beside one that does.
                && !(series.starts_with("proxify_nameserver_") && series.contains("example"))
        })
        .map(|(series, _)| series)
        .collect();
    assert!(still.is_empty(), "nothing moved {still:#?}");
}

/// What an enclave tells the relay reads there as on its own page.
#[test]
fn the_relay_tells_what_an_enclave_tells_it() {
    let ran = measured().run(
        "URL=http://$PROXIFY_METRICS/metrics
         for n in 1 2 3; do dig +short ec2.us-east-1.amazonaws.com > /dev/null; done
         told() { $SANDBOX ctl parent curl -s $URL | grep -q '^proxify_hits_total{cid=\".*\"} 2$'; }
         for attempt in $(seq 200); do told && break; sleep 0.1; done
         $SANDBOX ctl parent curl -s $URL",
    );
    assert_eq!(ran.status(), Some(0), "{ran}");
    let page = ran.stdout();
    let with_cid = |name: &str| {
        let mut lines = page.lines().filter(|line| !line.starts_with('#'));
        lines.any(|line| {
            family(line.split(' ').next().unwrap_or_default()) == name
                && line.contains("cid=\"unix:")
        })
    };
    for metric in metrics::of_enclave() {
        assert!(with_cid(metric.name), "{}\n{ran}", metric.name);
    }
    assert!(
        page.contains("proxify_relay_report_age_seconds{cid="),
        "{ran}"
    );
}
