//! How many packets may go upstream in a second, and who waits for room.
//!
//! AmazonDNS drops what is above 1024 packets a second from one network interface, so what is above
//! the budget is not sent: it waits here, at most a second's worth of it, and the rest is turned away.
//! Names that were asked before go first: in a flood of random names those are what somebody needs.
//!
//! The budget is a token bucket, kept as GCRA does (ITU-T I.371): by one time alone, at which all that
//! was spent is paid back. The bucket holds a tenth of the budget and is filled with the other nine
//! tenths in a second, so that no second, wherever it begins, sees more than the budget.

use std::collections::BTreeMap;

use crate::Millis;

/// The bucket's part of the budget: one in so many packets, which may go out at once.
const BURST: u64 = 10;

/// Nanoseconds: a packet costs a part of a millisecond.
type Nanos = u64;

const NANOS_IN_MILLI: Nanos = 1_000_000;
const NANOS_IN_SECOND: Nanos = 1_000_000_000;

/// The budget, and the lookups that wait for it.
pub(crate) struct Quota {
    /// What one packet costs; nothing if there is no limit.
    interval: Nanos,
    /// How far ahead of now `paid` may be for a question to go out.
    tolerance: Nanos,
    /// When all that was spent is paid back.
    paid: Nanos,
    /// Packets that a question costs.
    cost: u32,
    /// Packets paid back in a second: as many may wait.
    rate: u64,
    /// By place, the first to go first: lookups by slot.
    waiting: BTreeMap<Place, usize>,
    serial: u64,
}

/// Where a lookup stands among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    rank: Rank,
    serial: u64,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The name was asked before.
    Known,
    /// The name is new.
    New,
    /// Nobody waits, and what is known is fresh: goes out when there is plenty, or not at all.
    Prefetch,
}

impl Quota {
    /// At most `pps` packets in any second, taken as [`BURST`] if it is less; 0 for no limit.
    pub(crate) fn new(pps: u32) -> Self {
        let pps = match pps {
            0 => 0,
            pps => u64::from(pps).max(BURST),
        };
        let burst = pps / BURST;
        let rate = pps - burst;
        let interval = match rate {
            0 => 0,
            rate => NANOS_IN_SECOND.div_ceil(rate),
        };
        Self {
            interval,
            tolerance: burst.saturating_sub(1) * interval,
            paid: 0,
            cost: 1,
            rate,
            waiting: BTreeMap::new(),
            serial: 0,
        }
    }

    /// How many packets a question costs from now on.
    pub(crate) fn set_cost(&mut self, packets: u32) {
        self.cost = packets;
    }

    /// Lookups that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a question may go out at once. Nobody passes those who wait.
    pub(crate) fn is_open(&self, now: Millis) -> bool {
        self.waiting.is_empty() && self.is_ready(now)
    }

    /// Whether there is room for what nobody waits for: half of the bucket is left.
    pub(crate) fn is_ample(&self, now: Millis) -> bool {
        self.waiting.is_empty() && self.paid <= nanos(now).saturating_add(self.tolerance / 2)
    }

    /// Whether a question may go out at once or wait.
    pub(crate) fn admits(&self, now: Millis, rank: Rank) -> bool {
        self.is_open(now) || self.has_room() || self.would_yield(rank).is_some()
    }

    /// Notes that a question goes out, and gives what it costs in packets.
    pub(crate) fn ask(&mut self, now: Millis) -> u32 {
        self.spend(now, self.cost);
        self.cost
    }

    /// Notes that packets go out.
    pub(crate) fn spend(&mut self, now: Millis, packets: u32) {
        let price = self.interval * Nanos::from(packets);
        self.paid = self.paid.max(nanos(now)).saturating_add(price);
    }

    /// Notes that packets did not go out.
    pub(crate) fn refund(&mut self, packets: u32) {
        let price = self.interval * Nanos::from(packets);
        self.paid = self.paid.saturating_sub(price);
    }

    /// Has a lookup wait. Beyond a second's worth a known name takes the place of the newest that is
    /// new, whose lookup is given too.
    pub(crate) fn wait(&mut self, slot: usize, rank: Rank) -> Option<(Place, Option<usize>)> {
        let mut evicted = None;
        if !self.has_room() {
            evicted = self.waiting.remove(&self.would_yield(rank)?);
        }
        Some((self.queue(slot, rank), evicted))
    }

    /// Has a lookup wait among the known names.
    pub(crate) fn promote(&mut self, place: Place) -> Place {
        match self.waiting.remove(&place) {
            Some(slot) => self.queue(slot, Rank::Known),
            None => place,
        }
    }

    /// Lets go of a place.
    pub(crate) fn leave(&mut self, place: Place) {
        self.waiting.remove(&place);
    }

    /// The lookup whose question may go out now, which waits no longer.
    pub(crate) fn next(&mut self, now: Millis) -> Option<usize> {
        if !self.is_ready(now) {
            return None;
        }
        self.waiting.pop_first().map(|(_, slot)| slot)
    }

    /// When [`Quota::next`] will have one.
    pub(crate) fn due(&self) -> Option<Millis> {
        let ready = self.paid.saturating_sub(self.tolerance);
        (!self.waiting.is_empty()).then(|| ready.div_ceil(NANOS_IN_MILLI))
    }

    /// Debts are paid before the next question, so one that costs more than the bucket goes too.
    fn is_ready(&self, now: Millis) -> bool {
        self.paid <= nanos(now).saturating_add(self.tolerance)
    }

    fn has_room(&self) -> bool {
        (self.waiting.len() as u64 + 1) * u64::from(self.cost) <= self.rate
    }

    /// Who gives way to a lookup of this rank.
    fn would_yield(&self, rank: Rank) -> Option<Place> {
        let (last, _) = self.waiting.last_key_value()?;
        (rank < last.rank).then_some(*last)
    }

    fn queue(&mut self, slot: usize, rank: Rank) -> Place {
        self.serial += 1;
        let place = Place {
            rank,
            serial: self.serial,
        };
        self.waiting.insert(place, slot);
        place
    }
}

fn nanos(now: Millis) -> Nanos {
    now.saturating_mul(NANOS_IN_MILLI)
}
