//! A real Prometheus, Debian's, scrapes both halves and is asked.

use serde_json::Value;

use crate::dashboard;
use crate::measured;

/// Both pages on the parent: that of the enclave as a published port.
const CONFIG: &str = "
global: { scrape_interval: 1s }
scrape_configs:
- job_name: relay
  static_configs: [{ targets: ['127.0.0.1:9153'] }]
- job_name: enclave
  static_configs: [{ targets: ['127.0.0.1:9154'] }]
";

#[test]
fn it_scrapes_both_halves_and_knows_the_dashboards_queries() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let asked = [
        "up",
        "proxify_hits_total{job='enclave'}",
        "proxify_info{job='relay'}",
    ];
    let mut queries: Vec<String> = asked.map(str::to_owned).into();
    queries.extend(dashboard::queries());
    let ran = measured()
        .env("PROXIFY_PUBLISH", "9154:9153")
        .env("DIRECTORY", directory.path())
        .env("CONFIG", write("prometheus.yml", CONFIG.to_owned()))
        .env("QUERIES", write("queries", queries.join("\n") + "\n"))
        .run(
            "PATH=$PATH:/usr/sbin:/sbin
             on_parent() { $SANDBOX ctl parent \"$@\"; }
             API=http://127.0.0.1:9090/api/v1/query
             on_parent prometheus --config.file=$CONFIG --storage.tsdb.path=$DIRECTORY/data \\
                 --web.listen-address=127.0.0.1:9090 --log.level=warn & prometheus=$!
             knows() {
                 for attempt in $(seq 300); do
                     on_parent curl -s --get $API --data-urlencode \"query=$1\" | grep -q '\"value\"' && return
                     sleep 0.1
                 done
                 echo \"never: $1\" >&2
             }
             # Rates take two scrapes.
             knows 'min(count_over_time(up[1m])) >= 2'
             for n in 1 2 3; do dig +short ec2.us-east-1.amazonaws.com > /dev/null; done
             knows \"proxify_hits_total{job='enclave'} >= 2\"
             knows \"count_over_time(proxify_hits_total{job='relay'}[1m]) >= 2\"
             on_parent sh -c \"while read -r query; do
                 curl -s --get $API --data-urlencode \\\"query=\\$query\\\"; echo
             done < $QUERIES\"
             kill $prometheus; wait $prometheus; true",
        );
    let answers = ran.lines();
    assert_eq!(answers.len(), queries.len(), "{ran}");
    let answers = answers.iter().map(|line| {
        let answer: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}\n{ran}"));
        answer
    });
    for (query, answer) in queries.iter().zip(answers) {
        assert_eq!(answer["status"], "success", "{query}: {answer}\n{ran}");
        let values = answer["data"]["result"].as_array().unwrap();
        assert!(!values.is_empty(), "nothing for {query}\n{ran}");
        let text = answer.to_string();
        match query.as_str() {
            "up" => {
                let up = values.iter().filter(|value| value["value"][1] == "1");
                assert_eq!(up.count(), 2, "{text}");
            }
            "proxify_hits_total{job='enclave'}" => {
                assert_eq!(values[0]["value"][1], "2", "{text}");
            }
            "proxify_info{job='relay'}" => {
                let cid = values[0]["metric"]["cid"].as_str().unwrap_or_default();
                assert!(cid.starts_with("unix:"), "{text}");
            }
            _ => {}
        }
    }
}

/// Prometheus's own tool finds nothing to complain of in names, kinds, units and help.
#[test]
fn promtool_has_no_complaint() {
    let ran = measured().run(
        "dig +short ec2.us-east-1.amazonaws.com > /dev/null
         curl -s http://$PROXIFY_METRICS/metrics > /run/enclave
         promtool check metrics < /run/enclave 2>&1; echo $?
         $SANDBOX ctl parent curl -s http://$PROXIFY_METRICS/metrics > /run/relay
         promtool check metrics < /run/relay 2>&1; echo $?
         grep -c '^# TYPE proxify_' /run/enclave",
    );
    let lines = ran.lines();
    assert_eq!(lines[..2], ["0", "0"], "{ran}");
    assert_eq!(lines[2], metrics::of_enclave().count().to_string(), "{ran}");
}
