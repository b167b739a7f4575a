//! How an entry of the cache ages: fresh, then stale (RFC 8767), then of no use; and how long
//! failures are remembered (RFC 9520).

use wire::{Ede, ede};

use super::lookup::RECHECK;
use crate::cache::Entry;
use crate::failure::Shown;
use crate::packed::{Kind, Ttls};
use crate::quota::Quota;
use crate::reply::{Asker, Content};
use crate::routes::Upstreams;
use crate::{Millis, SECOND};

/// TTL of a stale answer in seconds (RFC 8767 section 4).
const STALE_TTL: u32 = 30;

/// How long after its TTL a positive answer may still be given (RFC 8767 section 5: 1 to 3 days).
const STALE_POSITIVE: Millis = 86_400 * SECOND;

/// The same for a negative answer, which must end (coredns#3586).
const STALE_NEGATIVE: Millis = 300 * SECOND;

/// How long a failure of upstream is remembered, in seconds, doubled with each lookup that fails
/// again before as long as [`LONGEST_FAILURE`] has passed ... (RFC 9520 section 3.2)
const FIRST_FAILURE: u32 = 1;

/// ... up to this.
const LONGEST_FAILURE: u32 = 30;

impl Entry {
    pub(super) fn end(&self) -> Millis {
        self.stored + Millis::from(self.lifetime) * SECOND
    }

    pub(super) fn is_fresh(&self, now: Millis, upstreams: &Upstreams) -> bool {
        now < self.end()
            && self.generation == upstreams.get(self.via).generation
            && self.answer.kind != Kind::Failure
    }

    pub(super) fn is_servable(&self, now: Millis) -> bool {
        now < self.servable_until()
    }

    pub(super) fn servable_until(&self) -> Millis {
        match self.answer.kind {
            Kind::Positive => self.end() + STALE_POSITIVE,
            Kind::NoData | Kind::NxDomain => self.end() + STALE_NEGATIVE,
            Kind::Failure => 0,
        }
    }

    /// Whether a refresh has failed not long ago.
    pub(super) fn is_to_wait(&self, now: Millis, upstreams: &Upstreams) -> bool {
        now < self.recheck && self.epoch == upstreams.get(self.via).epoch
    }

    /// Gives the reply of a hit, and whether that hit is to begin a refresh.
    pub(super) fn hit(
        &mut self,
        now: Millis,
        quota: &Quota,
        asker: &Asker<'_>,
        out: &mut [u8],
    ) -> (usize, bool) {
        let is_due = now >= self.prefetch && quota.is_ample(now);
        if is_due {
            self.prefetch = now + RECHECK;
        }
        (self.reply(now, asker, out), is_due)
    }

    pub(super) fn failure(&self, now: Millis, upstreams: &Upstreams) -> Option<Shown> {
        let is_failure = self.answer.kind == Kind::Failure;
        let epoch = upstreams.get(self.via).epoch;
        if !is_failure || now >= self.end() || self.epoch != epoch {
            return None;
        }
        let (code, text) = self.answer.tail().split_first_chunk()?;
        Some(Shown {
            rcode: self.answer.rcode(),
            code: u16::from_be_bytes(*code),
            text: String::from_utf8_lossy(text).into_owned(),
        })
    }

    pub(super) fn reply(&mut self, now: Millis, asker: &Asker<'_>, out: &mut [u8]) -> usize {
        let age = self.age(now);
        asker.reply(self.content(Ttls::Aged(age), None), out)
    }

    pub(super) fn stale(&mut self) -> Content<'_> {
        let ede = self.stale_ede();
        self.content(Ttls::Set(STALE_TTL), Some(ede))
    }

    fn stale_ede(&self) -> Ede<'static> {
        let code = match self.answer.kind {
            Kind::NxDomain => ede::STALE_NXDOMAIN,
            _ => ede::STALE_ANSWER,
        };
        Ede { code, text: "" }
    }

    /// What the next client gets of it, fresh or stale, without a turn of the addresses.
    pub(super) fn preview(&self, now: Millis, is_fresh: bool) -> Content<'_> {
        let (ttls, ede) = match is_fresh {
            true => (Ttls::Aged(self.age(now)), None),
            false => (Ttls::Set(STALE_TTL), Some(self.stale_ede())),
        };
        Content::Answer {
            packed: &self.answer,
            ttls,
            turn: self.turn,
            ede,
        }
    }

    fn age(&self, now: Millis) -> u32 {
        let age = now.saturating_sub(self.stored) / SECOND;
        u32::try_from(age).unwrap_or(u32::MAX)
    }

    fn content<'a>(&'a mut self, ttls: Ttls, ede: Option<Ede<'a>>) -> Content<'a> {
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        Content::Answer {
            packed: &self.answer,
            ttls,
            turn,
            ede,
        }
    }
}

/// When a hit on an answer that came `now` begins a refresh: in the last tenth of its life.
pub(super) fn prefetch_at(now: Millis, lifetime: u32) -> Millis {
    now + Millis::from(lifetime) * SECOND * 9 / 10
}

/// For how many seconds to remember a failure of a lookup begun at `began`, after what the cache
/// knew `before`.
pub(super) fn failure_lifetime(before: Option<&mut Entry>, began: Millis, epoch: u32) -> u32 {
    let is_again = |entry: &&mut Entry| {
        let near = entry.end() + Millis::from(LONGEST_FAILURE) * SECOND;
        entry.answer.kind == Kind::Failure && entry.epoch == epoch && began < near
    };
    before.filter(is_again).map_or(FIRST_FAILURE, |entry| {
        (entry.lifetime * 2).min(LONGEST_FAILURE)
    })
}
