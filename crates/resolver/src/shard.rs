//! The core's face: what a client's query, a nameserver's answer and the passing of time lead to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::{Flags, Name, Query, QueryError, rcode};

use crate::cache::{Cache, Entry};
use crate::counters::{Counters, Rate, Stopwatch};
use crate::failure::{Failure, Shown};
use crate::failures::Failures;
use crate::key::{Key, KeyedHash};
use crate::link::Link;
use crate::pending::{Lookup, Pending, Ticket, Waiter};
use crate::pins::{Pins, Refusal, Reports};
use crate::policy::{self, Verdict};
use crate::query_log::{Logged, Outcome, QueryLog};
use crate::quota::{Quota, Rank};
use crate::reply::{self, Asker, Content, MAX_REPLY, Transport};
use crate::routes::{Routes, Upstreams, Via};
use crate::servers::Servers;
use crate::{Millis, SECOND};

mod age;
mod ask;
mod explain;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
// The fuzzer needs less of it than the tests.
#[cfg(any(test, feature = "fuzz"))]
#[cfg_attr(not(test), allow(dead_code))]
mod lab;
mod lookup;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod random;
mod replies;
#[cfg(test)]
mod tests;

use ask::Asked;
pub use explain::{Cached, Explained, Left, Load, Local, UnderWay};

/// Stub and client nest their deadlines: the relay answers within 2.5 s, a lookup ends within this,
/// and clients wait 5 s.
const LOOKUP: Millis = 4 * SECOND;

/// How long upstream may take before a stale answer goes out (RFC 8767 section 5 says 1.8 s; a
/// stub's clients are nearer).
const STALE_AFTER: Millis = 500;

/// Most lookups under way; a relay takes 1,024 at a time from each connection.
const MAX_LOOKUPS: usize = 4096;

/// Most clients waiting, over all lookups.
const MAX_WAITERS: usize = 16_384;

/// Settings of a shard.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes that the cache may take, all its costs counted.
    pub cache_size: usize,
    /// Key of the hash of names; must be random, since names come from outside.
    pub seed: [u64; 2],
    /// Who is asked for names under some suffixes; for all others those of
    /// [`Shard::set_nameservers`] are.
    pub routes: Routes,
    /// Where the addresses of names under some suffixes must lie.
    pub pins: Pins,
    /// Packets that may go upstream in any second, at least 10; 0 for no limit.
    pub upstream_pps: u32,
}

/// Cache, lookups under way and nameservers of one stub. `C` is how the driver finds a client again.
pub struct Shard<C> {
    start: Instant,
    hash: KeyedHash,
    cache: Cache,
    pending: Pending<C>,
    upstreams: Upstreams,
    pins: Pins,
    reports: Reports,
    quota: Quota,
    link: Link,
    counters: Counters,
    stopwatch: Stopwatch,
    /// Of packets to nameservers.
    rate: Rate,
    failures: Failures,
    log: QueryLog,
    /// Where replies to those who waited are written.
    scratch: Box<[u8]>,
}

/// What becomes of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The reply stands in `out`, this many bytes.
    Reply(usize),
    /// The reply stands in `out`, this many bytes; and a nameserver is to be asked, so that the answer
    /// is there anew when it expires.
    ReplyAndAsk(usize, Ask),
    /// The client will be replied to by a later [`Action`]; a nameserver is to be asked first.
    Ask(Ask),
    /// The client will be replied to by a later [`Action`].
    Wait,
    /// Not a query: no reply.
    Drop,
}

/// A query for a nameserver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// To be handed back with the result.
    pub ticket: Ticket,
    /// Whom to ask.
    pub nameserver: SocketAddr,
    /// Why that one: the suffix of the route, or the root.
    pub route: Arc<Name>,
    /// The message, with id 0 for the driver to overwrite.
    pub message: Vec<u8>,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<C> {
    /// Send a query to a nameserver.
    Ask(Ask),
    /// Send a reply to a client.
    Reply {
        /// As given with the query.
        client: C,
        /// The whole message, within what the client takes.
        message: Vec<u8>,
    },
}

impl<C> Shard<C> {
    /// An empty shard that knows no nameservers but those of its routes. `now` is where its time
    /// starts.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            start: now,
            hash: KeyedHash::new(config.seed),
            cache: Cache::new(config.cache_size),
            pending: Pending::new(),
            upstreams: Upstreams::new(&config.routes),
            reports: Reports::new(&config.pins),
            pins: config.pins,
            quota: Quota::new(config.upstream_pps),
            link: Link::default(),
            counters: Counters::default(),
            stopwatch: Stopwatch::new(now),
            rate: Rate::default(),
            failures: Failures::default(),
            log: QueryLog::default(),
            scratch: vec![0; MAX_REPLY].into_boxed_slice(),
        }
    }

    /// Takes a client's packet. A reply that is known at once is written into `out`, which should
    /// have room for [`MAX_UDP_REPLY`](crate::MAX_UDP_REPLY) or [`MAX_REPLY`](crate::MAX_REPLY)
    /// bytes: a longer one is cut.
    ///
    /// A hit allocates nothing.
    pub fn query(
        &mut self,
        now: Instant,
        client: C,
        transport: Transport,
        packet: &[u8],
        out: &mut [u8],
    ) -> Step {
        let at = now;
        let now = self.millis(at);
        let query = match Query::parse(packet) {
            Ok(query) => query,
            Err(QueryError::Ignore) => {
                self.counters.dropped += 1;
                return Step::Drop;
            }
            Err(QueryError::Reject {
                rcode,
                question_end,
            }) => {
                self.counters.queries += 1;
                self.counters.local += 1;
                if let Some(notes) = self.log.notes() {
                    notes.malformed(at, transport, rcode);
                }
                return Step::Reply(reply::reject(packet, rcode, question_end, out));
            }
        };
        self.counters.queries += 1;
        let asker = Asker::new(&query, transport);
        let key = Key::new(&query.question, key_flags(&query));
        match policy::judge(&query.question) {
            Verdict::Forward => {}
            verdict => {
                let length = self.reply_locally(now, &asker, &key, verdict, out);
                if let Some(notes) = self.log.notes() {
                    notes.at_once(at, &asker, Outcome::Policy, None, written(out, length));
                }
                return Step::Reply(length);
            }
        }
        let hash = self.hash.of(key.as_bytes());
        if let Some(entry) = self.cache.get(hash, key.as_bytes())
            && entry.is_fresh(now, &self.upstreams)
        {
            self.counters.hits += 1;
            let (length, is_due) = entry.hit(now, &self.quota, &asker, out);
            if let Some(notes) = self.log.notes() {
                notes.at_once(at, &asker, Outcome::Hit, None, written(out, length));
            }
            if is_due {
                self.stopwatch.now = at;
                return self.prefetch(now, key, hash, length);
            }
            return Step::Reply(length);
        }
        self.stopwatch.now = at;
        self.miss(now, client, &asker, key, hash, out)
    }

    /// Takes the nameservers of all names that no route takes, in the order of preference. Answers of
    /// earlier ones are fresh no longer but may be given as stale.
    pub fn set_nameservers(
        &mut self,
        now: Instant,
        nameservers: &[SocketAddr],
        actions: &mut Vec<Action<C>>,
    ) {
        self.stopwatch.now = now;
        let upstream = self.upstreams.get_mut(Via::DEFAULT);
        if upstream.servers.are(nameservers) {
            return;
        }
        upstream.servers = Servers::new(nameservers);
        upstream.generation = upstream.generation.wrapping_add(1);
        upstream.forget_failures();
        self.ask_what_waits(now, |via| via == Via::DEFAULT, actions);
    }

    /// Says that the link to the parent is up again: failures are forgotten, and lookups that
    /// waited for it go out.
    pub fn link_is_up(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        self.stopwatch.now = now;
        self.link.is_heard(self.millis(now));
        self.forget_failures();
        self.ask_what_waits(now, |_| true, actions);
    }

    /// Says that the link gave a sign of life that is no answer, such as a connection.
    pub fn link_is_heard(&mut self, now: Instant) {
        self.hear(self.millis(now));
    }

    /// Says that nothing came of the link since `since`, though it was asked for something. After 3 s of
    /// that lookups end soon, those under way too, until something is heard of it again.
    pub fn link_is_silent(&mut self, now: Instant, since: Instant) {
        let (now, since) = (self.millis(now), self.millis(since));
        if !self.link.is_silent(since) {
            return;
        }
        for slot in self.pending.slots() {
            if let Some(lookup) = self.pending.get(slot) {
                lookup.link_at = self.link.patience(now);
                self.pending.schedule(slot);
            }
        }
    }

    /// Whether the result of a question is still waited for.
    pub fn is_wanted(&mut self, ticket: Ticket) -> bool {
        let lookup = self.pending.of(ticket);
        lookup.is_some_and(|lookup| lookup.in_flight.contains(&ticket.attempt))
    }

    /// Says how many packets a question costs upstream from now on: one over UDP, two over TCP, with the
    /// acknowledgement of its answer.
    pub fn set_cost(&mut self, packets: u32) {
        self.quota.set_cost(packets);
    }

    /// Says that packets went upstream that no [`Ask`] was for, such as those that open a connection.
    pub fn spend(&mut self, now: Instant, packets: u32) {
        let now = self.millis(now);
        self.quota.spend(now, packets);
        self.counters.packets += u64::from(packets);
        self.rate.add(now, packets);
    }

    /// An answer that was refused since the last call and that the operator is to hear of; at most
    /// one a minute for a pin.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.reports.take()
    }

    /// Has each query noted from now on, for [`Shard::take_logged`].
    pub fn log_queries(&mut self, now: Instant) {
        self.log.start(now);
    }

    /// The queries that have had their reply since the last call, if they are noted; of a flood not all.
    pub fn take_logged(&mut self) -> Vec<Logged> {
        self.log.take()
    }

    /// When [`Shard::tick`] is to be called next; `None` while no lookup is under way.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let due = [self.pending.next_due(), self.quota.due()];
        let due = due.into_iter().flatten().min()?;
        Some(self.start + Duration::from_millis(due))
    }

    fn millis(&self, now: Instant) -> Millis {
        let since = now.saturating_duration_since(self.start).as_millis();
        Millis::try_from(since).unwrap_or(Millis::MAX)
    }

    fn reply_locally(
        &mut self,
        now: Millis,
        asker: &Asker<'_>,
        key: &Key,
        verdict: Verdict,
        out: &mut [u8],
    ) -> usize {
        self.counters.local += 1;
        let (rcode, record) = match verdict {
            Verdict::Refuse(failure) => return asker.reply(Content::Failure(&failure.show()), out),
            Verdict::Any => match denial(&mut self.cache, &self.hash, &self.upstreams, now, key) {
                Some(denial) => return denial.reply(now, asker, out),
                None => (rcode::NOERROR, Some(policy::hinfo(&asker.question))),
            },
            Verdict::Local { rcode, record } => (rcode, record),
            Verdict::Forward => return 0,
        };
        let (answer, authority) = match record {
            Some(record) => (record, Vec::new()),
            None => (Vec::new(), policy::soa(&asker.question)),
        };
        let content = Content::Local {
            rcode,
            answer: &answer,
            authority: &authority,
        };
        asker.reply(content, out)
    }

    fn miss(
        &mut self,
        now: Millis,
        client: C,
        asker: &Asker<'_>,
        key: Key,
        hash: u64,
        out: &mut [u8],
    ) -> Step {
        if let Some(denial) = denial(&mut self.cache, &self.hash, &self.upstreams, now, &key) {
            self.counters.hits += 1;
            let (length, is_due) = denial.hit(now, &self.quota, asker, out);
            if let Some(notes) = self.log.notes() {
                notes.at_once(
                    self.stopwatch.now,
                    asker,
                    Outcome::Negative,
                    None,
                    written(out, length),
                );
            }
            return match is_due {
                false => Step::Reply(length),
                true => self.prefetch(now, key, hash, length),
            };
        }
        let slot = self.pending.find(hash, &key);
        let under_way = slot.and_then(|slot| self.pending.get(slot));
        let late = under_way.is_some_and(|lookup| lookup.stale_sent);
        let full = self.pending.waiters() >= MAX_WAITERS || slot.is_none() && self.is_full();
        let fits = |rank| slot.is_some() || self.quota.admits(now, rank);
        let mut rank = Rank::New;
        if let Some(entry) = stale_entry(&mut self.cache, &self.hash, now, &key) {
            rank = Rank::Known;
            if late || full || !fits(rank) || entry.is_to_wait(now, &self.upstreams) {
                let content = entry.stale();
                let length = asker.reply(content, out);
                if let Some(notes) = self.log.notes() {
                    notes.at_once(
                        self.stopwatch.now,
                        asker,
                        Outcome::Stale,
                        content.ede(),
                        written(out, length),
                    );
                }
                self.counters.stale += 1;
                return Step::Reply(length);
            }
        } else if let Some(entry) = self.cache.get(hash, key.as_bytes())
            && let Some(shown) = entry.failure(now, &self.upstreams)
        {
            self.counters.cached_failures += 1;
            let outcome = Outcome::of_failure(shown.code);
            return Step::Reply(self.refuse(asker, &shown, outcome, out));
        }
        let fits = fits(rank);
        if full || !fits {
            let counters = &mut self.counters;
            let (counter, failure, outcome) = match full {
                true => (&mut counters.overload, Failure::Overload, Outcome::Overload),
                false => (&mut counters.over_quota, Failure::Quota, Outcome::OverQuota),
            };
            *counter += 1;
            return Step::Reply(self.refuse(asker, &failure.show(), outcome, out));
        }
        if let Some(slot) = slot {
            self.counters.coalesced += 1;
            self.join(slot);
            let waiter = Waiter::new(client, Some(self.stopwatch.now), asker);
            self.pending.wait(slot, waiter);
            return Step::Wait;
        }
        self.counters.misses += 1;
        let stale_at = (rank == Rank::Known).then_some(now + STALE_AFTER);
        let via = self.upstreams.of(key.name());
        let lookup = Lookup::new(key, hash, via, now + LOOKUP, stale_at, rank);
        let slot = self.begin(now, lookup);
        let waiter = Waiter::new(client, Some(self.stopwatch.now), asker);
        self.pending.wait(slot, waiter);
        let asked = self.ask(now, slot);
        self.pending.schedule(slot);
        match asked {
            Asked::Now(ask) => Step::Ask(ask),
            _ => Step::Wait,
        }
    }

    fn begin(&mut self, now: Millis, mut lookup: Lookup<C>) -> usize {
        lookup.link_at = self.link.patience(now);
        self.pending.insert(lookup)
    }

    /// After a sign of life from the link: what failed while it was lost may be well.
    fn hear(&mut self, now: Millis) {
        if self.link.is_heard(now) {
            self.forget_failures();
        }
    }

    fn forget_failures(&mut self) {
        for upstream in self.upstreams.iter_mut() {
            upstream.servers.wake();
            upstream.forget_failures();
        }
    }

    /// Writes a failure that is known at once, and gives its length.
    fn refuse(
        &mut self,
        asker: &Asker<'_>,
        shown: &Shown,
        outcome: Outcome,
        out: &mut [u8],
    ) -> usize {
        self.counters.servfail += 1;
        let length = asker.reply(Content::Failure(shown), out);
        if let Some(notes) = self.log.notes() {
            notes.at_once(
                self.stopwatch.now,
                asker,
                outcome,
                Some(shown.code),
                written(out, length),
            );
        }
        length
    }

    fn is_full(&self) -> bool {
        self.pending.len() >= MAX_LOOKUPS
    }
}

fn written(out: &[u8], length: usize) -> &[u8] {
    out.get(..length).unwrap_or_default()
}

/// The entry that says NXDOMAIN of this name: then no type of it exists.
///
/// Names below it are asked for all the same, though RFC 8020 would deny them. AmazonDNS answers
/// from private hosted zones laid over the public tree: `a.corp.example.com` can live in one while
/// `corp.example.com` exists nowhere, and one question for the latter must not make names vanish.
fn denial<'a>(
    cache: &'a mut Cache,
    hash: &KeyedHash,
    upstreams: &Upstreams,
    now: Millis,
    key: &Key,
) -> Option<&'a mut Entry> {
    let absent = key.without_type();
    cache
        .get(hash.of(absent.as_bytes()), absent.as_bytes())
        .filter(|entry| entry.is_fresh(now, upstreams))
}

/// What the cache can still say about `key`, past its TTL or from earlier nameservers.
fn stale_entry<'a>(
    cache: &'a mut Cache,
    hash: &KeyedHash,
    now: Millis,
    key: &Key,
) -> Option<&'a mut Entry> {
    let absent = key.without_type();
    let own = hash.of(key.as_bytes());
    let other = hash.of(absent.as_bytes());
    let has = |cache: &mut Cache, hash, key: &[u8]| {
        cache
            .get(hash, key)
            .is_some_and(|entry| entry.is_servable(now))
    };
    if has(cache, own, key.as_bytes()) {
        return cache.get(own, key.as_bytes());
    }
    if has(cache, other, absent.as_bytes()) {
        return cache.get(other, absent.as_bytes());
    }
    None
}

/// DO and CD change what upstream answers, and so are part of the key.
fn key_flags(query: &Query<'_>) -> u8 {
    let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
    let mut flags = 0;
    if dnssec_ok {
        flags |= Key::DO;
    }
    if query.flags.has(Flags::CD) {
        flags |= Key::CD;
    }
    flags
}
