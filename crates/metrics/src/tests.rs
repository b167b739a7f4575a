use std::collections::BTreeSet;

use report::{Health, Nameserver};
use serde_json::Value;

use super::*;

/// What stands in a status but is told in another form, or not at all.
fn fields(of: &impl serde::Serialize) -> Vec<String> {
    let Value::Object(fields) = serde_json::to_value(of).unwrap() else {
        panic!("no object")
    };
    fields.keys().map(|key| format!("proxify_{key}")).collect()
}

#[test]
fn each_count_of_a_status_is_a_metric_of_its_kind() {
    let status = Status::default();
    let of = |kind: Kind| -> BTreeSet<_> {
        let metrics = of_enclave().filter(move |metric| metric.kind == kind);
        metrics.map(|metric| metric.name.to_owned()).collect()
    };
    let counters: BTreeSet<_> = fields(&status.totals).into_iter().collect();
    assert_eq!(of(Kind::Counter), counters);
    let histograms: BTreeSet<_> = fields(&status.durations).into_iter().collect();
    assert_eq!(of(Kind::Histogram), histograms);
    let gauges = of(Kind::Gauge);
    for gauge in fields(&status.gauges) {
        assert!(gauges.contains(&gauge), "{gauge}");
    }
}

#[test]
fn names_are_told_once_and_as_prometheus_wants_them() {
    let mut names = BTreeSet::new();
    for metric in of_enclave().chain(of_relay()).chain(of_process()) {
        let Metric { name, help, kind } = metric;
        assert!(names.insert(name), "{name} twice");
        assert!(
            help.ends_with('.') && !help.contains('\n'),
            "{name}: {help}"
        );
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        if kind == Kind::Histogram {
            assert!(name.ends_with("_duration_seconds"), "{name}");
        }
    }
}

#[test]
fn a_hostile_enclave_spoils_no_line() {
    let evil = "\"} 1\nproxify_queries_total 9\\".to_owned();
    let nameserver = Nameserver {
        address: evil.clone(),
        route: "é".repeat(1000),
        health: Health::Answers,
        ..Nameserver::default()
    };
    let mut status = Status {
        version: evil,
        nameservers: vec![nameserver; 1000],
        ..Status::default()
    };
    status.totals.queries_total = u64::MAX;
    for number in 0..1000 {
        status.nameservers.push(Nameserver {
            address: number.to_string(),
            ..Nameserver::default()
        });
    }
    let reported = |cid: u32| Reported {
        cid: cid.to_string(),
        status: status.clone(),
        ..Reported::default()
    };
    let all: Vec<_> = (0..300).chain([100, 100]).map(reported).collect();
    let page = relay(&Relay::default(), &[], &all);
    let mut series = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.insert(name), "twice: {line}");
        assert!(line.len() < 1000, "{line}");
    }
    let queries = |name: &&&str| name.starts_with("proxify_queries_total");
    assert_eq!(series.iter().filter(queries).count(), 128);
    assert!(series.contains("proxify_queries_total{cid=\"100\"}"));
    assert!(
        page.contains(r#"version="\"} 1\nproxify_queries_total 9\\""#),
        "{page}"
    );
}

#[test]
fn a_histogram_is_cumulative_and_in_seconds() {
    let mut status = Status::default();
    let durations = &mut status.durations.lookup_duration_seconds;
    durations.record(std::time::Duration::from_millis(3));
    durations.record(std::time::Duration::from_secs(9));
    let page = enclave(&status);
    for line in [
        "# TYPE proxify_lookup_duration_seconds histogram",
        "proxify_lookup_duration_seconds_bucket{le=\"0.002\"} 0",
        "proxify_lookup_duration_seconds_bucket{le=\"0.004\"} 1",
        "proxify_lookup_duration_seconds_bucket{le=\"4.096\"} 1",
        "proxify_lookup_duration_seconds_bucket{le=\"+Inf\"} 2",
        "proxify_lookup_duration_seconds_sum 9.003",
        "proxify_lookup_duration_seconds_count 2",
    ] {
        assert!(page.lines().any(|other| other == line), "{line}\n{page}");
    }
}
