//! `enclave/grafana.json`: its queries, and that they ask for metrics that there are.

use std::collections::BTreeSet;

use metrics::{Kind, Metric};
use serde_json::Value;

const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../enclave/grafana.json");

/// Stands for what Grafana puts in: a range that has two scrapes, and all enclaves.
const VARIABLES: [(&str, &str); 2] = [("$__rate_interval", "1m"), ("$cid", ".*")];

/// Each panel's queries, as Prometheus gets them.
pub(crate) fn queries() -> Vec<String> {
    let mut found = Vec::new();
    collect(&dashboard(), "expr", &mut found);
    for query in &mut found {
        for (variable, value) in VARIABLES {
            *query = query.replace(variable, value);
        }
        assert!(!query.contains(['$', '\n']), "{query}");
    }
    found
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(DASHBOARD).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn collect(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key => found.push(text.clone()),
                    value => collect(value, key, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, key, found)),
        _ => {}
    }
}

/// What series a metric has.
fn series(metric: Metric) -> Vec<String> {
    match metric.kind {
        Kind::Counter | Kind::Gauge => vec![metric.name.to_owned()],
        Kind::Histogram => ["bucket", "sum", "count"]
            .map(|end| format!("{}_{end}", metric.name))
            .into(),
    }
}

fn names(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("proxify_") || word.starts_with("process_"))
}

#[test]
fn its_queries_ask_for_metrics_that_there_are() {
    let known: BTreeSet<String> = metrics::of_enclave()
        .chain(metrics::of_relay())
        .chain(metrics::of_process())
        .flat_map(series)
        .collect();
    let mut variables = Vec::new();
    collect(&dashboard()["templating"], "query", &mut variables);
    let mut asked = BTreeSet::new();
    for query in queries().iter().chain(&variables) {
        for name in names(query) {
            assert!(known.contains(name), "{name} in {query}");
            asked.insert(name.to_owned());
        }
    }
    for query in queries() {
        assert_ne!(names(&query).count(), 0, "{query}");
    }
    // What an operator looks at first: names, TCP, the quota and the relay.
    for name in [
        "proxify_hits_total",
        "proxify_lookup_duration_seconds_bucket",
        "proxify_upstream_quota_packets_per_second",
        "proxify_egress_failures_total",
        "proxify_relay_requests_total",
    ] {
        assert!(asked.contains(name), "{name}");
    }
}

#[test]
fn its_panels_are_apart_and_take_the_chosen_source() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "two panels at {x}, {y}: {panel}");
            }
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
            assert!(panel["description"].is_string(), "{panel}");
        }
    }
}
