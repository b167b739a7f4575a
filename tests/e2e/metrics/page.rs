//! Pages as Prometheus reads them.

use std::collections::BTreeMap;

/// The value of each series, by its name and labels without the enclave's.
pub(crate) fn series(text: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        let largest: &mut f64 = all.entry(without_cid(series)).or_default();
        *largest = largest.max(value);
    }
    all
}

/// The name of a series without its labels, and for one of a histogram the histogram's.
pub(crate) fn family(series: &str) -> &str {
    let name = series.split('{').next().unwrap_or_default();
    let histogram = ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|end| name.strip_suffix(end))
        .filter(|histogram| histogram.ends_with("_seconds"));
    histogram.unwrap_or(name)
}

fn without_cid(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else {
        return series.to_owned();
    };
    let labels = labels.trim_end_matches('}').split(',');
    let labels: Vec<&str> = labels.filter(|label| !label.starts_with("cid=")).collect();
    match labels.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", labels.join(",")),
    }
}
