//! The report as text for people, and as JSON for machines.

use std::fmt::{self, Write as _};
use std::time::Duration;

use hickory_proto::rr::Name;
use serde_json::{Value, json};

use crate::{Checked, Found, Nature, Report, Verdict};

/// How text is made to stand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// With ANSI colours, for a terminal.
    Coloured,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

impl Verdict {
    fn colour(self) -> &'static str {
        match self {
            Self::Private => GREEN,
            Self::Gateway | Self::Nothing => YELLOW,
            Self::Public | Self::Loopback | Self::Failed => RED,
        }
    }

    /// For machines.
    fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Gateway => "gateway",
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Nothing => "no address",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Private => "private",
            Self::Gateway => "gateway: the route table decides",
            Self::Public => "PUBLIC",
            Self::Loopback => "LOOPBACK",
            Self::Nothing => "no address",
            Self::Failed => "FAILED",
        })
    }
}

impl Report {
    /// One block a name, one line an address, and a line that counts.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        let columns = Columns::of(self);
        for checked in &self.names {
            checked.write(&columns, style, &mut text);
        }
        let counts: Vec<String> = [
            (Verdict::Private, "private"),
            (Verdict::Gateway, "by a gateway"),
            (Verdict::Public, "public"),
            (Verdict::Loopback, "loopback"),
            (Verdict::Nothing, "without an address"),
            (Verdict::Failed, "failed"),
        ]
        .into_iter()
        .map(|(verdict, words)| (self.count(verdict), verdict, words))
        .filter(|(count, ..)| *count > 0)
        .map(|(count, verdict, words)| {
            style.paint(&[verdict.colour()], &format!("{count} {words}"))
        })
        .collect();
        let names = match self.names.len() {
            1 => "1 name".to_owned(),
            names => format!("{names} names"),
        };
        let blocks: Vec<String> = self.blocks.iter().map(ToString::to_string).collect();
        let place = match blocks.is_empty() {
            true => "blocks unknown (--vpc-cidr)".to_owned(),
            false => blocks.join(", "),
        };
        let asked = style.paint(&[DIM], &format!("asked {}; VPC {place}", self.server));
        let _ = writeln!(text, "{names}: {}\n{asked}", counts.join(", "));
        text
    }

    /// The same for machines; the keys are stable.
    #[must_use]
    pub fn json(&self) -> Value {
        let blocks: Vec<String> = self.blocks.iter().map(ToString::to_string).collect();
        json!({
            "server": self.server.to_string(),
            "vpc": blocks,
            "names": self.names.iter().map(Checked::json).collect::<Vec<_>>(),
        })
    }
}

impl Checked {
    fn write(&self, columns: &Columns, style: Style, text: &mut String) {
        let verdict = self.verdict();
        let mark = match verdict {
            Verdict::Private => "✓",
            Verdict::Gateway | Verdict::Nothing => "·",
            Verdict::Public | Verdict::Loopback | Verdict::Failed => "✗",
        };
        let _ = writeln!(
            text,
            "{} {}  {}",
            style.paint(&[verdict.colour()], mark),
            style.paint(&[BOLD], &format!("{:<1$}", shown(&self.name), columns.name)),
            style.paint(&[verdict.colour()], &verdict.to_string()),
        );
        for alias in &self.aliases {
            let line = format!("    → {}  {} s", shown(&alias.target), alias.ttl);
            let _ = writeln!(text, "{}", style.paint(&[DIM], &line));
        }
        for found in &self.addresses {
            let _ = writeln!(text, "{}", found.line(columns, style).trim_end());
        }
        if self.more > 0 {
            let _ = writeln!(text, "    and {} more", self.more);
        }
        for failure in &self.failures {
            let _ = writeln!(text, "    {}", style.paint(&[RED], failure));
        }
    }

    fn json(&self) -> Value {
        let aliases: Vec<Value> = self
            .aliases
            .iter()
            .map(|alias| json!({ "target": shown(&alias.target), "ttl": alias.ttl }))
            .collect();
        json!({
            "name": shown(&self.name),
            "verdict": self.verdict().word(),
            "aliases": aliases,
            "addresses": self.addresses.iter().map(Found::json).collect::<Vec<_>>(),
            "more": self.more,
            "failures": self.failures,
        })
    }
}

impl Found {
    fn line(&self, columns: &Columns, style: Style) -> String {
        let colour = match self.nature {
            Nature::Public | Nature::Loopback => RED,
            Nature::Gateway => YELLOW,
            _ => GREEN,
        };
        let ptr = self.ptr.as_ref().map(shown).unwrap_or_default();
        let mut line = format!(
            "    {:<1$}  {2}  {3:>5} s",
            self.address,
            columns.address,
            style.paint(&[colour], &format!("{:<1$}", self.nature, columns.nature)),
            self.ttl,
        );
        let zone = self.zone.as_deref().unwrap_or_default();
        for (text, width, code) in [(zone, columns.zone, "0"), (&ptr, columns.ptr, DIM)] {
            if width > 0 {
                let _ = write!(
                    line,
                    "  {}",
                    style.paint(&[code], &format!("{text:<width$}"))
                );
            }
        }
        match &self.connected {
            Some(Ok(took)) => {
                let opened = format!("443 open in {}", milliseconds(*took));
                let _ = write!(line, "  {}", style.paint(&[GREEN], &opened));
            }
            Some(Err(why)) => {
                let _ = write!(line, "  {}", style.paint(&[RED], &format!("443: {why}")));
            }
            None => {}
        }
        line
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "address": self.address.to_string(),
            "nature": self.nature.to_string(),
            "private": self.nature.is_private(),
            "ttl": self.ttl,
            "zone": self.zone,
            "ptr": self.ptr.as_ref().map(shown),
        });
        if let (Some(connected), Some(map)) = (&self.connected, value.as_object_mut()) {
            let connected = match connected {
                Ok(took) => json!({ "seconds": took.as_secs_f64() }),
                Err(why) => json!({ "error": why }),
            };
            map.insert("connect".to_owned(), connected);
        }
        value
    }
}

/// The widths that all blocks share.
struct Columns {
    name: usize,
    address: usize,
    nature: usize,
    zone: usize,
    ptr: usize,
}

impl Columns {
    fn of(report: &Report) -> Self {
        let found = || report.names.iter().flat_map(|name| &name.addresses);
        let widest = |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or_default();
        Self {
            name: widest(&mut report.names.iter().map(|name| shown(&name.name).len())),
            address: widest(&mut found().map(|found| found.address.to_string().len())),
            nature: widest(&mut found().map(|found| found.nature.to_string().len())),
            zone: widest(&mut found().filter_map(|found| found.zone.as_ref().map(String::len))),
            ptr: widest(
                &mut found().filter_map(|found| found.ptr.as_ref().map(|it| shown(it).len())),
            ),
        }
    }
}

impl Style {
    fn paint(self, codes: &[&str], text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\x1b[{}m{text}\x1b[0m", codes.join(";")),
        }
    }
}

/// A name without the final dot; what is not printable in it is escaped by hickory-proto.
fn shown(name: &Name) -> String {
    let text = name.to_ascii();
    match text.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => text,
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
