//! The state of a relay as text for people.

use std::fmt::Write as _;
use std::time::Duration;

use report::text::{Lines, count, span};
use report::{Level, Style, printable_line};

use crate::operators::{SILENT, State, Told};

/// Columns that labels take, as in an enclave's status.
const LABELS: usize = 11;

/// Lines of an enclave's log beside the others'.
const FEW: usize = 5;

impl State {
    /// The relay, then each enclave; line ends included.
    pub(super) fn show(&self, style: Style) -> String {
        let mut lines = Lines::new(0, LABELS);
        let _ = writeln!(
            lines.text,
            "{} process {}, serving for {}\n",
            style.bold(format_args!("proxify-relay {}", self.version)),
            self.pid,
            seconds(self.uptime_seconds),
        );
        lines.push("listen", &self.listen);
        lines.push(
            "enclaves",
            match self.enclaves.len() as u64 + self.more_enclaves {
                0 => style.poor("none is connected"),
                all => {
                    let report = |told: &&Told| told.reports_seconds.is_some();
                    let reporting = self.enclaves.iter().filter(report).count();
                    format!("{all}, of which {reporting} report")
                }
            },
        );
        lines.push("connections", self.connections.to_string());
        let of = match self.upstream_quota_packets_per_second {
            0 => ", no limit".to_owned(),
            quota => format!(" of {quota}"),
        };
        let now = self.upstream_packets_per_second;
        lines.push("upstream", format!("{now} packets/s{of}"));
        for told in &self.enclaves {
            lines.text.push('\n');
            lines.text.push_str(&told.show(style, FEW));
        }
        if self.more_enclaves > 0 {
            let _ = writeln!(lines.text, "\nand {} more", self.more_enclaves);
        }
        lines.text
    }
}

impl Told {
    /// One enclave with so many lines of its log; line ends included.
    pub(super) fn show(&self, style: Style, most: usize) -> String {
        let mut lines = Lines::new(2, LABELS);
        let connections = count(self.connections, "connection", "connections");
        let how = match (self.reports_seconds, self.ended_seconds) {
            (Some(since), _) => format!("reports for {}, {connections}", seconds(since)),
            (None, Some(ended)) => {
                let ended = format!("ended {} ago", seconds(ended));
                format!("{}, {connections}", style.bad(ended))
            }
            (None, None) => {
                let silent = format!("does not report ({SILENT})");
                format!("{}, {connections}", style.poor(silent))
            }
        };
        let _ = writeln!(lines.text, "{}  {how}", style.bold(&self.enclave));
        if let Some(status) = &self.status {
            for line in status.show(style).lines().filter(|line| !line.is_empty()) {
                let _ = writeln!(lines.text, "  {line}");
            }
        }
        let from = self.lines.len().saturating_sub(most);
        let mut label = "its log";
        for told in self.lines.iter().skip(from) {
            let text = printable_line(&told.line.text);
            let text = match told.line.level {
                Level::Error => style.bad(text),
                Level::Warn => style.poor(text),
            };
            let more = match told.line.left_out {
                0 => String::new(),
                left_out => format!(" (and {left_out} left out before)"),
            };
            let age = seconds(told.age_seconds);
            lines.push(label, format!("{age} ago: {text}{more}"));
            label = "";
        }
        lines.text
    }
}

fn seconds(seconds: u64) -> String {
    span(Duration::from_secs(seconds.max(1)))
}

#[cfg(test)]
mod tests {
    use report::{Line, Status};

    use super::*;
    use crate::operators::ToldLine;

    fn state() -> State {
        let line = |text: &str, left_out| ToldLine {
            age_seconds: 61,
            line: Line {
                level: Level::Warn,
                text: text.to_owned(),
                left_out,
            },
        };
        State {
            version: "0.1.0".to_owned(),
            pid: 812,
            uptime_seconds: 7500,
            listen: "vsock:any:8888".to_owned(),
            connections: 7,
            upstream_packets_per_second: 12,
            upstream_quota_packets_per_second: 900,
            enclaves: vec![
                Told {
                    enclave: "vsock:16".to_owned(),
                    connections: 4,
                    reports_seconds: Some(7200),
                    status: Some(Status::default()),
                    lines: vec![
                        line("the first", 0),
                        line("a\u{1b}[2Jb\nc", 3),
                        line("3", 0),
                        line("4", 0),
                        line("5", 0),
                        line("6", 0),
                    ],
                    ..Told::default()
                },
                Told {
                    enclave: "vsock:17".to_owned(),
                    connections: 3,
                    ..Told::default()
                },
                Told {
                    enclave: "vsock:18".to_owned(),
                    ended_seconds: Some(12),
                    ..Told::default()
                },
            ],
            more_enclaves: 0,
        }
    }

    #[test]
    fn people_see_the_relay_and_each_enclave() {
        let text = state().show(Style::default());
        let lines: Vec<&str> = text.lines().collect();
        let begin = [
            "proxify-relay 0.1.0 process 812, serving for 2 h 5 min",
            "",
            "listen       vsock:any:8888",
            "enclaves     3, of which 1 report",
            "connections  7",
            "upstream     12 packets/s of 900",
            "",
            "vsock:16  reports for 2 h, 4 connections",
            "  proxify  process 0, serving for 1 s",
        ];
        assert_eq!(lines[..begin.len()], begin, "{text}");
        let end = [
            "  its log      1 min 1 s ago: a\\u{1b}[2Jb\\u{a}c (and 3 left out before)",
            "               1 min 1 s ago: 3",
            "               1 min 1 s ago: 4",
            "               1 min 1 s ago: 5",
            "               1 min 1 s ago: 6",
            "",
            "vsock:17  does not report (an old version, or --report none), 3 connections",
            "",
            "vsock:18  ended 12 s ago, 0 connections",
        ];
        assert_eq!(lines[lines.len() - end.len()..], end, "{text}");
        let one = state().enclaves[0].show(Style::default(), usize::MAX);
        assert!(one.contains("the first"), "{one}");
    }
}
