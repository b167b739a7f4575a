//! A metric as a line of a table, and tables as text.
//!
//! The `prometheus` crate writes the text, with its escapes; its registry and its atomics are not used,
//! since the values are counted elsewhere.

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as Sampled, LabelPair, Metric as Sample, MetricFamily,
    MetricType,
};
use report::Histogram;

/// Bytes of a label's value that are shown: what stands in them may come from an enclave.
const MAX_LABEL: usize = 128;

/// Names and values of labels.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// A metric and where its value stands.
pub(crate) struct Family<T> {
    name: &'static str,
    help: &'static str,
    read: Read<T>,
}

/// Where a metric's value stands, or its values, each with labels of its own.
pub(crate) enum Read<T> {
    Counter(fn(&T) -> u64),
    Counters(fn(&T) -> Vec<(Labels, u64)>),
    Gauge(fn(&T) -> f64),
    Gauges(fn(&T) -> Vec<(Labels, f64)>),
    Histogram(fn(&T) -> Histogram),
}

/// A metric's name and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name; a histogram's series have `_bucket`, `_sum` and `_count` behind it.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many took how long.
    Histogram,
}

impl<T> Family<T> {
    pub(crate) const fn new(name: &'static str, help: &'static str, read: Read<T>) -> Self {
        Self { name, help, read }
    }

    pub(crate) fn metric(&self) -> Metric {
        Metric {
            name: self.name,
            help: self.help,
            kind: match self.read {
                Read::Counter(_) | Read::Counters(_) => Kind::Counter,
                Read::Gauge(_) | Read::Gauges(_) => Kind::Gauge,
                Read::Histogram(_) => Kind::Histogram,
            },
        }
    }

    fn samples(&self, labels: &Labels, of: &T, into: &mut Vec<Sample>) {
        match self.read {
            Read::Counter(read) => into.push(counter(labels, &[], read(of))),
            Read::Counters(read) => {
                let read = read(of).into_iter();
                into.extend(read.map(|(own, value)| counter(labels, &own, value)));
            }
            Read::Gauge(read) => into.push(gauge(labels, &[], read(of))),
            Read::Gauges(read) => {
                let read = read(of).into_iter();
                into.extend(read.map(|(own, value)| gauge(labels, &own, value)));
            }
            Read::Histogram(read) => into.push(histogram(labels, &read(of))),
        }
    }
}

/// The lines of a table over all that they are read of, each with its labels. A metric without a value
/// is left out.
pub(crate) fn families<T>(table: &[Family<T>], of: &[(Labels, &T)]) -> Vec<MetricFamily> {
    let family = |family: &Family<T>| {
        let mut samples = Vec::new();
        for (labels, of) in of {
            family.samples(labels, of, &mut samples);
        }
        let mut written = MetricFamily::default();
        written.set_name(family.name.to_owned());
        written.set_help(family.help.to_owned());
        written.set_field_type(match family.metric().kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        written.set_metric(samples);
        written
    };
    let families = table.iter().map(family);
    families
        .filter(|family| !family.get_metric().is_empty())
        .collect()
}

/// The text that Prometheus reads.
pub(crate) fn text(families: &[MetricFamily]) -> String {
    // It fails for a family without a name or a value, and there is none.
    TextEncoder::new()
        .encode_to_string(families)
        .unwrap_or_default()
}

fn counter(labels: &Labels, own: &[(&'static str, String)], value: u64) -> Sample {
    let mut counter = Counter::default();
    counter.set_value(float(value));
    let mut sample = Sample::from_label(pairs(labels, own));
    sample.set_counter(counter);
    sample
}

fn gauge(labels: &Labels, own: &[(&'static str, String)], value: f64) -> Sample {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut sample = Sample::from_label(pairs(labels, own));
    sample.set_gauge(gauge);
    sample
}

fn histogram(labels: &Labels, histogram: &Histogram) -> Sample {
    let bucket = |(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut sampled = Sampled::default();
    sampled.set_sample_count(histogram.count());
    sampled.set_sample_sum(histogram.sum_seconds());
    sampled.set_bucket(histogram.buckets().map(bucket).collect());
    let mut sample = Sample::from_label(pairs(labels, &[]));
    sample.set_histogram(sampled);
    sample
}

fn pairs(labels: &Labels, own: &[(&'static str, String)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&'static str, String)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        let end = value.floor_char_boundary(MAX_LABEL);
        pair.set_value(value.get(..end).unwrap_or_default().to_owned());
        pair
    };
    labels.iter().chain(own).map(pair).collect()
}

/// Prometheus knows nothing but these; from 2^53 on they are rounded.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}
