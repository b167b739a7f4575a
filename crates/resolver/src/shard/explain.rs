//! What operators ask: what is known of a question, what upstream says of it now, and that the cache
//! forget. None of it is on a client's way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::{CLASS_IN, Edns, Flags, Name, Question, rcode};

use super::ask::Asked;
use super::{LOOKUP, MAX_WAITERS, Shard, Step};
use crate::Millis;
use crate::cache::Entry;
use crate::counters::{Counters, Durations};
use crate::failure::Failure;
use crate::failures::LastFailure;
use crate::key::{Key, name_of};
use crate::pending::{Lookup, Waiter};
use crate::pins::Held;
use crate::policy::{self, Verdict};
use crate::quota::Rank;
use crate::reply::{Asker, Content, MAX_REPLY, Transport};
use crate::routes::Via;
use crate::servers::Nameserver;

/// What is known of a question that a client without DNSSEC asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// It is answered here, and never goes upstream.
    pub local: Option<Local>,
    /// What the cache has to say of it.
    pub cached: Option<Cached>,
    /// A nameserver is being asked.
    pub under_way: Option<UnderWay>,
    /// The suffix of the route that it takes; the root for the discovered nameservers.
    pub route: Name,
    /// What the pins say of it, if there are any.
    pub held: Option<Held>,
    /// Who is asked, in the order of preference.
    pub nameservers: Vec<Nameserver>,
    /// The last lookup of it that failed, and how long ago; none if none of the last 128 was of it.
    pub failure: Option<(Duration, LastFailure)>,
}

/// Why a question never goes upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// This machine itself (RFC 6761).
    Localhost,
    /// A name that never exists (RFC 6761).
    Invalid,
    /// All types at once (RFC 8482).
    Any,
    /// It is refused, for this reason.
    Refused(String),
}

/// What the cache gives for a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Since the answer came.
    pub age: Duration,
    /// What it is good for, and for how long.
    pub left: Left,
    /// The reply of which the next client gets this, in whole.
    pub message: Vec<u8>,
}

/// For how long an entry of the cache is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Clients get it.
    Fresh(Duration),
    /// Its TTL has passed: clients get it when upstream does not answer.
    Stale(Duration),
    /// Other nameservers gave it, before they changed: as good as stale.
    Superseded(Duration),
    /// A failure: clients get it, and nobody is asked.
    Failure(Duration),
}

/// A lookup that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Since it began.
    pub since: Duration,
    /// The nameserver asked last.
    pub asked: Option<SocketAddr>,
    /// Clients that wait for it.
    pub waiters: usize,
    /// It waits for the quota.
    pub is_queued: bool,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Lookups under way.
    pub lookups: usize,
    /// Clients that wait for them.
    pub waiters: usize,
    /// Packets to nameservers in the last whole second.
    pub packets_per_second: u64,
}

impl<C> Shard<C> {
    /// What is known of a question. Changes nothing.
    pub fn explain(&mut self, now: Instant, name: &Name, qtype: u16) -> Explained {
        let now = self.millis(now);
        let question = question(name, qtype);
        let key = Key::new(&question, 0);
        let hash = self.hash.of(key.as_bytes());
        let via = self.upstreams.of(key.name());
        let upstream = self.upstreams.get(via);
        let slot = self.pending.find(hash, &key);
        let failure = self.failures.of(hash, &key);
        Explained {
            local: local(&question),
            cached: self.cached(now, &key),
            under_way: slot
                .and_then(|slot| self.pending.get(slot))
                .map(|lookup| under_way(now, lookup)),
            route: *upstream.suffix,
            held: self.pins.explain(name),
            nameservers: upstream.servers.health(now),
            failure: failure.map(|(at, failure)| (since(at, now), failure.clone())),
        }
    }

    /// Asks a nameserver, whatever the cache knows, as for a client that has just come with a new name:
    /// within the quota, and with all retries. Nothing of it is kept. The reply says in an Extended DNS
    /// Error (RFC 8914) which nameserver answered.
    ///
    /// A reply that is known at once is written into `out`, as by [`Shard::query`].
    pub fn look_up(
        &mut self,
        now: Instant,
        client: C,
        name: &Name,
        qtype: u16,
        out: &mut [u8],
    ) -> Step {
        self.stopwatch.now = now;
        let now = self.millis(now);
        let asker = asker(name, qtype);
        let key = Key::new(&asker.question, Key::PAST_CACHE);
        match policy::judge(&asker.question) {
            Verdict::Forward => {}
            verdict => return Step::Reply(self.reply_locally(now, &asker, &key, verdict, out)),
        }
        let hash = self.hash.of(key.as_bytes());
        let slot = self.pending.find(hash, &key);
        let full = self.pending.waiters() >= MAX_WAITERS || slot.is_none() && self.is_full();
        let refused = match full {
            true => Some(Failure::Overload),
            false => {
                (slot.is_none() && !self.quota.admits(now, Rank::New)).then_some(Failure::Quota)
            }
        };
        if let Some(failure) = refused {
            return Step::Reply(asker.reply(Content::Failure(&failure.show()), out));
        }
        if let Some(slot) = slot {
            self.pending.wait(slot, Waiter::new(client, None, &asker));
            return Step::Wait;
        }
        let via = self.upstreams.of(key.name());
        let lookup = Lookup::new(key, hash, via, now + LOOKUP, None, Rank::New);
        let slot = self.begin(now, lookup);
        self.pending.wait(slot, Waiter::new(client, None, &asker));
        let asked = self.ask(now, slot);
        self.pending.schedule(slot);
        match asked {
            Asked::Now(ask) => Step::Ask(ask),
            _ => Step::Wait,
        }
    }

    /// What has been done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            cache_entries: self.cache.len() as u64,
            cache_bytes: self.cache.bytes() as u64,
            queued: self.quota.len() as u64,
            ..self.counters
        }
    }

    /// How long it took so far.
    #[must_use]
    pub fn durations(&self) -> Durations {
        self.stopwatch.durations
    }

    /// Has the cache forget a name with all its types, or everything, and gives the number of entries
    /// that went. Looks at every entry.
    pub fn flush(&mut self, name: Option<&Name>) -> usize {
        self.cache
            .remove_all(|key| name.is_none_or(|name| name_of(key) == name.as_bytes()))
    }

    /// All nameservers by the suffix of their names: first the discovered ones, with the root.
    pub fn nameservers(&self, now: Instant) -> Vec<(Name, Vec<Nameserver>)> {
        let now = self.millis(now);
        let discovered = std::iter::once(self.upstreams.get(Via::DEFAULT));
        discovered
            .chain(self.upstreams.routed())
            .map(|upstream| (*upstream.suffix, upstream.servers.health(now)))
            .collect()
    }

    /// How much there is to do.
    pub fn load(&self, now: Instant) -> Load {
        Load {
            lookups: self.pending.len(),
            waiters: self.pending.waiters(),
            packets_per_second: self.rate.at(self.millis(now)),
        }
    }

    /// How many lookups have failed so far.
    pub fn failed(&self) -> u64 {
        self.failures.count()
    }

    /// Those that failed after the first `count`, as far as they are remembered.
    pub fn failed_since(&self, count: u64) -> impl Iterator<Item = &LastFailure> {
        self.failures.since(count)
    }

    fn cached(&self, now: Millis, key: &Key) -> Option<Cached> {
        let peek = |key: &Key| {
            let key = key.as_bytes();
            self.cache.peek(self.hash.of(key), key)
        };
        let own = peek(key);
        let either = || [own, peek(&key.without_type())].into_iter().flatten();
        let fresh = either().find(|entry| entry.is_fresh(now, &self.upstreams));
        let entry = fresh.or_else(|| either().find(|entry| entry.is_servable(now)));
        if let Some(entry) = entry {
            let left = match fresh {
                Some(_) => Left::Fresh(since(now, entry.end())),
                None if now < entry.end() => Left::Superseded(since(now, entry.servable_until())),
                None => Left::Stale(since(now, entry.servable_until())),
            };
            let content = entry.preview(now, fresh.is_some());
            return Some(cached(now, entry, key, left, content));
        }
        let entry = own?;
        let shown = entry.failure(now, &self.upstreams)?;
        let left = Left::Failure(since(now, entry.end()));
        Some(cached(now, entry, key, left, Content::Failure(&shown)))
    }
}

fn cached(now: Millis, entry: &Entry, key: &Key, left: Left, content: Content<'_>) -> Cached {
    let asker = Asker {
        question: Question {
            name: key.name(),
            qtype: key.qtype(),
            qclass: CLASS_IN,
        },
        ..asker(&Name::ROOT, 0)
    };
    let mut message = vec![0; MAX_REPLY];
    let length = asker.reply(content, &mut message);
    message.truncate(length);
    Cached {
        age: since(entry.stored, now),
        left,
        message,
    }
}

fn under_way<C>(now: Millis, lookup: &Lookup<C>) -> UnderWay {
    UnderWay {
        since: since(lookup.deadline.saturating_sub(LOOKUP), now),
        asked: lookup.asked,
        waiters: lookup.waiters.len(),
        is_queued: lookup.place.is_some(),
    }
}

/// What policy says of a question, in words.
fn local(question: &Question<'_>) -> Option<Local> {
    match policy::judge(question) {
        Verdict::Forward => None,
        Verdict::Any => Some(Local::Any),
        Verdict::Local {
            rcode: rcode::NXDOMAIN,
            ..
        } => Some(Local::Invalid),
        Verdict::Local { .. } => Some(Local::Localhost),
        Verdict::Refuse(failure) => Some(Local::Refused(failure.show().text)),
    }
}

fn question(name: &Name, qtype: u16) -> Question<'_> {
    Question {
        name: name.as_bytes(),
        qtype,
        qclass: CLASS_IN,
    }
}

/// An operator, who takes replies of any size.
fn asker(name: &Name, qtype: u16) -> Asker<'_> {
    Asker {
        id: 0,
        flags: Flags(Flags::RD),
        question: question(name, qtype),
        edns: Some(Edns {
            udp_size: u16::MAX,
            version: 0,
            rcode_high: 0,
            dnssec_ok: false,
            ede: None,
        }),
        transport: Transport::Tcp,
    }
}

fn since(then: Millis, now: Millis) -> Duration {
    Duration::from_millis(now.saturating_sub(then))
}
