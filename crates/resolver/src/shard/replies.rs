//! The replies to all who waited for one lookup.

use std::net::SocketAddr;

use super::{Action, MAX_WAITERS};
use crate::counters::{Counters, Stopwatch};
use crate::failure::Failure;
use crate::pending::Waiter;
use crate::query_log::{Outcome, QueryLog};
use crate::reply::Content;

/// Bytes of replies that one answer may make at once: what any client takes (RFC 1035 section 2.3.4)
/// for the most that may wait. Over TCP a reply may be a hundred times as long.
const MAX_REPLIES: usize = MAX_WAITERS * 512;

/// Writes them, one after the other.
pub(super) struct Replies<'a> {
    room: usize,
    counters: &'a mut Counters,
    stopwatch: &'a mut Stopwatch,
    /// Where each is written.
    scratch: &'a mut [u8],
    log: &'a mut QueryLog,
    outcome: Outcome,
    nameserver: Option<SocketAddr>,
}

impl<'a> Replies<'a> {
    pub(super) fn new(
        outcome: Outcome,
        nameserver: Option<SocketAddr>,
        counters: &'a mut Counters,
        stopwatch: &'a mut Stopwatch,
        scratch: &'a mut [u8],
        log: &'a mut QueryLog,
    ) -> Self {
        Self {
            room: MAX_REPLIES,
            counters,
            stopwatch,
            scratch,
            log,
            outcome,
            nameserver,
        }
    }

    /// The reply to a waiter. One for which there is no room left is a failure.
    pub(super) fn to<C>(&mut self, waiter: Waiter<C>, content: Content<'_>) -> Action<C> {
        let (mut content, mut outcome) = (content, self.outcome);
        let shown;
        let mut length = waiter.asker().reply(content, self.scratch);
        match self.room.checked_sub(length) {
            Some(left) => self.room = left,
            None => {
                shown = Failure::Overload.show();
                (content, outcome) = (Content::Failure(&shown), Outcome::Overload);
                length = waiter.asker().reply(content, self.scratch);
                self.counters.overload += 1;
                self.counters.servfail += 1;
            }
        }
        let message = self.scratch.get(..length).unwrap_or_default();
        if let Some(since) = waiter.since {
            let waited = self.stopwatch.replied(since);
            if let Some(notes) = self.log.notes() {
                let (now, asker) = (self.stopwatch.now, waiter.asker());
                notes.waited(
                    now,
                    waited,
                    &asker,
                    outcome,
                    self.nameserver,
                    content,
                    message,
                );
            }
        }
        Action::Reply {
            client: waiter.client,
            message: message.to_vec(),
        }
    }
}
