//! Who asks: threads, each with one lookup at a time.
//!
//! A thread that waits in a system call is what a program is that looks a name up; an event loop
//! would add its own wake-ups to every latency.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::ask::Ask;
use crate::questions::Lookup;
use crate::quota::Quota;
use crate::recorder::Recorder;
use crate::schedule::Schedule;
use crate::{Failure, Questions};

/// A pause after a lookup that met a closed port: to fail is quick.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// The kernel's timers wake late by some microseconds; the rest of the wait is spent awake.
const AWAKE: Duration = Duration::from_micros(60);

/// What the workers of one target have in common.
pub(crate) struct Side<'a> {
    pub(crate) questions: &'a Questions,
    /// What each lookup costs, where that is limited.
    pub(crate) quota: Option<(&'a Quota, u32)>,
    /// The number of the next lookup.
    pub(crate) next: AtomicU64,
    /// What is added to a lookup's number, so that no two targets ask for the same cold name.
    pub(crate) offset: u64,
    pub(crate) start: Instant,
    pub(crate) recorder: Mutex<Recorder>,
}

/// What a worker is to do next.
#[derive(Clone, Copy)]
pub(crate) enum Turn {
    /// One lookup after the other, for so long from when the worker is awake.
    Closed { length: Duration },
    /// Those of a schedule, in turn with the other workers.
    Open {
        schedule: Schedule,
        /// What has not begun by then is not asked.
        give_up: Instant,
    },
}

impl Side<'_> {
    pub(crate) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part in a turn.
    pub(crate) fn work(&self, ask: &mut dyn Ask, turn: Turn) {
        let mut lookup = Lookup::default();
        match turn {
            Turn::Closed { length } => {
                let until = Instant::now() + length;
                while self.is_granted(until) {
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    self.questions.fill(self.offset + number, &mut lookup);
                    self.ask(ask, &lookup, Instant::now());
                }
            }
            Turn::Open { schedule, give_up } => {
                // Without it timers are late by 50 µs.
                let _ = nix::sys::prctl::set_timerslack(1);
                loop {
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    let Some(intended) = schedule.at(number) else {
                        return;
                    };
                    self.questions.fill(self.offset + number, &mut lookup);
                    wait_for(intended);
                    if !self.is_granted(give_up) {
                        return;
                    }
                    self.ask(ask, &lookup, intended);
                }
            }
        }
    }

    /// Waits until a lookup may begin; false if that is not before `until`.
    fn is_granted(&self, until: Instant) -> bool {
        loop {
            let now = Instant::now();
            if now >= until {
                return false;
            }
            let Some((quota, packets)) = self.quota else {
                return true;
            };
            match quota.take(packets, now) {
                Ok(()) => return true,
                Err(wait) => {
                    self.recorder().held_back = true;
                    thread::sleep(wait.min(until - now));
                }
            }
        }
    }

    fn ask(&self, ask: &mut dyn Ask, lookup: &Lookup, begun: Instant) {
        let result = ask.ask(lookup);
        let ended = Instant::now();
        let is_refused = result == Err(Failure::Unreachable);
        let at = ended.saturating_duration_since(self.start);
        let latency = ended.saturating_duration_since(begun);
        self.recorder().record(at, latency, result);
        if is_refused {
            thread::sleep(AFTER_REFUSAL);
        }
    }
}

/// Returns at `time`, or at once if that has passed.
fn wait_for(time: Instant) {
    let rest = time.saturating_duration_since(Instant::now());
    if rest > AWAKE {
        thread::sleep(rest - AWAKE);
    }
    while Instant::now() < time {
        std::hint::spin_loop();
    }
}
