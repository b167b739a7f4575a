//! What a run came to, as data, and how that is shown.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::ask::OpenError;
use crate::recorder::{Point, Recorder};
use crate::{Failures, Latencies, Pace, Plan, Target};

mod html;
mod plot;
mod svg;
mod terminal;
mod units;

pub use terminal::Terminal;
pub(crate) use units::count;

/// Names that a report repeats.
const MAX_SHOWN: usize = 12;

/// The percentiles of every table, and their shares.
pub(crate) const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it began.
    pub began: SystemTime,
    /// The first names, each once.
    pub names: Vec<String>,
    /// Names and types, all together.
    pub questions: usize,
    /// The types, each once.
    pub types: Vec<String>,
    /// When lookups began.
    pub pace: Pace,
    /// Lookups of a target at the same time.
    pub concurrency: u16,
    /// How long it was to be.
    pub duration: Duration,
    /// Whether each lookup was for a name of its own.
    pub cold: bool,
    /// Packets a second to where AmazonDNS may be; `None` for no limit.
    pub upstream_pps: Option<u32>,
    /// Whether that limit made the first round slower.
    pub warming_held: bool,
    /// Who was asked, in the plan's order.
    pub targets: Vec<Measured>,
    /// Who was not, and why.
    pub missing: Vec<Missing>,
}

/// What one target came to.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its short name.
    pub label: String,
    /// What it is.
    pub what: String,
    /// Of the lookups that were answered.
    pub latencies: Latencies,
    /// The others.
    pub failures: Failures,
    /// Answers without records.
    pub empty: u64,
    /// The time that this target had.
    pub spent: Duration,
    /// Lookups that an open loop was to begin.
    pub intended: Option<u64>,
    /// Whether the limit of packets made it slower.
    pub held_back: bool,
    /// Latency over time.
    pub points: Vec<Point>,
}

/// A target that was not measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its short name.
    pub label: String,
    /// Why.
    pub why: String,
}

impl Missing {
    pub(crate) fn new(target: &Target, why: &OpenError) -> Self {
        Self {
            label: target.label(),
            why: why.to_string(),
        }
    }
}

impl Measured {
    pub(crate) fn new(
        target: &Target,
        recorder: &mut Recorder,
        spent: Duration,
        intended: Option<u64>,
    ) -> Self {
        Self {
            label: target.label(),
            what: target.to_string(),
            points: recorder.points(),
            latencies: recorder.latencies.clone(),
            failures: recorder.failures.clone(),
            empty: recorder.empty,
            spent,
            intended,
            held_back: recorder.held_back,
        }
    }

    /// Lookups that ended, well or not.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.latencies.count() + self.failures.total()
    }

    /// Answers a second of its time; none where a limit decided that.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.spent.as_secs_f64();
        let is_known = !self.held_back && seconds > 0.0;
        is_known.then(|| count(self.latencies.count()) / seconds)
    }
}

impl Report {
    pub(crate) fn new(
        plan: &Plan,
        began: SystemTime,
        targets: Vec<Measured>,
        missing: Vec<Missing>,
        warming_held: bool,
    ) -> Self {
        let (mut names, mut types) = (Vec::new(), Vec::new());
        for (name, rtype) in plan.questions.shown() {
            if names.len() < MAX_SHOWN && !names.contains(&name) {
                names.push(name);
            }
            let rtype = rtype.to_string();
            if types.len() < MAX_SHOWN && !types.contains(&rtype) {
                types.push(rtype);
            }
        }
        Self {
            began,
            names,
            questions: plan.questions.len(),
            types,
            pace: plan.pace,
            concurrency: plan.concurrency,
            duration: plan.duration,
            cold: plan.questions.is_cold(),
            upstream_pps: plan.upstream_pps,
            warming_held,
            targets,
            missing,
        }
    }

    /// Whether anything was answered.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        self.targets
            .iter()
            .any(|target| target.latencies.count() > 0)
    }

    /// As text, for a terminal or none.
    #[must_use]
    pub fn text(&self, terminal: Terminal) -> String {
        terminal::render(self, terminal)
    }

    /// As one page that loads nothing.
    #[must_use]
    pub fn html(&self) -> String {
        html::render(self)
    }

    /// As one picture: percentiles and time.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::render(self)
    }

    /// For machines. Times are in nanoseconds but where a name says otherwise; a percentile is null
    /// where there are too few lookups to know it.
    #[must_use]
    pub fn json(&self) -> Value {
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let targets: Vec<Value> = self.targets.iter().map(Measured::json).collect();
        let missing = self.missing.iter();
        let missing: Vec<Value> = missing
            .map(|missing| json!({"target": missing.label, "why": missing.why}))
            .collect();
        let rate = match self.pace {
            Pace::Closed => Value::Null,
            Pace::Open(rate) => rate.into(),
        };
        json!({
            "began_unix_s": began.as_secs(),
            "version": env!("CARGO_PKG_VERSION"),
            "names": self.names,
            "questions": self.questions,
            "types": self.types,
            "cold": self.cold,
            "loop": match self.pace { Pace::Closed => "closed", Pace::Open(_) => "open" },
            "rate_per_s": rate,
            "concurrency": self.concurrency,
            "duration_s": self.duration.as_secs_f64(),
            "upstream_pps": self.upstream_pps,
            "warming_held_back": self.warming_held,
            "targets": targets,
            "missing": missing,
        })
    }

    /// What was done, in one line.
    pub(crate) fn summary(&self) -> String {
        let names = match &*self.names {
            [one] => one.clone(),
            _ if self.questions == self.names.len() => format!("{} names", self.names.len()),
            _ => format!("{} names and types", units::grouped(self.questions as u64)),
        };
        let pace = match self.pace {
            Pace::Closed if self.concurrency == 1 => "one lookup at a time".to_owned(),
            Pace::Closed => format!("{} lookups at a time", self.concurrency),
            Pace::Open(rate) => format!("{} lookups a second", units::grouped(rate.into())),
        };
        let cache = if self.cold { "cold" } else { "warm" };
        format!(
            "{names} ({}), {cache}, {pace}, {} in all",
            self.types.join(", "),
            units::seconds(self.duration)
        )
    }

    /// What a reader must know of the figures.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for target in &self.targets {
            let label = &target.label;
            for (failure, count) in target.failures.iter() {
                let count = units::grouped(count);
                remarks.push(format!("{label}: {count} × {failure}, in no percentile"));
            }
            if target.empty > 0 {
                let count = units::grouped(target.empty);
                remarks.push(format!(
                    "{label}: {count} of the answers have no records (NODATA)"
                ));
            }
            let late = target
                .intended
                .map_or(0, |intended| intended.saturating_sub(target.ended()));
            if late > 0 {
                let late = units::grouped(late);
                remarks.push(format!(
                    "{label}: {late} lookups could not begin in time: the rate is more than \
                     {} at a time can do",
                    self.concurrency
                ));
            }
        }
        let held = self.targets.iter().filter(|target| target.held_back);
        let mut held: Vec<&str> = held.map(|target| &*target.label).collect();
        if self.warming_held {
            held.push("the first round");
        }
        if let Some(limit) = self.upstream_pps.filter(|_| !held.is_empty()) {
            remarks.push(format!(
                "held back to {limit} packets a second to where AmazonDNS may be (--upstream-pps): {}",
                held.join(", ")
            ));
        }
        remarks.extend(self.missing.iter().map(Missing::to_string));
        remarks
    }
}

impl Measured {
    fn json(&self) -> Value {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut latency = serde_json::Map::new();
        let some = self.latencies.count() > 0;
        let known = |time: Duration| {
            if some {
                nanos(time).into()
            } else {
                Value::Null
            }
        };
        latency.insert("min".to_owned(), known(self.latencies.min()));
        for (name, share) in PERCENTILES {
            let value = self.latencies.known_quantile(share).map(nanos);
            latency.insert(name.to_owned(), json!(value));
        }
        latency.insert("max".to_owned(), known(self.latencies.max()));
        let failures: serde_json::Map<String, Value> = self
            .failures
            .iter()
            .map(|(failure, count)| (failure.to_string(), count.into()))
            .collect();
        let points: Vec<Value> = self
            .points
            .iter()
            .map(|point| {
                json!({
                    "at": nanos(point.at),
                    "p50": nanos(point.p50),
                    "p99": nanos(point.p99),
                    "answered": point.answered,
                    "failed": point.failed,
                })
            })
            .collect();
        json!({
            "target": self.label,
            "what": self.what,
            "lookups": self.ended(),
            "intended": self.intended,
            "answered": self.latencies.count(),
            "nodata": self.empty,
            "failed": self.failures.total(),
            "failures": failures,
            "seconds": self.spent.as_secs_f64(),
            "answers_per_s": self.rate(),
            "held_back": self.held_back,
            "latency_ns": latency,
            "over_time": points,
        })
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is left out: {}", self.label, self.why)
    }
}

#[cfg(test)]
pub(crate) mod tests;
