//! A timekeeper that sleeps until something is due, and whoever makes something due earlier.
//!
//! What falls due is kept under a mutex, and beside it [`Sleep`]: when the timekeeper looks next. Who
//! changes what falls due calls [`Alarm::ring_if_earlier`] before the mutex is released. A ring that
//! nobody sleeps to hear is kept for the next sleep. So the timekeeper never sleeps past what is due: it
//! was there when it looked, or has rung since. `tests/loom.rs` runs this file in every order in which
//! threads can meet.

use std::time::Instant;

use crate::sync::Notify;

/// Wakes the one timekeeper.
pub(crate) struct Alarm {
    earlier: Notify,
}

/// When the timekeeper looks next; `None` when nothing is due, or while it is awake.
#[derive(Default)]
pub(crate) struct Sleep(Option<Instant>);

impl Sleep {
    /// The timekeeper goes to sleep until what is due next.
    pub(crate) fn until(&mut self, next: Option<Instant>) {
        self.0 = next;
    }

    /// The timekeeper is awake.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self {
            earlier: Notify::new(),
        }
    }

    /// Wakes the timekeeper if what is due next is due before it looks.
    pub(crate) fn ring_if_earlier(&self, sleep: &mut Sleep, next: Option<Instant>) {
        let is_earlier = match (next, sleep.0) {
            (Some(next), Some(until)) => next < until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_earlier {
            sleep.until(next);
            self.earlier.notify_one();
        }
    }

    /// Calls `tick` whenever something is due, and never ends. `next` goes to sleep: it says until when,
    /// after it has told [`Sleep`], with the mutex released. `sleep` ends at that time.
    pub(crate) async fn keep_time(
        &self,
        next: impl Fn() -> Option<Instant>,
        sleep: impl AsyncFn(Instant),
        tick: impl Fn(),
    ) {
        loop {
            let next = next();
            let due = async {
                match next {
                    Some(next) => sleep(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // No choice is left to chance, which loom could not follow.
                biased;
                () = due => tick(),
                () = self.earlier.notified() => {}
            }
        }
    }
}
