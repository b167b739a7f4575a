//! What the stub's threads share, in the orders in which they can meet: the stub's own file, with loom's
//! primitives in the place of tokio's.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use loom::future::block_on;
use loom::sync::{Arc, Mutex};
use loom::thread;

use alarm::{Alarm, Sleep};

#[path = "../src/alarm.rs"]
mod alarm;

mod sync {
    //! tokio's Notify, for one that waits.

    use std::future::poll_fn;
    use std::task::{Poll, Waker};

    use loom::sync::Mutex;

    #[derive(Debug, Default)]
    pub(crate) struct Notify(Mutex<(bool, Option<Waker>)>);

    impl Notify {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn notify_one(&self) {
            let waker = {
                let mut state = self.0.lock().unwrap();
                state.0 = true;
                state.1.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }

        pub(crate) async fn notified(&self) {
            poll_fn(|context| {
                let mut state = self.0.lock().unwrap();
                if std::mem::take(&mut state.0) {
                    return Poll::Ready(());
                }
                state.1 = Some(context.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }
}

/// Stands in the shard's place.
struct State {
    due: Option<Instant>,
    sleep: Sleep,
}

struct Core {
    state: Mutex<State>,
    alarm: Alarm,
}

impl Core {
    fn new(due: Option<Instant>) -> Arc<Self> {
        let sleep = Sleep::default();
        Arc::new(Self {
            state: Mutex::new(State { due, sleep }),
            alarm: Alarm::new(),
        })
    }

    /// As everything does that changes what falls due.
    fn set_due(&self, due: Option<Instant>) {
        let mut state = self.state.lock().unwrap();
        state.due = due;
        self.alarm.ring_if_earlier(&mut state.sleep, due);
    }

    /// Keeps time until there was a tick. What is due by `now` comes; for all else it would sleep for
    /// ever, which loom finds.
    fn keep_time_until_a_tick(&self, now: Instant) {
        let next = || {
            let mut state = self.state.lock().unwrap();
            let next = state.due;
            state.sleep.until(next);
            next
        };
        let sleep = async |until: Instant| {
            if until > now {
                pending::<()>().await;
            }
        };
        let ticked = Cell::new(false);
        let tick = || {
            self.state.lock().unwrap().sleep.end();
            self.set_due(None);
            ticked.set(true);
        };
        block_on(async {
            let mut keep_time = pin!(self.alarm.keep_time(next, sleep, tick));
            poll_fn(|context| {
                let polled = keep_time.as_mut().poll(context);
                assert!(polled.is_pending(), "it never ends");
                match ticked.get() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
        });
    }
}

/// Others make something due by now while the timekeeper goes to sleep, for so long if anything is due.
fn no_tick_is_missed(first: Option<Duration>, others: usize) {
    let now = Instant::now();
    let mut model = loom::model::Builder::new();
    // Switches between threads at any point, of which so many are enough to find most faults (Musuvathi
    // and Qadeer, PLDI 2007); all orders of three threads are too many to go through.
    model.preemption_bound = Some(3);
    model.check(move || {
        let core = Core::new(first.map(|first| now + first));
        let threads: Vec<_> = (0..others)
            .map(|_| {
                let core = Arc::clone(&core);
                thread::spawn(move || core.set_due(Some(now)))
            })
            .collect();
        core.keep_time_until_a_tick(now);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_timekeeper_with_nothing_to_do_is_woken() {
    no_tick_is_missed(None, 1);
    no_tick_is_missed(None, 2);
}

#[test]
fn a_timekeeper_that_sleeps_too_long_is_woken() {
    no_tick_is_missed(Some(Duration::from_secs(1)), 1);
    no_tick_is_missed(Some(Duration::from_secs(1)), 2);
}
