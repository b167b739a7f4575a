//! Log lines on standard error: text for people, or one JSON object a line for machines.
//!
//! A write to it may never end: a pipe that nobody reads, a terminal or a journal that stands still.
//! Names and connections must not wait for that, so a thread of its own writes, and what does not fit
//! into half a MiB meanwhile is lost, with a line that counts it. To write without blocking instead
//! is not to be had: under `proxify -- APP` the flag would be APP's as well.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry};

/// Bytes of lines that may wait to be written: some 4,000 lines, or a second of queries as JSON.
const MAX_WAITING: usize = 512 * 1024;

/// How long the last lines may take at the end.
const FLUSH: Duration = Duration::from_secs(1);

/// Rest of the thread that writes while a descriptor that does not block is full.
const FULL: Duration = Duration::from_millis(10);

static LINES: Lines = Lines::new();

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines for people.
    Text,
    /// An object a line, for machines.
    Json,
}

/// What else takes events, by a filter of its own.
pub type Also = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging. To be called when signals are blocked as the thread that writes shall have them; it
/// gives up all privileges. Where a subscriber is set already, as in a test, that one stays.
///
/// # Errors
///
/// No thread to be had.
pub fn start(filter: &Targets, format: Format, also: Option<Also>) -> io::Result<()> {
    LINES.start(io::stderr(), format)?;
    let lines = fmt::layer()
        .with_writer(|| &LINES)
        // A reader of the log that has gone must not end the program: telling of it would panic.
        .log_internal_errors(false);
    let layer = match format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let _ = registry()
        .with(also)
        .with(layer.with_filter(filter.clone()))
        .try_init();
    Ok(())
}

/// Writes why `program` ends, behind what was logged, and waits for all of it as long as that is of use.
pub fn end(program: &str, why: Option<&str>) {
    if let Some(why) = why {
        let format = LINES.lock().format;
        let text = format!("{program}: {why}\n");
        match format {
            Some(Format::Text) => LINES.put(text.into_bytes()),
            Some(Format::Json) => {
                let fields = json!({ "level": "ERROR", "target": program, "message": why });
                LINES.put(object(fields));
            }
            // `eprintln!` would panic where nobody reads.
            None => drop(io::stderr().write_all(text.as_bytes())),
        }
    }
    LINES.flush();
}

/// Lines on their way out.
struct Lines {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

struct Waiting {
    /// Known once the thread runs.
    format: Option<Format>,
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that did not fit since the last that did.
    lost: u64,
    is_writing: bool,
}

impl Lines {
    const fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                format: None,
                lines: VecDeque::new(),
                bytes: 0,
                lost: 0,
                is_writing: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn start(&'static self, out: impl Write + Send + 'static, format: Format) -> io::Result<()> {
        let thread = thread::Builder::new().name("log".to_owned());
        thread.spawn(move || {
            // Lines hold text from outside; a system that refuses is told of by those that serve.
            let _ = privileges::keep(&[]);
            self.write_to(out);
        })?;
        self.lock().format = Some(format);
        Ok(())
    }

    /// Takes a line if there is room. Never waits.
    fn put(&self, line: Vec<u8>) {
        let mut waiting = self.lock();
        if waiting.bytes + line.len() > MAX_WAITING {
            waiting.lost += 1;
            return;
        }
        if let Some(loss) = waiting.loss() {
            waiting.push(loss);
        }
        waiting.push(line);
        drop(waiting);
        self.changed.notify_all();
    }

    /// Writes for ever.
    fn write_to(&self, mut out: impl Write) {
        loop {
            let line = self.next();
            let mut left = line.as_slice();
            while !left.is_empty() {
                match out.write(left) {
                    Ok(written) if written > 0 => left = left.get(written..).unwrap_or_default(),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // APP, whose descriptor it is as well, may have it so.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL),
                    // Where a line cannot be written there is nobody to tell.
                    _ => break,
                }
            }
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        self.changed.notify_all();
        loop {
            let next = waiting.lines.pop_front();
            waiting.bytes -= next.as_ref().map_or(0, Vec::len);
            if let Some(next) = next.or_else(|| waiting.loss()) {
                waiting.is_writing = true;
                return next;
            }
            let changed = self.changed.wait(waiting);
            waiting = changed.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all is written, [`FLUSH`] at most.
    fn flush(&self) {
        let is_left = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), FLUSH, is_left);
        drop(waited);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// The line that counts the lost, if any are.
    fn loss(&mut self) -> Option<Vec<u8>> {
        let lost = match std::mem::take(&mut self.lost) {
            0 => return None,
            lost => lost,
        };
        let why = "log lines were lost: standard error was not read";
        Some(match self.format {
            Some(Format::Json) => object(json!({
                "level": "WARN", "target": "logging", "message": why, "lost": lost
            })),
            _ => format!("{}  WARN logging: {why} lost={lost}\n", now()).into_bytes(),
        })
    }
}

/// A line with the time before what it has.
fn object(mut fields: serde_json::Value) -> Vec<u8> {
    fields["timestamp"] = now().into();
    format!("{fields}\n").into_bytes()
}

/// As it stands before other lines.
fn now() -> String {
    let mut now = String::new();
    // A string takes all.
    let _ = SystemTime.format_time(&mut Writer::new(&mut now));
    now
}

impl Write for &Lines {
    /// An event comes whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::time::Instant;

    use super::*;

    #[test]
    fn lines_that_nobody_reads_hold_nobody_up_and_are_counted() {
        const WRITTEN: usize = 50_000;
        let (reader, writer) = io::pipe().unwrap();
        let lines: &'static Lines = Box::leak(Box::new(Lines::new()));
        lines.start(writer, Format::Text).unwrap();
        // Many times what pipe and queue hold. A write that waited would wait for ever.
        let text = "x".repeat(240);
        for number in 0..WRITTEN {
            let mut lines = lines;
            lines
                .write_all(format!("{number} {text}\n").as_bytes())
                .unwrap();
        }
        let ending = Instant::now();
        lines.flush();
        assert!(ending.elapsed() < 3 * FLUSH, "{:?}", ending.elapsed());

        let mut read = BufReader::new(reader).lines().map(Result::unwrap);
        let lost_of = |line: &str| -> Option<usize> {
            let why = "WARN logging: log lines were lost: standard error was not read lost=";
            line.split_once(why)?.1.parse().ok()
        };
        // Each line, or its place in a count, in order.
        let (mut next, mut lost) = (0, 0);
        while next < WRITTEN {
            let line = read.next().unwrap();
            match lost_of(&line) {
                Some(count) => (next, lost) = (next + count, lost + count),
                None => {
                    assert_eq!(line, format!("{next} {text}"));
                    next += 1;
                }
            }
        }
        assert_eq!(next, WRITTEN);
        assert!(lost > 0);
        lines.put(b"one more\n".to_vec());
        assert_eq!(read.next().unwrap(), "one more");
        lines.flush();
        assert!(lines.lock().lines.is_empty());
    }

    #[test]
    fn machines_read_of_the_loss_too() {
        let waiting = &mut Lines::new().waiting.into_inner().unwrap();
        assert_eq!(waiting.loss(), None);
        waiting.lost = 3;
        waiting.format = Some(Format::Json);
        let line: serde_json::Value = serde_json::from_slice(&waiting.loss().unwrap()).unwrap();
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
        let why = "log lines were lost: standard error was not read";
        for (field, expected) in [("level", "WARN"), ("target", "logging"), ("message", why)] {
            assert_eq!(line[field], expected);
        }
        assert_eq!(line["lost"], 3);
        assert_eq!(waiting.lost, 0);
    }
}
