//! One page that loads nothing: its policy forbids even that. Light or dark, as its reader has it.

use std::fmt::Write as _;

use super::svg::{self, escape};
use super::{PERCENTILES, Report, units};
use crate::Pace;

/// The page's own style, beside that of the pictures.
const STYLE: &str = "
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:860px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.35rem;margin:0}p{margin:.3rem 0}.faint{color:var(--faint)}
svg{width:100%;height:auto;margin-top:1.2rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin-top:1.2rem;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}thead th{color:var(--faint);font-weight:500}
dl{margin-top:1.2rem;display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem}dt{font-weight:600}dd{margin:0}ul{padding-left:1.2rem}
";

pub(super) fn render(report: &Report) -> String {
    let summary = escape(&report.summary());
    let mut body = format!(
        "<h1>Lookup latency</h1>\n<p>{summary}</p>\n<p class=\"faint\">{}, proxify {}, {}</p>\n",
        units::date(report.began),
        env!("CARGO_PKG_VERSION"),
        escape(&machine()),
    );
    body += &svg::figure(&svg::percentiles(report), "latency by percentile");
    body.push('\n');
    body += &svg::figure(&svg::over_time(report), "latency over time");
    body.push('\n');
    table(&mut body, report);
    body += "<dl>";
    for (index, target) in report.targets.iter().enumerate() {
        let _ = writeln!(
            body,
            "<dt class=\"f{index}\">{}</dt><dd>{}</dd>",
            escape(&target.label),
            escape(&target.what)
        );
    }
    let more = match report.questions > report.names.len() {
        true => ", …",
        false => "",
    };
    let _ = writeln!(
        body,
        "<dt>names</dt><dd>{}{more}</dd></dl>",
        escape(&report.names.join(", "))
    );
    body += match report.pace {
        Pace::Closed => "<ul><li>Closed loop: a lookup begins when the one before has ended.</li>",
        Pace::Open(_) => {
            "<ul><li>Open loop: latency counts from when a lookup was to begin, also where it had to \
             wait.</li>"
        }
    };
    for remark in report.remarks() {
        let _ = write!(body, "<li>{}</li>", escape(&remark));
    }
    body += "</ul>\n";
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Lookup latency: {summary}</title>\n<style>{}{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        svg::style(),
    )
}

fn table(body: &mut String, report: &Report) {
    *body += "<div class=\"scroll\"><table><thead><tr><th>target</th>";
    for (name, _) in PERCENTILES {
        let _ = write!(body, "<th>{name}</th>");
    }
    *body += "<th>max</th><th>answers</th><th>a second</th><th>failed</th></tr></thead><tbody>\n";
    for (index, target) in report.targets.iter().enumerate() {
        let label = escape(&target.label);
        let _ = write!(body, "<tr><td class=\"f{index}\">{label}</td>");
        for (_, share) in PERCENTILES {
            let value = target.latencies.known_quantile(share);
            let _ = write!(
                body,
                "<td>{}</td>",
                value.map_or("–".to_owned(), units::time)
            );
        }
        let max = match target.latencies.count() {
            0 => "–".to_owned(),
            _ => units::time(target.latencies.max()),
        };
        let _ = writeln!(
            body,
            "<td>{max}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            units::grouped(target.latencies.count()),
            target.rate().map_or("–".to_owned(), units::rate),
            units::grouped(target.failures.total()),
        );
    }
    *body += "</tbody></table></div>\n";
}

/// What measured: its processors and kernel.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("processor", |(_, model)| model);
    format!(
        "{cores} × {model}, Linux {}",
        read("/proc/sys/kernel/osrelease").trim()
    )
}
