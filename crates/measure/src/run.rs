//! A whole run: targets made ready, warmed, and asked side by side.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::ask::{self, Ask, OpenError};
use crate::plan::{MAX_CONCURRENCY, MAX_TARGETS};
use crate::questions::Lookup;
use crate::quota::Quota;
use crate::recorder::Recorder;
use crate::report::{Measured, Missing, Report};
use crate::schedule::Schedule;
use crate::worker::{Side, Turn};
use crate::{Failure, Pace, Plan, Target};

/// How long a target is asked before the next has its turn: long against a lookup, short against
/// what else a machine does.
const TURN: Duration = Duration::from_millis(50);

/// Between two calls of the caller's progress.
const PROGRESS: Duration = Duration::from_millis(100);

/// Lookups without a reply after which a target is not warmed any further: each costs seconds.
const SILENT: u32 = 2;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Each name is asked for once, so that it is cached.
    Warming {
        /// Lookups so far.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// Lookups are measured.
    Measuring {
        /// Time so far.
        elapsed: Duration,
        /// Of so much, or a little more.
        of: Duration,
        /// Lookups that have ended, of all targets.
        lookups: u64,
    },
}

/// A target that can be asked.
struct Ready<'a> {
    target: &'a Target,
    /// One for each worker.
    askers: Vec<Box<dyn Ask>>,
}

/// A target's workers, and its time.
struct Team<'a, 'b> {
    side: &'b Side<'a>,
    turns: Vec<Sender<Turn>>,
    spent: Duration,
}

/// Measures as `plan` says. `progress` is called now and then, between turns where there are any.
///
/// # Errors
///
/// The plan is out of its bounds, or no target can be asked. One that cannot be, beside others that
/// can, is [`Report::missing`].
pub fn run(plan: &Plan, mut progress: impl FnMut(Progress)) -> Result<Report, RunError> {
    check(plan)?;
    let began = SystemTime::now();
    let quota = plan
        .upstream_pps
        .map(|limit| Quota::new(limit, Instant::now()));
    let (mut ready, mut missing) = (Vec::new(), Vec::new());
    for target in &plan.targets {
        let askers = (0..plan.concurrency).map(|_| ask::open(target, plan.timeout));
        match askers.collect() {
            Ok(askers) => ready.push(Ready { target, askers }),
            Err(why) => missing.push(Missing::new(target, &why)),
        }
    }
    let mut warming_held = false;
    if !plan.questions.is_cold() {
        warming_held = warm(
            plan,
            &mut ready,
            quota.as_ref(),
            &mut missing,
            &mut progress,
        );
    }
    if ready.is_empty() {
        return Err(RunError::Nobody { missing });
    }

    let limited = |target: &Target| plan.questions.is_cold() || target.is_past_the_cache();
    let start = Instant::now();
    let sides: Vec<Side<'_>> = ready
        .iter()
        .zip(0u64..)
        .map(|(ready, index)| Side {
            questions: &plan.questions,
            quota: quota
                .as_ref()
                .filter(|_| limited(ready.target))
                .map(|quota| (quota, ready.target.packets())),
            next: AtomicU64::new(0),
            offset: if plan.questions.is_cold() {
                index << 29
            } else {
                0
            },
            start,
            recorder: Mutex::new(Recorder::new(plan.duration)),
        })
        .collect();
    let targets: Vec<&Target> = ready.iter().map(|ready| ready.target).collect();
    let (done, ended) = mpsc::channel();
    let times = thread::scope(|scope| {
        let mut teams = Vec::new();
        for (side, ready) in sides.iter().zip(ready) {
            let mut turns = Vec::new();
            for mut asker in ready.askers {
                let (sender, receiver) = mpsc::channel();
                let done = done.clone();
                thread::Builder::new().spawn_scoped(scope, move || {
                    for turn in receiver {
                        side.work(&mut *asker, turn);
                        if done.send(()).is_err() {
                            return;
                        }
                    }
                })?;
                turns.push(sender);
            }
            teams.push(Team {
                side,
                turns,
                spent: Duration::ZERO,
            });
        }
        drop(done);
        let time = Time {
            start,
            of: plan.duration,
            late: plan.timeout,
        };
        Ok(match plan.pace {
            Pace::Closed => closed(&mut teams, time, &ended, &mut progress),
            Pace::Open(rate) => open(&mut teams, time, rate, &ended, &mut progress),
        })
    });
    let times = times.map_err(|source| RunError::System { source })?;

    let measured = targets.into_iter().zip(&sides).zip(times);
    let measured = measured.map(|((target, side), (spent, intended))| {
        Measured::new(target, &mut side.recorder(), spent, intended)
    });
    let measured = measured.collect();
    Ok(Report::new(plan, began, measured, missing, warming_held))
}

fn check(plan: &Plan) -> Result<(), RunError> {
    if plan.questions.is_empty() {
        return Err(RunError::NoNames);
    }
    if !(1..=MAX_TARGETS).contains(&plan.targets.len()) {
        return Err(RunError::Targets);
    }
    if !(1..=MAX_CONCURRENCY).contains(&plan.concurrency) {
        return Err(RunError::Concurrency);
    }
    Ok(())
}

/// Asks each target for each name once, but those past the cache, and takes away who does not listen.
/// Says whether it had to wait for the quota.
fn warm(
    plan: &Plan,
    ready: &mut Vec<Ready<'_>>,
    quota: Option<&Quota>,
    missing: &mut Vec<Missing>,
    progress: &mut impl FnMut(Progress),
) -> bool {
    let each = plan.questions.len() as u64;
    let of = each * ready.len() as u64;
    let (mut done, mut held, mut shown) = (0, false, Instant::now());
    // Over UDP and TCP there is one cache.
    let mut stub_is_warm = false;
    let mut lookup = Lookup::default();
    ready.retain_mut(|ready| {
        let Some(asker) = ready.askers.first_mut() else {
            return false;
        };
        if matches!(ready.target, Target::Upstream { .. }) {
            done += each;
            return true;
        }
        let is_stub = matches!(ready.target, Target::StubUdp(_) | Target::StubTcp(_));
        let (mut answers, mut silent) = (false, 0);
        for number in 0..each {
            if let Some(quota) = quota
                && !(is_stub && stub_is_warm)
            {
                while let Err(wait) = quota.take(ready.target.packets(), Instant::now()) {
                    held = true;
                    thread::sleep(wait);
                }
            }
            plan.questions.fill(number, &mut lookup);
            let result = asker.ask(&lookup);
            answers |= result != Err(Failure::Unreachable);
            done += 1;
            if shown.elapsed() > PROGRESS {
                shown = Instant::now();
                progress(Progress::Warming { done, of });
            }
            silent += u32::from(result == Err(Failure::Timeout));
            // The others will find the same.
            if !answers || silent >= SILENT {
                break;
            }
        }
        stub_is_warm |= is_stub;
        if !answers {
            let server = ready.target.to_string();
            missing.push(Missing::new(
                ready.target,
                &OpenError::NobodyListens { server },
            ));
        }
        answers
    });
    held
}

/// When a run began, and how long it is to be.
#[derive(Clone, Copy)]
struct Time {
    start: Instant,
    of: Duration,
    /// How long after its end lookups of an open loop that are late may still begin.
    late: Duration,
}

/// The time that each target had, and the lookups that it should have had.
type Times = Vec<(Duration, Option<u64>)>;

/// Turns, the next to the one that had the least time, until each had its share of the run.
fn closed(
    teams: &mut [Team<'_, '_>],
    time: Time,
    ended: &Receiver<()>,
    progress: &mut impl FnMut(Progress),
) -> Times {
    let share = time.of / u32::try_from(teams.len().max(1)).unwrap_or(1);
    let turn = TURN.min(share);
    let mut shown = time.start;
    loop {
        let next = teams.iter_mut().min_by_key(|team| team.spent);
        let Some(team) = next.filter(|team| team.spent < share) else {
            break;
        };
        let began = Instant::now();
        let length = turn.min(share - team.spent);
        team.send(Turn::Closed { length });
        for _ in &team.turns {
            // No worker ends before its sender.
            let _ = ended.recv();
        }
        team.spent += began.elapsed();
        if shown.elapsed() > PROGRESS {
            shown = Instant::now();
            progress(measuring(teams, time));
        }
    }
    teams.iter().map(|team| (team.spent, None)).collect()
}

/// All at the same time, each at its rate.
fn open(
    teams: &mut [Team<'_, '_>],
    time: Time,
    rate: u32,
    ended: &Receiver<()>,
    progress: &mut impl FnMut(Progress),
) -> Times {
    let turns = teams.len();
    let limited: f64 = teams
        .iter()
        .filter_map(|team| team.side.quota)
        .map(|(_, packets)| f64::from(packets))
        .sum();
    let mut intended = Vec::new();
    for (turn, team) in teams.iter().enumerate() {
        let mut rate = rate;
        if let Some((quota, _)) = team.side.quota {
            let most = quota.lookups_per_second(1) / limited;
            if most < f64::from(rate) {
                rate = floor(most).max(1);
                team.side.recorder().held_back = true;
            }
        }
        let schedule = Schedule::new(time.start, rate, time.of, turn, turns);
        intended.push(schedule.count);
        let give_up = time.start + time.of + time.late;
        team.send(Turn::Open { schedule, give_up });
    }
    let mut working: usize = teams.iter().map(|team| team.turns.len()).sum();
    while working > 0 {
        match ended.recv_timeout(PROGRESS) {
            Ok(()) => working -= 1,
            Err(RecvTimeoutError::Timeout) => progress(measuring(teams, time)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let spent = time.start.elapsed().max(time.of);
    intended
        .into_iter()
        .map(|count| (spent, Some(count)))
        .collect()
}

/// A small rate as a whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn floor(rate: f64) -> u32 {
    rate as u32
}

fn measuring(teams: &[Team<'_, '_>], time: Time) -> Progress {
    Progress::Measuring {
        elapsed: time.start.elapsed(),
        of: time.of,
        lookups: teams.iter().map(|team| team.side.recorder().ended()).sum(),
    }
}

impl Team<'_, '_> {
    fn send(&self, turn: Turn) {
        for worker in &self.turns {
            // A worker ends when this sender does.
            let _ = worker.send(turn);
        }
    }
}

/// Why nothing is measured.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is nothing to ask for.
    #[error("no names to ask for")]
    NoNames,
    /// None, or more than [`MAX_TARGETS`].
    #[error("1 to {MAX_TARGETS} targets can be measured side by side")]
    Targets,
    /// None, or more than [`MAX_CONCURRENCY`].
    #[error("1 to {MAX_CONCURRENCY} lookups at a time can be measured")]
    Concurrency,
    /// No target can be asked.
    #[error("nobody can be asked")]
    Nobody {
        /// Each, and why.
        missing: Vec<Missing>,
    },
    /// The system gives no threads.
    #[error("the system gives no thread: {source}; a smaller --concurrency needs fewer")]
    System {
        /// What it said.
        source: io::Error,
    },
}
