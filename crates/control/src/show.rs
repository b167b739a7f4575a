use std::fmt::Write as _;
use std::time::Duration;

use crate::explain::{
    Answer, Ede, Expansion, FromCache, Now, Outcome, Record, Report, Tried, Verdict, reason,
};
use crate::protocol::{Held, LastFailure, Left};
use report::text::{Lines, aligned, millis, span};
use report::{Nameserver, Style, health};

/// The Extended DNS Error of an answer that leads out of a pin (RFC 8914 section 4.16).
const BLOCKED: u16 = 15;

/// Columns that labels take.
const LABELS: usize = 8;

impl Report {
    /// The explanation as text for people, line ends included.
    #[must_use]
    pub fn show(&self, style: Style) -> String {
        let mut lines = Lines::new(2, LABELS);
        let _ = writeln!(lines.text, "{}", self.headline(style));
        if self.is_outdated {
            let name = self.tried.last().map_or("", |tried| &tried.name);
            let advice = format!(
                "That is the cache's word: upstream says otherwise now. `proxify cache flush {name}`"
            );
            let _ = writeln!(lines.text, "{}", style.poor(advice));
        }
        lines.text.push('\n');
        if let Some(expansion) = &self.expansion {
            lines.push("search", expansion.show());
            lines.push("hosts", self.hosts());
        }
        let mut last: Option<&Tried> = None;
        for tried in &self.tried {
            let is_new = last.is_none_or(|last| last.name != tried.name);
            let is_renamed = tried.name != self.name.trim_end_matches('.');
            if is_new && (last.is_some() || is_renamed) {
                let _ = writeln!(lines.text, "\n{}", style.bold(&tried.name));
            }
            if is_new {
                tried.who(&mut lines, style);
            }
            let _ = writeln!(lines.text, "\n  {}", style.bold(&tried.rtype));
            tried.show(&mut lines, style);
            last = Some(tried);
        }
        lines.text
    }

    fn headline(&self, style: Style) -> String {
        let name = style.bold(&self.name);
        let list = self.because.join(", ");
        match self.verdict {
            Verdict::Hosts => format!("{name} {} {list}", style.good("is in /etc/hosts:")),
            Verdict::Resolves => format!("{name} {} {list}", style.good("resolves:")),
            Verdict::Cached => {
                let why = style.poor("resolves from the cache alone, upstream does not answer:");
                format!("{name} {why} {list}")
            }
            Verdict::NoData => {
                let types: Vec<&str> = self.tried.iter().map(|tried| &*tried.rtype).collect();
                let mut types = types;
                types.dedup();
                let types = types.get(..2).unwrap_or(&types).join(" or ");
                format!(
                    "{name} {}",
                    style.bad(format_args!("exists, without {types}"))
                )
            }
            Verdict::NxDomain => format!("{name} {}", style.bad("does not exist")),
            Verdict::Fails => format!("{name} {} {list}", style.bad("does not resolve:")),
        }
    }

    fn hosts(&self) -> String {
        if self.hosts.is_empty() {
            return "not in /etc/hosts".to_owned();
        }
        let found: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        format!("/etc/hosts has {}: programs ask nobody", found.join(", "))
    }
}

impl Expansion {
    fn show(&self) -> String {
        let [first, others @ ..] = &*self.names else {
            return String::new();
        };
        if others.is_empty() {
            return match self.search.is_empty() {
                true => "as it is: there is no search list".to_owned(),
                false => "as it is: its final dot says so".to_owned(),
            };
        }
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        format!(
            "{first}, then {} (ndots is {})",
            others.join(", "),
            self.ndots
        )
    }
}

impl Tried {
    /// Who answers for this name.
    fn who(&self, lines: &mut Lines, style: Style) {
        if let Some(why) = &self.local {
            return lines.push(
                "route",
                format!("none: proxify answers it by itself, {why}"),
            );
        }
        let route = match &*self.route {
            "." => "no --route takes it".to_owned(),
            suffix => format!("--route {suffix}"),
        };
        lines.push("route", route);
        if let Some(held) = &self.held {
            lines.push("pin", self.pin(held, style));
        }
        if self.nameservers.is_empty() {
            lines.push("asked", style.bad("nobody: no nameserver is known yet"));
        }
        let row = |nameserver: &Nameserver| {
            [
                nameserver.address.clone(),
                health(nameserver).to_owned(),
                nameserver.source.clone(),
            ]
        };
        let rows: Vec<_> = self.nameservers.iter().map(row).collect();
        for (index, line) in aligned(&rows).into_iter().enumerate() {
            lines.push(if index == 0 { "asked" } else { "" }, line);
        }
    }

    /// Who says where its addresses must lie, and whether that is why it has none.
    fn pin(&self, held: &Held, style: Style) -> String {
        let is_blocked =
            |answer: &Answer| answer.ede.as_ref().is_some_and(|ede| ede.code == BLOCKED);
        let now = self.now.as_ref().map(|now| &now.answer);
        let cached = self.cached.as_ref().map(|cached| &cached.answer);
        let decides = match [now, cached].into_iter().flatten().any(is_blocked) {
            true => style.bad("; it refuses what upstream says"),
            false => String::new(),
        };
        match (&*held.by, &held.exempt_from) {
            ([], Some(suffix)) => {
                format!(
                    "--pin {suffix} exempts it: gateway endpoints keep public addresses{decides}"
                )
            }
            ([], None) => format!("no --pin holds it{decides}"),
            (pins, _) => format!("--pin {}{decides}", pins.join(" and ")),
        }
    }

    fn show(&self, lines: &mut Lines, style: Style) {
        match &self.cached {
            Some(cached) => {
                lines.push("cache", cached.show(style));
                self.list(lines, &cached.answer);
            }
            None if self.local.is_none() => lines.push("cache", "nothing"),
            None => {}
        }
        if let Some(under_way) = &self.under_way {
            let whom = match (&under_way.asked, under_way.is_queued) {
                (_, true) => "waits for the quota".to_owned(),
                (Some(asked), false) => format!("{asked} is being asked"),
                (None, false) => "nobody can be asked".to_owned(),
            };
            let since = millis(under_way.since_ms);
            let clients = under_way.waiting_clients;
            lines.push("meanwhile", format!("{whom}, for {since}; {clients} wait"));
        }
        if let Some(LastFailure { ago_ms, ede, text }) = &self.last_failure {
            let ago = millis(*ago_ms);
            let text = Ede::new(*ede, text).text;
            lines.push("failed", format!("{ago} ago: {text} (EDE {ede})"));
        }
        if let Some(Now { took_us, answer }) = &self.now {
            lines.push("now", answer.show(*took_us, self, style));
            self.list(lines, answer);
        }
    }

    fn list(&self, lines: &mut Lines, answer: &Answer) {
        if let Some(why) = &answer.unreadable {
            lines.push("", format!("its records cannot be shown: {why}"));
        }
        // The owner is no news where it is the name itself.
        let is_own = |name: &String| name.eq_ignore_ascii_case(&self.name);
        let are_own = answer.records.iter().all(|record| is_own(&record.name));
        let owner = |record: &Record| match are_own {
            true => String::new(),
            false => format!("  {}", record.name),
        };
        let row = |record: &Record| {
            let Record { rtype, data, .. } = record.clone();
            [owner(record), record.ttl.to_string(), rtype, data]
        };
        let rows: Vec<_> = answer.records.iter().map(row).collect();
        for line in aligned(&rows) {
            // Without owners their column is the two blanks behind it.
            lines.push("", line);
        }
    }
}

impl FromCache {
    fn show(&self, style: Style) -> String {
        let age = millis(self.age_ms);
        let what = match self.answer.outcome {
            Outcome::Records => "",
            Outcome::NoData => "no such type, ",
            Outcome::NxDomain => "no such name, ",
            Outcome::Failure => "",
        };
        match self.left {
            Left::Fresh(left) => {
                format!(
                    "{what}{}, {age} old",
                    style.good(format_args!("fresh for {}", millis(left)))
                )
            }
            Left::Stale(left) => {
                let stale = style.poor("stale");
                let left = millis(left);
                format!("{what}{stale}, {age} old; given for {left} more while upstream is silent")
            }
            Left::Superseded(_) => {
                let stale = style.poor("from other nameservers");
                format!("{what}{stale} than are asked now, {age} old: as good as stale")
            }
            Left::Failure(left) => {
                let failure = style.bad(reason(&self.answer));
                format!("{failure}, {age} old; nobody is asked for {}", millis(left))
            }
        }
    }
}

impl Answer {
    fn show(&self, took_us: u64, tried: &Tried, style: Style) -> String {
        let took = span(Duration::from_micros(took_us));
        if self.outcome == Outcome::Failure {
            return format!("{} after {took}", style.bad(reason(self)));
        }
        let who = match self.said() {
            Some(said) => format!("{said} in {took}"),
            None if tried.local.is_some() => "proxify answers".to_owned(),
            None => format!("answered in {took}"),
        };
        match self.outcome {
            Outcome::NoData => format!("{who}: {}", style.poor("no such type")),
            Outcome::NxDomain => format!("{who}: {}", style.bad("no such name")),
            Outcome::Records | Outcome::Failure => who,
        }
    }
}
