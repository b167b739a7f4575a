//! Two pictures: latency by percentile, where the tail has as much room as the middle, and over time.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Measured, Report, count, plot, units};

/// Pixels of one picture, and of its edges: the right one has the labels of the curves.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 116.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 42.0;

/// Pixels between two labels of curves.
const LABELS: f64 = 15.0;

/// Percentiles that have a tick. The axis is the logarithm of one in how many lookups is slower.
const TICKS: [(&str, f64); 6] = [
    ("p50", 2.0),
    ("p90", 10.0),
    ("p99", 100.0),
    ("p99.9", 1000.0),
    ("p99.99", 10_000.0),
    ("p99.999", 100_000.0),
];

/// Points of a curve for each decade of that axis.
const POINTS: u32 = 40;

/// Colours on light and on dark ground, told apart by people who see few (Okabe and Ito).
const COLOURS: [(&str, &str); 8] = [
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff8c42"),
    ("#009e73", "#2fd0a3"),
    ("#a8548a", "#e59bc8"),
    ("#b07c00", "#f0c000"),
    ("#555555", "#bbbbbb"),
    ("#7a3db8", "#b794f4"),
    ("#8c2d19", "#e0796a"),
];

/// Both pictures as a file of its own.
pub(super) fn render(report: &Report) -> String {
    let height = 2.0 * HEIGHT + 30.0;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">
<style>{}</style>
<rect width="100%" height="100%" fill="var(--ground)"/>
<text x="{LEFT}" y="20" class="faint">{}</text>
<g transform="translate(0 30)">{}</g>
<g transform="translate(0 {})">{}</g>
</svg>
"#,
        style(),
        escape(&report.summary()),
        percentiles(report),
        HEIGHT + 30.0,
        over_time(report),
    )
}

/// One picture for a page.
pub(super) fn figure(inner: &str, title: &str) -> String {
    format!(
        r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">{inner}</svg>"#,
        escape(title)
    )
}

/// Colours and lines, of pictures and of the page around them.
pub(super) fn style() -> String {
    let colours = |pick: fn(&(&'static str, &'static str)) -> &'static str| {
        let mut text = String::new();
        for (index, pair) in COLOURS.iter().enumerate() {
            let _ = write!(text, "--t{index}:{};", pick(pair));
        }
        text
    };
    let mut style = format!(
        ":root{{color-scheme:light dark;--ground:#fff;--ink:#1b1f24;--faint:#667;--line:#dde1e6;{}}}\n\
         @media(prefers-color-scheme:dark){{:root{{--ground:#14171b;--ink:#e6e8ea;--faint:#99a1ab;--line:#2b3138;{}}}}}\n\
         svg text{{font:12px system-ui,sans-serif;fill:var(--ink)}}\
         svg .title{{font-weight:600;font-size:14px}}svg .faint{{fill:var(--faint)}}\
         .grid{{stroke:var(--line);stroke-width:1}}\
         .curve{{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}}\
         .thin{{stroke-width:1.2;stroke-dasharray:3 3}}svg .label{{font-weight:600}}\n",
        colours(|pair| pair.0),
        colours(|pair| pair.1),
    );
    for index in 0..COLOURS.len() {
        let _ = write!(
            style,
            ".s{index}{{stroke:var(--t{index})}}svg .f{index},.f{index}{{fill:var(--t{index});color:var(--t{index})}}"
        );
    }
    style
}

/// Latency by percentile.
pub(super) fn percentiles(report: &Report) -> String {
    let some = || {
        let targets = report.targets.iter().enumerate();
        targets.filter(|(_, target)| target.latencies.count() > 0)
    };
    let most = some().map(|(_, target)| target.latencies.count()).max();
    let low = some().map(|(_, target)| target.latencies.min()).min();
    let high = some().map(|(_, target)| target.latencies.max()).max();
    let (Some(most), Some(low), Some(high)) = (most, low, high) else {
        return nothing("latency by percentile");
    };
    // To the longest lookup of the target that had most, and at least to p90.
    let end = count(most).log10().clamp(1.0, 5.0);
    let x = |decades: f64| LEFT + (WIDTH - LEFT - RIGHT) * decades / end;
    let axis = Axis::new(low, high);
    let mut out = axis.draw("latency by percentile");
    for (name, one_in) in TICKS {
        let at = one_in.log10();
        if at <= end + 1e-9 {
            vertical(&mut out, x(at), name);
        }
    }
    let mut labels = Vec::new();
    for (index, target) in some() {
        let last = count(target.latencies.count()).log10().min(end);
        let mut curve = Vec::new();
        let mut step = 0;
        loop {
            let decades = (f64::from(step) / f64::from(POINTS)).min(last);
            let value = target.latencies.quantile(1.0 - 10f64.powf(-decades));
            curve.push((x(decades), axis.y(value)));
            if decades >= last {
                break;
            }
            step += 1;
        }
        if let Some(&(_, y)) = curve.last() {
            labels.push((index, y));
        }
        line(&mut out, index, "", &curve);
    }
    label(&mut out, &report.targets, labels);
    out
}

/// Latency over time: p50, and p99 dashed.
pub(super) fn over_time(report: &Report) -> String {
    const TITLE: &str = "latency over time: p50, and p99 dashed";
    let answered = |target: &Measured| {
        let points = target.points.clone().into_iter();
        points.filter(|point| point.answered > 0)
    };
    let all = || report.targets.iter().flat_map(answered);
    let low = all().map(|point| point.p50).min();
    let high = all().map(|point| point.p99).max();
    let end = all().map(|point| point.at).max();
    let (Some(low), Some(high), Some(end)) = (low, high, end) else {
        return nothing(TITLE);
    };
    let end = end.max(report.duration);
    let x = |at: Duration| {
        LEFT + (WIDTH - LEFT - RIGHT) * (at.as_secs_f64() / end.as_secs_f64().max(1e-9))
    };
    let axis = Axis::new(low, high);
    let mut out = axis.draw(TITLE);
    let step = plot::step(end);
    let mut at = Duration::ZERO;
    while at <= end {
        vertical(&mut out, x(at), &units::seconds(at));
        at += step;
    }
    let mut labels = Vec::new();
    for (index, target) in report.targets.iter().enumerate() {
        let points: Vec<_> = answered(target).collect();
        let curve = |pick: fn(&crate::Point) -> Duration| -> Vec<(f64, f64)> {
            let points = points.iter();
            points
                .map(|point| (x(point.at), axis.y(pick(point))))
                .collect()
        };
        let p50 = curve(|point| point.p50);
        if let Some(&(_, y)) = p50.last() {
            labels.push((index, y));
        }
        line(&mut out, index, " thin", &curve(|point| point.p99));
        line(&mut out, index, "", &p50);
    }
    label(&mut out, &report.targets, labels);
    out
}

/// The axis of latencies, logarithmic.
struct Axis {
    ticks: Vec<Duration>,
    low: f64,
    high: f64,
}

impl Axis {
    fn new(low: Duration, high: Duration) -> Self {
        let ticks = plot::ticks(low, high);
        let end = |tick: Option<&Duration>, value| tick.map_or(value, |tick| plot::log(*tick));
        Self {
            low: end(ticks.first(), plot::log(low)),
            high: end(ticks.last(), plot::log(high)),
            ticks,
        }
    }

    fn y(&self, value: Duration) -> f64 {
        let part = (plot::log(value) - self.low) / (self.high - self.low).max(1e-9);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part.clamp(0.0, 1.0)
    }

    /// Title, lines and their values.
    fn draw(&self, title: &str) -> String {
        let mut out = format!(
            r#"<text x="{LEFT}" y="20" class="title">{}</text>"#,
            escape(title)
        );
        let right = WIDTH - RIGHT;
        for tick in &self.ticks {
            let y = self.y(*tick);
            let (text, text_x, text_y) = (units::short_time(*tick), LEFT - 8.0, y + 4.0);
            let _ = writeln!(
                out,
                r#"<line x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}" class="grid"/><text x="{text_x}" y="{text_y:.1}" text-anchor="end" class="faint">{text}</text>"#
            );
        }
        out
    }
}

/// A line upwards with its value below.
fn vertical(out: &mut String, x: f64, text: &str) {
    let (bottom, text_y) = (HEIGHT - BOTTOM, HEIGHT - BOTTOM + 18.0);
    let _ = writeln!(
        out,
        r#"<line x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}" class="grid"/><text x="{x:.1}" y="{text_y}" text-anchor="middle" class="faint">{}</text>"#,
        escape(text)
    );
}

fn line(out: &mut String, target: usize, class: &str, curve: &[(f64, f64)]) {
    let Some(&(x, y)) = curve.first() else {
        return;
    };
    // One point is drawn as a dot.
    let mut path = format!("M{x:.1} {y:.1}L{x:.1} {y:.1}");
    for (x, y) in curve.iter().skip(1) {
        let _ = write!(path, "L{x:.1} {y:.1}");
    }
    let colour = target % COLOURS.len();
    let _ = writeln!(out, r#"<path d="{path}" class="curve s{colour}{class}"/>"#);
}

/// The names of curves beside them, at the height of their ends, none over another.
fn label(out: &mut String, targets: &[Measured], mut at: Vec<(usize, f64)>) {
    at.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let mut lowest = HEIGHT - BOTTOM + LABELS;
    for (index, y) in at {
        let Some(target) = targets.get(index) else {
            continue;
        };
        lowest = (y + 4.0).min(lowest - LABELS);
        let colour = index % COLOURS.len();
        let _ = writeln!(
            out,
            r#"<text x="{:.1}" y="{lowest:.1}" class="f{colour} label">{}</text>"#,
            WIDTH - RIGHT + 8.0,
            escape(&target.label)
        );
    }
}

fn nothing(title: &str) -> String {
    format!(
        r#"<text x="{LEFT}" y="20" class="title">{}</text><text x="{LEFT}" y="{}" class="faint">no answers</text>"#,
        escape(title),
        HEIGHT / 2.0
    )
}

/// Text within markup, or within an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // No XML has them, escaped or not (XML 1.0 section 2.2).
            '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}');
            }
            _ => out.push(c),
        }
    }
    out
}
