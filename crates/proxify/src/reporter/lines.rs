//! proxify's own warnings and errors, for the parent: opt-in, few, and without any name.
//!
//! No name that anybody asked for may leave the enclave here, whoever writes a line and whatever it says:
//!
//! - events are taken of our own crates alone, from `warn` on;
//! - of their fields, numbers and those of [`TEXTS`] alone; a field `name` is none of them;
//! - of text, [`without_names`] leaves out each word with a dot in it that is no address and none of our
//!   own files.
//!
//! What is left are sentences of ours, which `tests` reads for anything that stands for a name.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use logging::Also;
use report::{Allowance, Level, Line, MAX_LINE};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;

/// Lines that wait for the link: beyond it the oldest are left out.
const MOST: usize = 32;

/// Lines at once, and one more after each [`EVERY`].
const AT_ONCE: u32 = 10;

/// Ten lines a minute.
const EVERY: Duration = Duration::from_secs(6);

/// The crates whose events are taken.
const OURS: [&str; 9] = [
    "control",
    "egress",
    "link",
    "operator",
    "privileges",
    "proxify",
    "publish",
    "stub",
    "vpc",
];

/// Fields of text that are taken: errors and addresses.
const TEXTS: [&str; 13] = [
    "client",
    "device",
    "error",
    "failure",
    "lost",
    "message",
    "nameserver",
    "outside",
    "parent",
    "reason",
    "signal",
    "to",
    "why",
];

/// What may be said with a dot in it.
const FILES: [&str; 3] = [
    "/etc/resolv.conf",
    "/etc/resolv_override.conf",
    "resolv.conf",
];

static LINES: Lines = Lines::new();

/// Takes the lines of this process; to be part of the subscriber where they are to be told.
pub(crate) fn layer() -> Also {
    let ours = OURS.map(|target| (target, LevelFilter::WARN));
    (&LINES)
        .with_filter(Targets::new().with_targets(ours))
        .boxed()
}

/// The next line, when there is one.
pub(super) async fn next() -> Line {
    LINES.next().await
}

/// Lines on their way to the parent.
struct Lines {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

struct Waiting {
    lines: VecDeque<Line>,
    /// Lines left out since the last that waits.
    left_out: u64,
    allowance: Option<Allowance>,
}

impl Lines {
    const fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                lines: VecDeque::new(),
                left_out: 0,
                allowance: None,
            }),
            changed: Notify::const_new(),
        }
    }

    async fn next(&self) -> Line {
        loop {
            let changed = self.changed.notified();
            if let Some(line) = self.waiting().lines.pop_front() {
                return line;
            }
            changed.await;
        }
    }

    fn put(&self, level: Level, text: String, now: Instant) {
        let mut waiting = self.waiting();
        let allowance = waiting
            .allowance
            .get_or_insert_with(|| Allowance::new(AT_ONCE, EVERY, now));
        if !allowance.take(now) {
            waiting.left_out += 1;
            return;
        }
        if waiting.lines.len() >= MOST {
            let oldest = waiting.lines.pop_front().map_or(0, |line| line.left_out);
            if let Some(next) = waiting.lines.front_mut() {
                next.left_out += oldest + 1;
            }
        }
        let left_out = std::mem::take(&mut waiting.left_out);
        waiting.lines.push_back(Line {
            level,
            text,
            left_out,
        });
        drop(waiting);
        self.changed.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for &'static Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            _ => Level::Warn,
        };
        self.put(level, said.text(), Instant::now());
    }
}

/// What of an event may be told.
#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: String,
}

impl Said {
    fn text(mut self) -> String {
        self.message.push_str(&self.fields);
        let end = self.message.floor_char_boundary(MAX_LINE);
        self.message.truncate(end);
        self.message
    }

    fn add(&mut self, field: &Field, value: impl fmt::Display) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if TEXTS.contains(&field.name()) {
            self.add(field, without_names(&format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if TEXTS.contains(&field.name()) {
            self.add(field, without_names(value));
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        // None were, as a rule.
        if (field.name(), value) != ("left_out", 0) {
            self.add(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}

/// The text with a `…` in the place of each word that might be a name.
fn without_names(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|character: char| !character.is_whitespace()) {
        let (blank, behind) = rest.split_at(start);
        let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
        let (word, behind) = behind.split_at(end);
        out.push_str(blank);
        out.push_str(if may_be_name(word) { "…" } else { word });
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Whether a dot stands within the word, unless it is an address, a number or one of our files.
fn may_be_name(word: &str) -> bool {
    let word = word.trim_matches(|character: char| {
        matches!(
            character,
            '(' | ')' | ',' | ';' | ':' | '"' | '\'' | '`' | '.' | '?' | '!'
        )
    });
    let bare = word.strip_prefix("tcp:").unwrap_or(word);
    let (address, prefix) = bare.split_once('/').unwrap_or((bare, "0"));
    let is_address = bare.parse::<SocketAddr>().is_ok()
        || address.parse::<IpAddr>().is_ok() && prefix.parse::<u8>().is_ok();
    let is_number = word
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    word.contains('.') && !is_address && !is_number && !FILES.contains(&word)
}

#[cfg(test)]
mod tests;
