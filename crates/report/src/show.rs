use std::fmt::Write as _;
use std::time::Duration;

use crate::status::{Gauges, Health, Link, Nameserver, ParentKind, Port, Status, Totals};
use crate::style::Style;
use crate::text::{Lines, aligned, count, size, span};

/// Columns that labels take.
const LABELS: usize = 11;

impl Status {
    /// The status as text for people, line ends included.
    #[must_use]
    pub fn show(&self, style: Style) -> String {
        let Gauges { uptime_seconds, .. } = self.gauges;
        let mut lines = Lines::new(0, LABELS);
        let _ = writeln!(
            lines.text,
            "{} process {}, serving for {}\n",
            style.bold(format_args!("proxify {}", self.version)),
            self.pid,
            span(Duration::from_secs(uptime_seconds).max(Duration::from_secs(1))),
        );
        lines.push("parent", self.parent(style));
        self.nameservers(&mut lines, style);
        if self.routes.saturating_add(self.pins) > 0 {
            lines.push("rules", self.rules());
        }
        lines.push("cache", self.cache());
        lines.push("upstream", self.upstream(style));
        lines.push("answers", self.answers());
        lines.push("failures", self.failures(style));
        lines.push("TCP out", self.tcp_out());
        self.tcp_in(&mut lines, style);
        lines.text
    }

    fn parent(&self, style: Style) -> String {
        let link = match self.parent.link {
            Link::Up => style.good("the link is up"),
            Link::Down => style.bad("the link is down"),
            Link::Connecting => style.poor("no link yet"),
        };
        let kind = match self.parent.kind {
            ParentKind::Relay => ", proxify-relay".to_owned(),
            ParentKind::Old => style.poor(", an old proxy that knows no DNS: it goes over TCP"),
            ParentKind::None => String::new(),
        };
        format!("{}: {link}{kind}", self.parent.address)
    }

    fn nameservers(&self, lines: &mut Lines, style: Style) {
        if self.nameservers.is_empty() {
            lines.push("nameservers", style.bad("none is known yet"));
        }
        let row = |nameserver: &Nameserver| {
            let route = match &*nameserver.route {
                "." => String::new(),
                route => format!("for {route}"),
            };
            [
                nameserver.address.clone(),
                health(nameserver).to_owned(),
                nameserver.source.clone(),
                route,
            ]
        };
        let rows: Vec<_> = self.nameservers.iter().map(row).collect();
        let mut label = "nameservers";
        for (line, nameserver) in aligned(&rows).into_iter().zip(&self.nameservers) {
            let word = health(nameserver);
            let shown = match nameserver.health {
                Health::Answers => style.good(word),
                Health::Resting => style.bad(word),
                Health::Unknown => word.to_owned(),
            };
            lines.push(label, line.replacen(word, &shown, 1));
            label = "";
        }
    }

    fn rules(&self) -> String {
        let routes = count(self.routes, "route", "routes");
        let pins = count(self.pins, "pin", "pins");
        format!("{routes}, {pins}")
    }

    fn cache(&self) -> String {
        let Gauges {
            cache_entries,
            cache_bytes,
            cache_limit_bytes,
            ..
        } = self.gauges;
        let hits = match self.hit_ratio() {
            Some(ratio) => format!(", {:.1} % hits", 100.0 * ratio),
            None => String::new(),
        };
        format!(
            "{}, {} of {}{hits}",
            count(cache_entries, "entry", "entries"),
            size(cache_bytes),
            size(cache_limit_bytes),
        )
    }

    fn upstream(&self, style: Style) -> String {
        let Gauges {
            upstream_packets_per_second: now,
            upstream_quota_packets_per_second: quota,
            upstream_queued_lookups: queued,
            lookups,
            ..
        } = self.gauges;
        let of = match quota {
            0 => ", no limit".to_owned(),
            quota => format!(" of {quota}"),
        };
        let mut text = format!(
            "{now} packets/s{of}, {} under way",
            count(lookups, "lookup", "lookups")
        );
        if queued > 0 {
            text.push_str(", ");
            text.push_str(&style.poor(format_args!("{queued} wait for the quota")));
        }
        text
    }

    fn answers(&self) -> String {
        let Totals {
            queries_total,
            hits_total,
            stale_total,
            local_total,
            upstream_queries_total,
            ..
        } = self.totals;
        format!(
            "{}: {hits_total} from the cache, {stale_total} stale, {local_total} by itself; {} \
             upstream",
            count(queries_total, "query", "queries"),
            count(upstream_queries_total, "question", "questions"),
        )
    }

    fn failures(&self, style: Style) -> String {
        let Totals {
            servfail_total,
            over_quota_total,
            overload_total,
            upstream_failed_attempts_total,
            upstream_blocked_total,
            ..
        } = self.totals;
        if servfail_total == 0 && upstream_failed_attempts_total == 0 {
            return "none".to_owned();
        }
        let servfail = format!("{servfail_total} SERVFAIL");
        let servfail = match servfail_total {
            0 => servfail,
            _ => style.poor(servfail),
        };
        let blocked = match upstream_blocked_total {
            0 => String::new(),
            blocked => style.bad(format_args!(", {blocked} of them out of a pin")),
        };
        format!(
            "{servfail}, {over_quota_total} of them over the quota, {overload_total} for too many \
             at once; {} upstream{blocked}",
            count(
                upstream_failed_attempts_total,
                "failed attempt",
                "failed attempts"
            ),
        )
    }

    fn tcp_out(&self) -> String {
        let Some(way) = &self.egress else {
            return "not carried".to_owned();
        };
        format!(
            "by {way}: {} open, {} so far, {} failed",
            self.gauges.egress_connections,
            self.totals.egress_connections_total,
            self.totals.egress_failures_total,
        )
    }

    fn tcp_in(&self, lines: &mut Lines, style: Style) {
        if self.ports.is_empty() {
            return lines.push("TCP in", "no port is published");
        }
        lines.push(
            "TCP in",
            format!(
                "{} open, {} so far",
                self.gauges.publish_connections, self.totals.publish_connections_total
            ),
        );
        let row = |port: &Port| {
            [
                format!("port {}", port.parent),
                format!("to {}", port.program),
            ]
        };
        let rows: Vec<_> = self.ports.iter().map(row).collect();
        for (line, port) in aligned(&rows).into_iter().zip(&self.ports) {
            let line = match port.published {
                true => line,
                false => format!("{line}  {}", style.bad("not published: the log says why")),
            };
            lines.push("", line);
        }
    }
}

/// How a nameserver has behaved, in a word.
/// How a nameserver has behaved, in words.
#[must_use]
pub fn health(nameserver: &Nameserver) -> &'static str {
    match (nameserver.health, nameserver.connected) {
        (Health::Answers, _) => "answers",
        (Health::Resting, _) => "does not answer",
        (Health::Unknown, true) => "not asked yet",
        (Health::Unknown, false) => "not connected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Parent;

    fn status() -> Status {
        let nameserver = |address: &str, health, route: &str, source: &str| Nameserver {
            address: address.to_owned(),
            route: route.to_owned(),
            source: source.to_owned(),
            health,
            connected: true,
        };
        Status {
            version: "0.1.0".to_owned(),
            pid: 17,
            parent: Parent {
                address: "vsock:3:8888".to_owned(),
                kind: ParentKind::Relay,
                link: Link::Up,
            },
            nameservers: vec![
                nameserver(
                    "10.0.0.2:53",
                    Health::Answers,
                    ".",
                    "the parent's resolv.conf",
                ),
                nameserver("10.8.0.53:53", Health::Resting, "corp.example", "--route"),
            ],
            routes: 1,
            pins: 2,
            egress: Some("detour".to_owned()),
            ports: vec![Port {
                parent: "0.0.0.0:8443".to_owned(),
                program: 443,
                published: false,
            }],
            totals: Totals {
                queries_total: 200,
                hits_total: 150,
                servfail_total: 3,
                over_quota_total: 1,
                upstream_failed_attempts_total: 4,
                upstream_blocked_total: 2,
                ..Totals::default()
            },
            gauges: Gauges {
                uptime_seconds: 125,
                cache_entries: 1,
                cache_bytes: 300,
                cache_limit_bytes: 16 << 20,
                upstream_packets_per_second: 12,
                upstream_quota_packets_per_second: 900,
                ..Gauges::default()
            },
            ..Status::default()
        }
    }

    #[test]
    fn people_see_what_matters_in_few_lines() {
        let text = status().show(Style::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "proxify 0.1.0 process 17, serving for 2 min 5 s",
                "",
                "parent       vsock:3:8888: the link is up, proxify-relay",
                "nameservers  10.0.0.2:53   answers          the parent's resolv.conf",
                "             10.8.0.53:53  does not answer  --route                   for corp.example",
                "rules        1 route, 2 pins",
                "cache        1 entry, 300 bytes of 16 MiB, 75.0 % hits",
                "upstream     12 packets/s of 900, 0 lookups under way",
                "answers      200 queries: 150 from the cache, 0 stale, 0 by itself; 0 questions upstream",
                "failures     3 SERVFAIL, 1 of them over the quota, 0 for too many at once; 4 failed attempts upstream, 2 of them out of a pin",
                "TCP out      by detour: 0 open, 0 so far, 0 failed",
                "TCP in       0 open, 0 so far",
                "             port 0.0.0.0:8443  to 443  not published: the log says why",
            ]
        );
    }

    #[test]
    fn one_that_has_just_begun_says_what_it_lacks() {
        let text = Status::default().show(Style::default());
        for said in [
            "no link yet",
            "none is known yet",
            "failures     none",
            "not carried",
            "no port is",
        ] {
            assert!(text.contains(said), "{said}\n{text}");
        }
        assert!(!text.contains("hits"), "{text}");
    }

    #[test]
    fn colours_change_no_letter() {
        let coloured = status().show(Style::new(true, None));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, behind)) = rest.split_once('\x1b') {
            plain.push_str(before);
            rest = behind.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_ne!(plain, coloured);
        assert_eq!(plain, status().show(Style::default()));
    }
}
