//! A lookup's way from the first question to its end: attempts, failover, retries, stale answers.

use std::net::SocketAddr;
use std::time::Instant;

use wire::{Ede, ede, rcode};

use super::age::{failure_lifetime, prefetch_at};
use super::replies::Replies;
use super::{Action, LOOKUP, Shard, stale_entry};
use crate::cache::Entry;
use crate::failure::{Failed, Failure, Fault};
use crate::key::Key;
use crate::packed::{Kind, Packed, Rotation, Ttls};
use crate::pending::{Lookup, Ticket};
use crate::query_log::Outcome;
use crate::quota::Rank;
use crate::reply::Content;
use crate::servers::Tried;
use crate::validate::{Answer, Invalid};
use crate::{Millis, SECOND};

/// Rest before nameservers that are silent or out of reach are all asked once more, doubled each
/// time: a restart is outlasted, and a lookup without hope costs four packets a nameserver.
const NEXT_ROUND: Millis = 300;

/// Rest before a question that the link lost goes out again: none, then this, doubled each time ...
const FIRST_LINK_REST: Millis = 10;

/// ... up to this, so that a lookup may lose its link 50 times within [`LOOKUP`].
const LONGEST_LINK_REST: Millis = 80;

/// How long stale answers go out at once after a refresh has failed (RFC 8767 section 5), and no
/// prefetch follows another.
pub(super) const RECHECK: Millis = 30 * SECOND;

impl<C> Shard<C> {
    /// Takes what became of an [`Ask`](super::Ask): the message as it came off the stream, or why there is none.
    /// A ticket of a lookup that has ended, or of an attempt that has its result, is ignored.
    ///
    /// Gives what was wrong with a message that cannot be used, for the log.
    pub fn answer(
        &mut self,
        now: Instant,
        ticket: Ticket,
        result: Result<&[u8], Failed>,
        actions: &mut Vec<Action<C>>,
    ) -> Option<Fault> {
        self.stopwatch.now = now;
        let now = self.millis(now);
        if result.is_ok() {
            self.hear(now);
        }
        let lookup = self.pending.of(ticket)?;
        if !lookup.end_attempt(ticket.attempt) {
            return None;
        }
        let nameserver = ticket.nameserver;
        let upstream = self.upstreams.get_mut(lookup.via);
        let failure = match result {
            Ok(bytes) => match Answer::validate(&lookup.key, bytes, &self.pins) {
                Ok(answer) => {
                    upstream.answered(nameserver);
                    self.counters.answers += 1;
                    self.stopwatch.answered(ticket.sent);
                    self.succeed(now, ticket, answer, actions);
                    return None;
                }
                Err(Invalid::Rcode {
                    rcode: rcode::FORMERR,
                    ..
                }) if ticket.edns && ticket.generation == upstream.generation => {
                    // It may be OPT that it cannot read (RFC 6891 section 7).
                    lookup.plain = Some(nameserver);
                    self.ask_on(now, ticket.slot, actions);
                    self.pending.schedule(ticket.slot);
                    return None;
                }
                Err(why) => {
                    if let Invalid::Outside(outside) = why {
                        self.counters.blocked += 1;
                        self.reports.refused(now, &self.pins, outside, nameserver);
                    }
                    of_answer(nameserver, why)
                }
            },
            Err(Failed::Link | Failed::Lost) => Failure::Link,
            Err(Failed::Unreachable | Failed::Closed) => Failure::Unreachable(nameserver),
        };
        self.counters.failed_attempts += 1;
        if let Err(Failed::Link | Failed::Unreachable) = result {
            self.quota.refund(ticket.packets);
        }
        if failure.is_silence() {
            upstream.stayed_silent(now, nameserver);
        }
        let fault = Fault::of(failure, &lookup.key);
        self.next_attempt(now, ticket, failure, actions);
        fault
    }

    /// Does what is due by now: stale answers, the next nameserver, failures.
    pub fn tick(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        self.stopwatch.now = now;
        let now = self.millis(now);
        while let Some(slot) = self.pending.due(now) {
            self.tick_lookup(now, slot, actions);
            self.pending.schedule(slot);
        }
        self.ask_what_fits(now, actions);
    }

    fn tick_lookup(&mut self, now: Millis, slot: usize, actions: &mut Vec<Action<C>>) {
        let Some(lookup) = self.pending.get(slot) else {
            return;
        };
        let is_due = |at: &mut Option<Millis>| at.take_if(|at| *at <= now).is_some();
        if lookup.deadline <= now {
            let failure = lookup
                .failure
                .unwrap_or(match (lookup.asked, lookup.place) {
                    (Some(nameserver), _) => Failure::Silent(nameserver),
                    (None, Some(_)) => Failure::Quota,
                    (None, None) => Failure::NotReady,
                });
            return self.fail(now, slot, failure, actions);
        }
        if is_due(&mut lookup.link_at) && self.link.is_lost(now) {
            return self.fail(now, slot, Failure::Link, actions);
        }
        let is_silent = is_due(&mut lookup.attempt_at);
        let is_retry = is_due(&mut lookup.retry_at);
        if is_silent && let Some(nameserver) = lookup.asked {
            lookup.failure = Some(Failure::Silent(nameserver));
            let upstream = self.upstreams.get_mut(lookup.via);
            upstream.stayed_silent(now, nameserver);
        }
        if is_due(&mut lookup.stale_at) {
            lookup.stale_sent = true;
            self.give_stale(now, slot, actions);
        }
        if is_silent || is_retry {
            self.ask_on(now, slot, actions);
        }
    }

    fn next_attempt(
        &mut self,
        now: Millis,
        ticket: Ticket,
        failure: Failure,
        actions: &mut Vec<Action<C>>,
    ) {
        let slot = ticket.slot;
        let Some(lookup) = self.pending.get(slot) else {
            return;
        };
        lookup.failure = Some(failure);
        if failure == Failure::Link {
            // The nameserver is not to blame, and the others are behind the same link.
            let upstream = self.upstreams.get(lookup.via);
            upstream
                .servers
                .forget(ticket.nameserver, &mut lookup.tried);
            let lost = lookup.lost;
            lookup.lost = lost.saturating_add(1);
            if let Some(doublings) = lost.checked_sub(1) {
                let rest = (FIRST_LINK_REST << doublings.min(8)).min(LONGEST_LINK_REST);
                lookup.retry_at = Some(now + rest);
                return self.pending.schedule(slot);
            }
        }
        // The others are behind the relay's quota too.
        let is_asked = failure != Failure::Quota && self.ask_on(now, slot, actions);
        if !is_asked
            && let Some(lookup) = self.pending.get(slot)
            && lookup.in_flight.is_empty()
        {
            let next_round = now + (NEXT_ROUND << lookup.rounds.min(8));
            if !failure.is_worth_a_retry() || next_round >= lookup.deadline {
                return self.fail(now, slot, failure, actions);
            }
            lookup.rounds += 1;
            lookup.tried = Tried::default();
            lookup.retry_at = Some(next_round);
        }
        self.pending.schedule(slot);
    }

    fn succeed(
        &mut self,
        now: Millis,
        ticket: Ticket,
        answer: Answer,
        actions: &mut Vec<Action<C>>,
    ) {
        let Some(lookup) = self.end(ticket.slot) else {
            return;
        };
        let is_past_cache = lookup.key.has(Key::PAST_CACHE);
        let told = is_past_cache.then(|| format!("{} answered", ticket.nameserver));
        let mut replies = Replies::new(
            Outcome::Upstream,
            Some(ticket.nameserver),
            &mut self.counters,
            &mut self.stopwatch,
            &mut self.scratch,
            &mut self.log,
        );
        for (waiter, turn) in lookup.waiters.into_iter().zip(0..) {
            let content = Content::Answer {
                packed: &answer.packed,
                ttls: Ttls::Aged(0),
                turn,
                ede: told.as_deref().map(|text| Ede {
                    code: ede::OTHER,
                    text,
                }),
            };
            actions.push(replies.to(waiter, content));
        }
        if is_past_cache {
            return;
        }
        if answer.lifetime == 0 && lookup.rank == Rank::Prefetch {
            // The nameserver's own cache is about to expire as well; what is known is fresh still.
            return;
        }
        let absent = lookup.key.without_type();
        let absent_hash = self.hash.of(absent.as_bytes());
        // Whatever was known of this question before is superseded.
        self.cache.remove(absent_hash, absent.as_bytes());
        self.cache.remove(lookup.hash, lookup.key.as_bytes());
        if answer.lifetime == 0 {
            return;
        }
        let (hash, packed) = match answer.without_type {
            Some(denial) => (absent_hash, denial),
            None => (lookup.hash, answer.packed),
        };
        self.cache.insert(
            hash,
            Entry {
                answer: packed,
                stored: now,
                lifetime: answer.lifetime,
                via: lookup.via,
                generation: ticket.generation,
                recheck: 0,
                prefetch: prefetch_at(now, answer.lifetime),
                epoch: self.upstreams.get(lookup.via).epoch,
                turn: 1,
            },
        );
    }

    /// Ends a lookup without an answer: a stale one goes out if there is one, else SERVFAIL. An answer
    /// that leads out of a pin is one all the same: what was known before is stale no longer but
    /// wrong.
    pub(super) fn fail(
        &mut self,
        now: Millis,
        slot: usize,
        failure: Failure,
        actions: &mut Vec<Action<C>>,
    ) {
        let is_blocked = failure.is_blocked();
        if !is_blocked {
            self.give_stale(now, slot, actions);
        }
        let Some(lookup) = self.end(slot) else {
            return;
        };
        let shown = failure.show();
        let waiters = lookup.waiters.len() as u64;
        self.counters.servfail += waiters;
        self.counters.over_quota += u64::from(failure == Failure::Quota) * waiters;
        let mut replies = Replies::new(
            Outcome::of_failure(shown.code),
            failure.nameserver(),
            &mut self.counters,
            &mut self.stopwatch,
            &mut self.scratch,
            &mut self.log,
        );
        for waiter in lookup.waiters {
            actions.push(replies.to(waiter, Content::Failure(&shown)));
        }
        if lookup.key.has(Key::PAST_CACHE) {
            return;
        }
        self.failures.add(now, lookup.hash, &lookup.key, failure);
        if failure == Failure::Quota || lookup.rank == Rank::Prefetch {
            return;
        }
        let upstream = self.upstreams.get(lookup.via);
        let epoch = upstream.epoch;
        if is_blocked {
            let absent = lookup.key.without_type();
            self.cache
                .remove(self.hash.of(absent.as_bytes()), absent.as_bytes());
        } else if let Some(entry) = stale_entry(&mut self.cache, &self.hash, now, &lookup.key) {
            entry.recheck = now + RECHECK;
            entry.epoch = epoch;
            return;
        }
        if !failure.is_remembered() {
            return;
        }
        let began = lookup.deadline - LOOKUP;
        let before = self.cache.get(lookup.hash, lookup.key.as_bytes());
        let lifetime = failure_lifetime(before, began, epoch);
        let code = match is_blocked {
            true => shown.code,
            false => ede::CACHED_ERROR,
        };
        let error = [&code.to_be_bytes(), shown.text.as_bytes()].concat();
        let rotation = Rotation::default();
        if let Some(answer) = Packed::new(&lookup.key, Kind::Failure, [0; 3], rotation, &error, &[])
        {
            let entry = Entry {
                answer,
                stored: now,
                lifetime,
                via: lookup.via,
                generation: upstream.generation,
                recheck: 0,
                prefetch: Millis::MAX,
                epoch,
                turn: 0,
            };
            self.cache.insert(lookup.hash, entry);
        }
    }

    fn end(&mut self, slot: usize) -> Option<Lookup<C>> {
        let lookup = self.pending.remove(slot)?;
        if let Some(place) = lookup.place {
            self.quota.leave(place);
        }
        Some(lookup)
    }

    /// Gives a stale answer, if there is one, to all who wait; the lookup goes on.
    fn give_stale(&mut self, now: Millis, slot: usize, actions: &mut Vec<Action<C>>) {
        let Some(lookup) = self.pending.get(slot) else {
            return;
        };
        let (key, asked) = (lookup.key, lookup.asked);
        let Some(entry) = stale_entry(&mut self.cache, &self.hash, now, &key) else {
            return;
        };
        let waiters = self.pending.take_waiters(slot);
        self.counters.stale += waiters.len() as u64;
        let mut replies = Replies::new(
            Outcome::Stale,
            asked,
            &mut self.counters,
            &mut self.stopwatch,
            &mut self.scratch,
            &mut self.log,
        );
        for waiter in waiters {
            actions.push(replies.to(waiter, entry.stale()));
        }
    }
}

/// The relay says in SERVFAIL's Extended DNS Error, by codes of its own, that it got no answer, could
/// not reach the nameserver, or may not ask it now; everything else is the nameserver's own word.
fn of_answer(nameserver: SocketAddr, why: Invalid) -> Failure {
    match why {
        Invalid::Rcode {
            rcode: rcode::SERVFAIL,
            ede: Some(ede::relay::NO_ANSWER),
        } => Failure::Silent(nameserver),
        Invalid::Rcode {
            rcode: rcode::SERVFAIL,
            ede: Some(ede::relay::UNREACHABLE),
        } => Failure::Unreachable(nameserver),
        Invalid::Rcode {
            rcode: rcode::SERVFAIL,
            ede: Some(ede::relay::OVER_QUOTA),
        } => Failure::Quota,
        why => Failure::Invalid(nameserver, why),
    }
}
