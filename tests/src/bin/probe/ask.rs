//! Programs that ask for known names all the time, by libc's getaddrinfo and by dig, while something
//! breaks; and the count of what became of their lookups.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tests::known::{self, Known};

use crate::{Outcome, TIMEOUT, dig, lookup};

/// Threads that call getaddrinfo, as those of a server.
const ASKERS: usize = 8;

/// Between two looks for the file that ends it.
const LOOK: Duration = Duration::from_millis(20);

/// Every so many lookups a thread asks for a new name.
const NEW_EVERY: u64 = 400;

/// Failures that are told of one by one.
const TOLD: usize = 20;

/// How long it may take until all names are known, before anything breaks.
const WARM_UP: Duration = Duration::from_secs(30);

/// What became of lookups. Of known names each has an answer that is at least stale.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    by_libc: AtomicU64,
    pub(crate) by_dig: AtomicU64,
    /// No answer within a client's timeout.
    unanswered: AtomicU64,
    /// Another answer than the right one: other addresses, or a name that exists told not to.
    wrong: AtomicU64,
    /// SERVFAIL for a known name.
    servfail: AtomicU64,
    new: AtomicU64,
    /// SERVFAIL for a new name, for which there is no stale answer.
    new_servfail: AtomicU64,
    longest: AtomicU64,
    /// For a new name. getaddrinfo asks again after SERVFAIL.
    new_longest: AtomicU64,
    told: Mutex<Vec<String>>,
}

/// What a lookup gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// These addresses; none where there are none of the type.
    Addresses(BTreeSet<IpAddr>),
    NoSuchName,
    ServFail,
    Nothing,
}

impl Answer {
    /// The right one about a known name, with those of its addresses that were asked for.
    pub(crate) fn right(known: &Known, is_asked_for: impl Fn(&IpAddr) -> bool) -> Self {
        let asked_for = |address: &&IpAddr| is_asked_for(address);
        match known.addresses.is_empty() {
            true => Self::NoSuchName,
            false => Self::Addresses(known.addresses.iter().filter(asked_for).copied().collect()),
        }
    }
}

impl Counts {
    /// Counts one lookup.
    pub(crate) fn take(
        &self,
        what: &dyn fmt::Display,
        right: &Answer,
        is_new: bool,
        answer: &Answer,
        took: Duration,
    ) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let longest = if is_new {
            &self.new_longest
        } else {
            &self.longest
        };
        longest.fetch_max(took_ms, Ordering::Relaxed);
        self.new.fetch_add(is_new.into(), Ordering::Relaxed);
        let counter = match answer {
            answer if answer == right => return,
            Answer::ServFail if is_new => &self.new_servfail,
            Answer::ServFail => &self.servfail,
            Answer::Nothing => &self.unanswered,
            Answer::Addresses(_) | Answer::NoSuchName => &self.wrong,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if !(is_new && *answer == Answer::ServFail) {
            self.tell(format!("{what}: {answer:?} after {took:?}"));
        }
    }

    pub(crate) fn tell(&self, line: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD {
            told.push(line);
        }
    }

    fn lookups(&self) -> u64 {
        self.by_libc.load(Ordering::Relaxed) + self.by_dig.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in [
            ("getaddrinfo", &self.by_libc),
            ("dig", &self.by_dig),
            ("unanswered", &self.unanswered),
            ("wrong", &self.wrong),
            ("servfail", &self.servfail),
            ("new", &self.new),
            ("new-servfail", &self.new_servfail),
            ("longest", &self.longest),
            ("new-longest", &self.new_longest),
        ] {
            write!(f, "{name}={} ", count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

/// Asks until `over` exists, and for `least` lookups at least; makes `asking` once all known names have
/// been answered, and `enough` after the least. Each of the threads rests for `rest` between lookups.
/// Prints the [`Counts`].
pub(crate) fn ask(directory: &Path, least: u64, rest: Duration, over_tcp: bool) -> Outcome {
    let known = known::names();
    let start = Instant::now();
    for known in &known {
        let right = Answer::right(known, |_| true);
        while getaddrinfo(&known.name) != right {
            if start.elapsed() > WARM_UP {
                return Err(format!("{} is not known", known.name).into());
            }
            thread::sleep(LOOK);
        }
    }
    // As dig asks: the type that getaddrinfo leaves out where the name does not exist.
    dig::batch(&known, None, over_tcp, &Counts::default())?;
    fs::write(directory.join("asking"), "")?;

    let counts = Counts::default();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for asker in 0..ASKERS {
            let (known, counts, is_over) = (&known, &counts, &is_over);
            scope.spawn(move || by_libc(asker, known, rest, counts, is_over));
        }
        let digging = scope.spawn(|| -> io::Result<()> {
            let mut batches = 0;
            while !is_over.load(Ordering::Relaxed) {
                let new = format!("dig{batches}.{}", known::NEW);
                dig::batch(&known, Some(&new), over_tcp, &counts)?;
                batches += 1;
                thread::sleep(rest);
            }
            Ok(())
        });
        let mut is_enough = false;
        while !(digging.is_finished() || is_enough && directory.join("over").exists()) {
            thread::sleep(LOOK);
            if !is_enough && counts.lookups() >= least {
                is_enough = true;
                fs::write(directory.join("enough"), "")?;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        digging.join().map_err(|_| "a panic")??;
        Ok::<(), Box<dyn std::error::Error>>(())
    })?;
    let told = counts.told.lock().unwrap_or_else(PoisonError::into_inner);
    for line in told.iter() {
        eprintln!("{line}");
    }
    println!("{counts}");
    Ok(())
}

fn by_libc(asker: usize, known: &[Known], rest: Duration, counts: &Counts, over: &AtomicBool) {
    let mut asked = 0;
    // Not all for the same name at the same time.
    let mut names = known.iter().cycle().skip(asker * known.len() / ASKERS);
    while !over.load(Ordering::Relaxed) {
        asked += 1;
        let new = (asked % NEW_EVERY == 0).then(|| Known {
            name: format!("libc{asker}-{asked}.{}", known::NEW),
            addresses: [known::NEW_ADDRESS].into(),
        });
        let Some(known) = new.as_ref().or_else(|| names.next()) else {
            return;
        };
        let start = Instant::now();
        let mut answer = getaddrinfo(&known.name);
        let took = start.elapsed();
        match &answer {
            // One of the two types failed, and libc leaves that unsaid.
            Answer::Addresses(found)
                if found.len() < known.addresses.len() && found.is_subset(&known.addresses) =>
            {
                answer = Answer::ServFail;
            }
            Answer::ServFail if took >= TIMEOUT => answer = Answer::Nothing,
            _ => {}
        }
        counts.take(
            &known.name,
            &Answer::right(known, |_| true),
            new.is_some(),
            &answer,
            took,
        );
        counts.by_libc.fetch_add(1, Ordering::Relaxed);
        if !rest.is_zero() {
            thread::sleep(rest);
        }
    }
}

/// One lookup. EAI_AGAIN is SERVFAIL, or no answer at all. So is EAI_NODATA: one type failed then, and
/// the name has none of the other, for all names have an address if they exist.
pub(crate) fn getaddrinfo(name: &str) -> Answer {
    match lookup(name) {
        Ok(found) => Answer::Addresses(found),
        // EAI_NONAME: only its text reaches us.
        Err(error) if error.to_string().contains("Name or service not known") => Answer::NoSuchName,
        Err(_) => Answer::ServFail,
    }
}
