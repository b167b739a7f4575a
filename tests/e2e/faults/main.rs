//! Faults, counted: while something is broken, programs ask for known names by getaddrinfo and dig, and
//! every answer is checked.
//!
//! `cargo test -p tests --test faults` passes through each fault once, for some seconds. With
//! `-- --lookups N` so many lookups are made at least, fault after fault, and a table is printed. Other
//! words choose the faults whose titles contain them.

mod faults;

use std::env;
use std::fmt;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;

use tests::{Ran, Sandbox, file, known, sandbox};

use crate::faults::{FAULTS, Fault};

/// Lookups a fault of the short form, and each thread's rest between two, milliseconds.
const SHORT: u64 = 1000;
const SHORT_REST: u64 = 10;

/// Faults at a time in the short form: they mostly wait. In the long one they take the processor that they
/// can get, and waits for that are not to be counted.
const AT_ONCE: usize = 3;

/// No lookup may take as long as a client waits, milliseconds: nor may one by getaddrinfo of a new name,
/// which asks again after SERVFAIL.
const LONGEST: u64 = 5000;

/// What a script begins with. `start` starts those who ask, `goes_on` until they have asked enough and
/// for as long as the fault shall last at least, `finish` ends them and prints the counts once a name
/// that was never asked for resolves.
const TOOLS: &str = "
D=/run/sandbox/faults
mkdir $D
seconds() { cut -d. -f1 /proc/uptime; }
start() {
    $PROBE ask $D $LOOKUPS $REST ${TRANSPORT-tcp} >$D/counts & asker=$!
    until [ -e $D/asking ]; do kill -0 $asker || exit 1; sleep 0.05; done
    began=$(seconds)
}
goes_on() {
    kill -0 $asker && { [ ! -e $D/enough ] || [ $(seconds) -lt $((began + $1)) ]; }
}
finish() {
    touch $D/over
    wait $asker || exit 1
    $PROBE until 10 after.new.known.example 10.0.4.200 >/dev/null || exit 1
    cat $D/counts
}
";

fn main() -> ExitCode {
    let mut lookups = None;
    let mut wanted = Vec::new();
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            wanted.push(word);
            continue;
        }
        let count = words.next().and_then(|count| count.parse::<u64>().ok());
        lookups = count.filter(|count| word == "--lookups" && *count > 0);
        if lookups.is_none() {
            eprintln!("usage: faults [--lookups N] [TITLE…]");
            return ExitCode::from(64);
        }
    }
    let is_wanted = |fault: &&Fault| {
        wanted.is_empty()
            || wanted
                .iter()
                .any(|word| fault.title.contains(word.as_str()))
    };
    let faults: Vec<&Fault> = FAULTS.iter().filter(is_wanted).collect();
    let shares: u64 = faults.iter().map(|fault| fault.share).sum();
    let least = |fault: &Fault| lookups.map_or(SHORT, |all| (all * fault.share).div_ceil(shares));
    let rest = if lookups.is_some() { 0 } else { SHORT_REST };

    let left = Mutex::new(faults.iter().enumerate());
    let rows = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..if lookups.is_some() { 1 } else { AT_ONCE } {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((place, fault)) = next else { return };
                    let row = Row::of(fault, run(fault, least(fault), rest, lookups.is_some()));
                    eprintln!("{row}");
                    if !row.is_well() {
                        eprintln!("{}: {}", row.title, row.ran);
                    }
                    rows.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((place, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(place, _)| *place);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    println!("{HEAD}");
    rows.iter().for_each(|row| println!("{row}"));
    println!("{}", total(&rows));
    ExitCode::from(u8::from(!rows.iter().all(Row::is_well)))
}

fn run(fault: &Fault, least: u64, rest: u64, is_long: bool) -> Ran {
    let place = fault
        .title
        .replace(|letter: char| !letter.is_alphanumeric(), "-");
    let zone = file!(&format!("known-{place}.zone"), known::zone());
    let clock = file!(&format!("clock-{place}"), "+0");
    let sandbox: Sandbox = sandbox!()
        .options(&["--zone", &zone.display().to_string()])
        .env("LOOKUPS", least.to_string())
        .env("REST", rest.to_string())
        .env("LASTS", fault.seconds(is_long).to_string())
        .env("CLOCK", clock.display().to_string());
    let sandbox = fault
        .variables
        .iter()
        .fold(sandbox, |sandbox, (name, value)| {
            sandbox.env(name, value.replace("$CLOCK", &clock.display().to_string()))
        });
    sandbox.run(&format!("{TOOLS}{}", fault.script))
}

const HEAD: &str = "| fault | lookups | by getaddrinfo | by dig | unanswered | wrong | SERVFAIL where a stale \
                    answer was | longest wait, s | asked for the first time | of these SERVFAIL | their longest wait, s |\n\
                    | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |";

/// What came of a fault.
struct Row {
    title: &'static str,
    counts: Counts,
    is_over: bool,
    ran: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    by_libc: u64,
    by_dig: u64,
    unanswered: u64,
    wrong: u64,
    servfail: u64,
    new: u64,
    new_servfail: u64,
    longest: u64,
    new_longest: u64,
}

impl Row {
    fn of(fault: &Fault, ran: Ran) -> Self {
        let stdout = ran.stdout();
        let count = |name: &str| {
            let words = stdout.split_whitespace();
            let mut values = words.filter_map(|word| word.split_once('='));
            let value = values.find(|(word, _)| *word == name);
            value.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        };
        Self {
            title: fault.title,
            counts: Counts {
                by_libc: count("getaddrinfo"),
                by_dig: count("dig"),
                unanswered: count("unanswered"),
                wrong: count("wrong"),
                servfail: count("servfail"),
                new: count("new"),
                new_servfail: count("new-servfail"),
                longest: count("longest"),
                new_longest: count("new-longest"),
            },
            is_over: ran.status() == Some(0) && (fault.is_broken)(&stdout),
            ran: ran.to_string(),
        }
    }

    /// All lookups as promised, the fault did happen, and all is normal after it.
    fn is_well(&self) -> bool {
        let Counts {
            by_libc,
            by_dig,
            unanswered,
            wrong,
            servfail,
            longest,
            new_longest,
            ..
        } = self.counts;
        let failed = unanswered + wrong + servfail;
        self.is_over
            && by_libc > 0
            && by_dig > 0
            && failed == 0
            && longest.max(new_longest) < LONGEST
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, counts, .. } = self;
        write!(f, "| {title} | {counts} |")
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            by_libc,
            by_dig,
            unanswered,
            wrong,
            servfail,
            new,
            new_servfail,
            longest,
            new_longest,
        } = self;
        let all = by_libc + by_dig;
        let [longest, new_longest] = [longest, new_longest].map(|&ms| ms as f64 / 1000.0);
        write!(
            f,
            "{all} | {by_libc} | {by_dig} | {unanswered} | {wrong} | {servfail} | {longest:.2} \
             | {new} | {new_servfail} | {new_longest:.2}"
        )
    }
}

fn total(rows: &[Row]) -> String {
    let all = rows
        .iter()
        .fold(Counts::default(), |sum, Row { counts, .. }| Counts {
            by_libc: sum.by_libc + counts.by_libc,
            by_dig: sum.by_dig + counts.by_dig,
            unanswered: sum.unanswered + counts.unanswered,
            wrong: sum.wrong + counts.wrong,
            servfail: sum.servfail + counts.servfail,
            new: sum.new + counts.new,
            new_servfail: sum.new_servfail + counts.new_servfail,
            longest: sum.longest.max(counts.longest),
            new_longest: sum.new_longest.max(counts.new_longest),
        });
    format!("| all | {all} |")
}
