//! A question's way out: the nameserver that is next, and the quota before it.

use std::sync::Arc;
use std::time::Instant;

use super::{Action, Ask, LOOKUP, STALE_AFTER, Shard, Step};
use crate::Millis;
use crate::failure::Failure;
use crate::key::Key;
use crate::pending::{Lookup, Ticket};
use crate::quota::Rank;
use crate::reply;
use crate::routes::Via;

/// How long one nameserver may take before the next is asked as well: the relay sends a lost packet
/// again after 1 s.
const ATTEMPT: Millis = 1500;

/// What becomes of the wish to ask.
pub(super) enum Asked {
    /// This is to go out.
    Now(Ask),
    /// It waits for the quota.
    Later,
    /// There is no room to wait.
    NoRoom,
    /// All nameservers have been asked.
    Nobody,
}

impl<C> Shard<C> {
    /// Begins to refresh what has just been given to a client from the cache.
    pub(super) fn prefetch(&mut self, now: Millis, key: Key, hash: u64, length: usize) -> Step {
        if self.is_full() || self.pending.find(hash, &key).is_some() {
            return Step::Reply(length);
        }
        self.counters.prefetches += 1;
        let via = self.upstreams.of(key.name());
        // Who asks when the TTL has passed waits no longer than if the lookup were his own.
        let stale_at = Some(now + STALE_AFTER);
        let lookup = Lookup::new(key, hash, via, now + LOOKUP, stale_at, Rank::Prefetch);
        let slot = self.begin(now, lookup);
        let asked = self.ask(now, slot);
        self.pending.schedule(slot);
        match asked {
            Asked::Now(ask) => Step::ReplyAndAsk(length, ask),
            _ => Step::Reply(length),
        }
    }

    /// Notes that one more asks for what a lookup is for.
    pub(super) fn join(&mut self, slot: usize) {
        if let Some(lookup) = self.pending.get(slot) {
            lookup.rank = Rank::Known;
            lookup.place = lookup.place.map(|place| self.quota.promote(place));
        }
    }

    /// What waits for these upstreams without an attempt in flight goes out.
    pub(super) fn ask_what_waits(
        &mut self,
        now: Instant,
        is_concerned: impl Fn(Via) -> bool,
        actions: &mut Vec<Action<C>>,
    ) {
        self.stopwatch.now = now;
        let now = self.millis(now);
        for slot in self.pending.slots() {
            let Some(lookup) = self.pending.get(slot) else {
                continue;
            };
            if lookup.in_flight.is_empty() && is_concerned(lookup.via) {
                self.ask_on(now, slot, actions);
                self.pending.schedule(slot);
            }
        }
    }

    /// What waited for the quota goes out as far as that allows.
    pub(super) fn ask_what_fits(&mut self, now: Millis, actions: &mut Vec<Action<C>>) {
        while let Some(slot) = self.quota.next(now) {
            let Some(lookup) = self.pending.get(slot) else {
                continue;
            };
            lookup.place = None;
            if let Some(ask) = self.send(now, slot) {
                self.counters.delayed += 1;
                actions.push(Action::Ask(ask));
            }
            self.pending.schedule(slot);
        }
    }

    /// Asks the next nameserver for a lookup that goes on; false if all have been asked. The caller
    /// schedules.
    pub(super) fn ask_on(
        &mut self,
        now: Millis,
        slot: usize,
        actions: &mut Vec<Action<C>>,
    ) -> bool {
        match self.ask(now, slot) {
            Asked::Now(ask) => actions.push(Action::Ask(ask)),
            Asked::Later => {}
            Asked::NoRoom => {
                let is_idle = |lookup: &mut Lookup<C>| {
                    lookup.in_flight.is_empty() && lookup.retry_at.is_none()
                };
                if self.pending.get(slot).is_some_and(is_idle) {
                    self.fail(now, slot, Failure::Quota, actions);
                }
            }
            Asked::Nobody => return false,
        }
        true
    }

    /// Asks the next nameserver for a lookup, now or when the quota allows. The caller schedules.
    pub(super) fn ask(&mut self, now: Millis, slot: usize) -> Asked {
        let Some(lookup) = self.pending.get(slot) else {
            return Asked::Nobody;
        };
        let upstream = self.upstreams.get(lookup.via);
        lookup.follow(upstream.generation);
        if lookup.plain.is_none() && !upstream.servers.has_other(lookup.tried) {
            return Asked::Nobody;
        }
        if lookup.place.is_some() {
            return Asked::Later;
        }
        if self.quota.is_open(now) {
            return self.send(now, slot).map_or(Asked::Nobody, Asked::Now);
        }
        if lookup.rank == Rank::Prefetch {
            return Asked::NoRoom;
        }
        let Some((place, evicted)) = self.quota.wait(slot, lookup.rank) else {
            return Asked::NoRoom;
        };
        lookup.place = Some(place);
        // Who has a stale answer does not wait for the quota.
        lookup.stale_at = lookup.stale_at.map(|_| now);
        if let Some(slot) = evicted {
            self.evict(now, slot);
        }
        Asked::Later
    }

    /// Takes a lookup's place from it. Without an attempt in flight that is its end, at the next tick.
    fn evict(&mut self, now: Millis, slot: usize) {
        let Some(lookup) = self.pending.get(slot) else {
            return;
        };
        lookup.place = None;
        if lookup.in_flight.is_empty() {
            lookup.failure = Some(Failure::Quota);
            lookup.deadline = now;
            self.pending.schedule(slot);
        }
    }

    fn send(&mut self, now: Millis, slot: usize) -> Option<Ask> {
        let lookup = self.pending.get(slot)?;
        let upstream = self.upstreams.get_mut(lookup.via);
        lookup.follow(upstream.generation);
        let (nameserver, edns) = match lookup.plain.take() {
            Some(nameserver) => (nameserver, false),
            None => (upstream.servers.choose(now, &mut lookup.tried)?, true),
        };
        lookup.attempts = lookup.attempts.wrapping_add(1);
        lookup.in_flight.push(lookup.attempts);
        lookup.attempt_at = Some(now + ATTEMPT);
        lookup.retry_at = None;
        lookup.asked = Some(nameserver);
        self.counters.asked += 1;
        let packets = self.quota.ask(now);
        self.counters.packets += u64::from(packets);
        self.rate.add(now, packets);
        let key = &lookup.key;
        let dnssec_ok = edns.then_some(key.has(Key::DO));
        Some(Ask {
            ticket: Ticket {
                slot,
                serial: lookup.serial,
                attempt: lookup.attempts,
                generation: upstream.generation,
                nameserver,
                edns,
                packets,
                sent: self.stopwatch.now,
            },
            nameserver,
            route: Arc::clone(&upstream.suffix),
            message: reply::upstream_query(key.name(), key.qtype(), key.has(Key::CD), dnssec_ok),
        })
    }
}
