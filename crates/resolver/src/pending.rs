//! Lookups under way, as data: who waits for what, and when something is due.
//!
//! Every lookup ends by its deadline, so the list drains by itself; how many lookups and waiters it
//! holds is bounded by the shard.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Instant;

use hashbrown::HashTable;
use slab::Slab;
use wire::{CLASS_IN, Edns, Flags, Question};

use crate::Millis;
use crate::failure::Failure;
use crate::key::Key;
use crate::quota::{Place, Rank};
use crate::reply::{Asker, Transport};
use crate::routes::Via;
use crate::servers::Tried;

/// Names one attempt of one lookup at one nameserver. A ticket of an attempt that has ended is
/// recognized and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) slot: usize,
    pub(crate) serial: u32,
    pub(crate) attempt: u32,
    /// Nameservers of the lookup's route of which this was one.
    pub(crate) generation: u32,
    pub(crate) nameserver: SocketAddr,
    /// OPT was sent.
    pub(crate) edns: bool,
    /// What the question costs of the quota.
    pub(crate) packets: u32,
    /// When it was made.
    pub(crate) sent: Instant,
}

/// All lookups under way.
pub(crate) struct Pending<C> {
    lookups: Slab<Lookup<C>>,
    table: HashTable<usize>,
    /// When which lookup, by slot and serial, is to be looked at. Entries of lookups that have ended
    /// are skipped; the first is never one of them.
    due: BinaryHeap<Reverse<(Millis, usize, u32)>>,
    serial: u32,
    waiters: usize,
}

/// Ended lookups leave their entries in [`Pending::due`] behind. When it holds more than this, and
/// four for each lookup under way, it is made anew: 24 KiB that need not be swept each time.
const MAX_ENDED: usize = 1024;

/// One question on its way to an answer. It always has an attempt in flight, a `retry_at` or a place
/// among those that wait for the quota, unless no nameserver is known.
pub(crate) struct Lookup<C> {
    pub(crate) serial: u32,
    pub(crate) key: Key,
    pub(crate) hash: u64,
    /// Whose nameservers are asked.
    pub(crate) via: Via,
    pub(crate) waiters: Vec<Waiter<C>>,
    /// Then it fails.
    pub(crate) deadline: Millis,
    /// Then a stale answer goes out.
    pub(crate) stale_at: Option<Millis>,
    /// A stale answer has gone out: who asks now need not wait.
    pub(crate) stale_sent: bool,
    /// Then the nameserver asked last counts as silent.
    pub(crate) attempt_at: Option<Millis>,
    /// Then a nameserver is asked again.
    pub(crate) retry_at: Option<Millis>,
    /// Then it fails if the link has been silent until then.
    pub(crate) link_at: Option<Millis>,
    /// Attempts so far; the number of the one made last.
    pub(crate) attempts: u32,
    /// Attempts without a result yet, by number.
    pub(crate) in_flight: Vec<u32>,
    pub(crate) tried: Tried,
    /// Nameservers that `tried` counts in.
    pub(crate) generation: u32,
    /// Attempts that the link lost.
    pub(crate) lost: u32,
    /// Times that all nameservers have been asked again.
    pub(crate) rounds: u32,
    /// Who goes before whom when the quota is short.
    pub(crate) rank: Rank,
    /// Where it waits for the quota.
    pub(crate) place: Option<Place>,
    /// To be asked next, without OPT.
    pub(crate) plain: Option<SocketAddr>,
    /// The nameserver asked last.
    pub(crate) asked: Option<SocketAddr>,
    /// What went wrong last.
    pub(crate) failure: Option<Failure>,
    /// The time of this lookup's entry in [`Pending::due`].
    scheduled: Millis,
}

/// A client whose query waits for a lookup.
pub(crate) struct Waiter<C> {
    pub(crate) client: C,
    /// When its query came; none for an operator's.
    pub(crate) since: Option<Instant>,
    id: u16,
    flags: Flags,
    edns: Option<Edns>,
    transport: Transport,
    qtype: u16,
    /// The name as the client wrote it.
    name: Box<[u8]>,
}

impl<C> Waiter<C> {
    pub(crate) fn new(client: C, since: Option<Instant>, asker: &Asker<'_>) -> Self {
        Self {
            client,
            since,
            id: asker.id,
            flags: asker.flags,
            edns: asker.edns,
            transport: asker.transport,
            qtype: asker.question.qtype,
            name: asker.question.name.into(),
        }
    }

    pub(crate) fn asker(&self) -> Asker<'_> {
        Asker {
            id: self.id,
            flags: self.flags,
            question: Question {
                name: &self.name,
                qtype: self.qtype,
                qclass: CLASS_IN,
            },
            edns: self.edns,
            transport: self.transport,
        }
    }
}

impl<C> Lookup<C> {
    pub(crate) fn new(
        key: Key,
        hash: u64,
        via: Via,
        deadline: Millis,
        stale_at: Option<Millis>,
        rank: Rank,
    ) -> Self {
        Self {
            serial: 0,
            key,
            hash,
            via,
            waiters: Vec::new(),
            deadline,
            stale_at,
            stale_sent: false,
            attempt_at: None,
            retry_at: None,
            link_at: None,
            attempts: 0,
            in_flight: Vec::new(),
            tried: Tried::default(),
            generation: 0,
            lost: 0,
            rounds: 0,
            rank,
            place: None,
            plain: None,
            asked: None,
            failure: None,
            scheduled: Millis::MAX,
        }
    }

    /// Takes note of the nameservers that there are now: those of before count no longer.
    pub(crate) fn follow(&mut self, generation: u32) {
        if self.generation != generation {
            self.generation = generation;
            self.tried = Tried::default();
            self.plain = None;
        }
    }

    /// Notes that an attempt has its result; false if it had one before.
    pub(crate) fn end_attempt(&mut self, attempt: u32) -> bool {
        let Some(at) = self.in_flight.iter().position(|other| *other == attempt) else {
            return false;
        };
        self.in_flight.swap_remove(at);
        if attempt == self.attempts {
            self.attempt_at = None;
        }
        true
    }

    /// When something is due next.
    fn next(&self) -> Millis {
        [self.stale_at, self.attempt_at, self.retry_at, self.link_at]
            .into_iter()
            .flatten()
            .fold(self.deadline, Millis::min)
    }
}

impl<C> Pending<C> {
    pub(crate) fn new() -> Self {
        Self {
            lookups: Slab::new(),
            table: HashTable::new(),
            due: BinaryHeap::new(),
            serial: 0,
            waiters: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lookups.len()
    }

    pub(crate) fn waiters(&self) -> usize {
        self.waiters
    }

    pub(crate) fn find(&self, hash: u64, key: &Key) -> Option<usize> {
        let same = |&slot: &usize| {
            self.lookups
                .get(slot)
                .is_some_and(|lookup| lookup.key.as_bytes() == key.as_bytes())
        };
        self.table.find(hash, same).copied()
    }

    pub(crate) fn get(&mut self, slot: usize) -> Option<&mut Lookup<C>> {
        self.lookups.get_mut(slot)
    }

    /// The lookup that a ticket is for, unless it has ended.
    pub(crate) fn of(&mut self, ticket: Ticket) -> Option<&mut Lookup<C>> {
        self.get(ticket.slot)
            .filter(|lookup| lookup.serial == ticket.serial)
    }

    pub(crate) fn slots(&self) -> Vec<usize> {
        self.lookups.iter().map(|(slot, _)| slot).collect()
    }

    pub(crate) fn insert(&mut self, mut lookup: Lookup<C>) -> usize {
        self.serial = self.serial.wrapping_add(1);
        lookup.serial = self.serial;
        let hash = lookup.hash;
        let slot = self.lookups.insert(lookup);
        let lookups = &self.lookups;
        self.table
            .insert_unique(hash, slot, |&slot| lookups[slot].hash);
        slot
    }

    pub(crate) fn wait(&mut self, slot: usize, waiter: Waiter<C>) {
        if let Some(lookup) = self.lookups.get_mut(slot) {
            lookup.waiters.push(waiter);
            self.waiters += 1;
        }
    }

    /// Takes all who wait for a lookup, which goes on.
    pub(crate) fn take_waiters(&mut self, slot: usize) -> Vec<Waiter<C>> {
        let waiters = self
            .lookups
            .get_mut(slot)
            .map(|lookup| std::mem::take(&mut lookup.waiters))
            .unwrap_or_default();
        self.waiters -= waiters.len();
        waiters
    }

    /// Ends a lookup and gives it back with all who wait.
    pub(crate) fn remove(&mut self, slot: usize) -> Option<Lookup<C>> {
        let lookup = self.lookups.try_remove(slot)?;
        self.waiters -= lookup.waiters.len();
        if let Ok(found) = self.table.find_entry(lookup.hash, |&other| other == slot) {
            found.remove();
        }
        self.skip_ended();
        Some(lookup)
    }

    /// Restores the invariant of `due`.
    fn skip_ended(&mut self) {
        while let Some(&Reverse((_, slot, serial))) = self.due.peek() {
            let lookup = self.lookups.get(slot);
            if lookup.is_some_and(|lookup| lookup.serial == serial) {
                return;
            }
            self.due.pop();
        }
    }

    /// Notes when a lookup is to be looked at next; to be called after each change to it.
    pub(crate) fn schedule(&mut self, slot: usize) {
        let Some(lookup) = self.lookups.get_mut(slot) else {
            return;
        };
        let next = lookup.next();
        if next < lookup.scheduled {
            lookup.scheduled = next;
            self.due.push(Reverse((next, slot, lookup.serial)));
        }
        if self.due.len() > 4 * self.lookups.len() + MAX_ENDED {
            let entry = |(slot, lookup): (usize, &Lookup<C>)| {
                Reverse((lookup.scheduled, slot, lookup.serial))
            };
            self.due = self.lookups.iter().map(entry).collect();
        }
    }

    /// When [`Pending::due`] has something to give; `None` if no lookup is under way.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next lookup for which something is due by now.
    pub(crate) fn due(&mut self, now: Millis) -> Option<usize> {
        while self.next_due()? <= now {
            let Reverse((at, slot, serial)) = self.due.pop()?;
            let Some(lookup) = self.lookups.get_mut(slot) else {
                continue;
            };
            if lookup.serial != serial || lookup.scheduled != at {
                continue;
            }
            lookup.scheduled = Millis::MAX;
            if lookup.next() <= now {
                return Some(slot);
            }
            self.schedule(slot);
        }
        self.skip_ended();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(number: u32, deadline: Millis) -> Lookup<()> {
        let name = [&b"\x04"[..], &number.to_be_bytes(), b"\0"].concat();
        let question = Question {
            name: &name,
            qtype: 1,
            qclass: CLASS_IN,
        };
        let key = Key::new(&question, 0);
        Lookup::new(key, number.into(), Via::DEFAULT, deadline, None, Rank::New)
    }

    #[test]
    fn ended_lookups_do_not_pile_up_behind_one_that_goes_on() {
        let mut pending = Pending::new();
        let first = pending.insert(lookup(0, 1));
        pending.schedule(first);
        for number in 1..100_000 {
            let slot = pending.insert(lookup(number, 4000));
            pending.schedule(slot);
            pending.remove(slot);
            assert!(pending.due.len() <= MAX_ENDED + 9);
        }
        assert_eq!((pending.next_due(), pending.due(1)), (Some(1), Some(first)));
        pending.remove(first);
        assert_eq!((pending.next_due(), pending.due(u64::MAX)), (None, None));
        assert!(pending.due.is_empty());
    }

    #[test]
    fn a_lookup_is_due_once_and_when_its_next_time_comes() {
        let mut pending = Pending::new();
        let slot = pending.insert(lookup(0, 4000));
        for attempt_at in [1500, 1000, 2000] {
            pending.get(slot).unwrap().attempt_at = Some(attempt_at);
            pending.schedule(slot);
        }
        assert_eq!(pending.due(1999), None);
        assert_eq!(pending.next_due(), Some(2000));
        assert_eq!(pending.due(2000), Some(slot));
        pending.get(slot).unwrap().attempt_at = None;
        pending.schedule(slot);
        assert_eq!(pending.due(3999), None);
        assert_eq!(pending.due(4000), Some(slot));
    }
}
