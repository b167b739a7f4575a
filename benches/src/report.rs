//! The table for people, for machines and as a picture.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::table::{Limit, Row};

mod markdown;
mod plot;

/// Where and how the figures came about.
pub(crate) struct Machine {
    lines: Vec<(&'static str, String)>,
}

impl Machine {
    /// This machine; the load of before the run is `load`.
    pub(crate) fn here(load: String, server_core: usize) -> Self {
        let line = |command: &str, arguments: &[&str]| {
            let output = Command::new(command).args(arguments).output();
            let text = output.map(|output| output.stdout).unwrap_or_default();
            String::from_utf8_lossy(&text).trim().to_owned()
        };
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .and_then(|rest| rest.split_once(": "))
            .map_or("unknown", |(_, model)| model);
        let cores = cpu
            .lines()
            .filter(|line| line.starts_with("processor"))
            .count();
        let format = "${Package} ${Version}\n";
        let packages = [
            "dnsdist",
            "unbound",
            "pdns-recursor",
            "bind9",
            "knot-resolver",
            "dnsmasq",
        ];
        let mut query = vec!["-W", "-f", format];
        query.extend(packages);
        let arguments: Vec<String> = std::env::args().collect();
        Self {
            lines: vec![
                ("date", line("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
                ("machine", format!("{cores} × {model}")),
                ("kernel", line("uname", &["-sr"])),
                ("servers' core", server_core.to_string()),
                ("load before (1, 5, 15 min)", load),
                ("load after", load_average()),
                ("peers", line("dpkg-query", &query).replace('\n', ", ")),
                (
                    "command",
                    format!("peers {}", arguments.get(1..).unwrap_or_default().join(" ")),
                ),
            ],
        }
    }
}

/// The three load averages (proc_loadavg(5)).
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Writes `peers.md`, `peers.json` and `peers.svg` into `dir`.
pub(crate) fn write(dir: &Path, machine: &Machine, rows: &[Row]) -> Result<(), Failure> {
    let put = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text)
            .map_err(|source| Failure::io(format!("cannot write {}", path.display()), source))
    };
    fs::create_dir_all(dir)
        .map_err(|source| Failure::io(format!("cannot make {}", dir.display()), source))?;
    put("peers.md", markdown::render(machine, rows))?;
    put("peers.json", format!("{:#}\n", json(machine, rows)))?;
    put("peers.svg", plot::render(rows))
}

/// One line for a terminal.
pub(crate) fn line(row: &Row) -> String {
    let values = row.values.iter();
    let values: Vec<String> = values
        .map(|(server, value)| format!("{server} {}", figure(*value)))
        .collect();
    let goals = row.goals.iter().map(|goal| {
        let met = if goal.is_met() { "met" } else { "MISSED" };
        let limit = limit(goal.limit);
        let (what, got) = (&goal.what, figure(goal.got));
        format!("\n    {met}: {what} {got}{}, goal {limit}", unit(goal.unit))
    });
    let goals: String = goals.collect();
    format!("{}, {}: {}{goals}", row.what, row.unit, values.join(", "))
}

fn json(machine: &Machine, rows: &[Row]) -> Value {
    let machine: serde_json::Map<String, Value> = machine
        .lines
        .iter()
        .map(|(what, text)| ((*what).to_owned(), json!(text)))
        .collect();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let values: serde_json::Map<String, Value> = row
                .values
                .iter()
                .map(|(server, value)| ((*server).to_owned(), json!(value)))
                .collect();
            let goals: Vec<Value> = row
                .goals
                .iter()
                .map(|goal| {
                    json!({
                        "what": goal.what,
                        "got": goal.got,
                        "goal": limit(goal.limit),
                        "met": goal.is_met(),
                    })
                })
                .collect();
            json!({"what": row.what, "unit": row.unit, "values": values, "goals": goals})
        })
        .collect();
    json!({"machine": machine, "rows": rows})
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::AtMost(most) => format!("≤ {most}"),
        Limit::AtLeast(least) => format!("≥ {least}"),
    }
}

fn unit(unit: &str) -> String {
    if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    }
}

/// Three digits that matter; all of a large number's whole part.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0..1.0 => format!("{value:.3}"),
        1.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
