//! Someone naive: remembers every answer that was accepted and every packet that went out, and holds
//! each reply against that. Knows nothing of lookups, queues, retries or eviction.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use wire::Flags;

use crate::key::Key;
use crate::shard::key_flags;
use crate::shard::lab::{FIRST, Lab, Look, Query, SECOND, secs};
use crate::{Ask, Failed};

/// How long after its TTL an answer may be given: a day, and a negative one 5 minutes.
const STALE: [Duration; 2] = [secs(86_400), secs(300)];

/// TTL of a stale answer, in seconds.
const STALE_TTL: u32 = 30;

/// Extended DNS Errors of a stale answer, and of a stale NXDOMAIN.
const STALE_CODES: [u16; 2] = [3, 19];

/// Flags of a reply, all of which is in it: no AA, TC, AD or Z.
const FLAGS: u16 = Flags::QR | Flags::RD | Flags::RA | Flags::CD | 0xf;

pub(super) struct Model {
    /// Packets that may go out in a second; 0 for no limit.
    pps: u32,
    /// Nothing is evicted, so that what was kept must be found.
    keeps_all: bool,
    /// The nameservers that names without a route are asked at ...
    nameservers: Vec<SocketAddr>,
    /// ... and how often those have changed, the first time included.
    generation: u32,
    /// All that was accepted, by key.
    said: HashMap<Vec<u8>, Vec<Said>>,
    /// Of that, what is not superseded.
    known: HashMap<Vec<u8>, Said>,
    /// Names of which something was accepted that nobody knows.
    odd: HashSet<Vec<u8>>,
    /// Packets that went out (+1), and those that did not after all (-1).
    packets: Vec<(Instant, i32)>,
}

/// An answer as a nameserver gave it.
#[derive(Clone, Debug)]
struct Said {
    at: Instant,
    ttl: u32,
    generation: u32,
    content: Content,
}

/// Response code and addresses in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content(ResponseCode, Vec<u8>);

impl Content {
    fn of(message: &Message) -> Self {
        let mut hosts = message.hosts();
        hosts.sort_unstable();
        Self(message.rcode(), hosts)
    }

    fn is_negative(&self) -> bool {
        self.1.is_empty()
    }
}

impl Said {
    fn age(&self, now: Instant) -> u32 {
        u32::try_from((now - self.at).as_secs()).unwrap()
    }

    fn is_in_ttl(&self, now: Instant) -> bool {
        now < self.at + secs(self.ttl.into())
    }

    fn is_servable(&self, now: Instant) -> bool {
        let stale = STALE[usize::from(self.content.is_negative())];
        now < self.at + secs(self.ttl.into()) + stale
    }
}

impl Model {
    pub(super) fn new(pps: u32, keeps_all: bool) -> Self {
        Self {
            pps,
            keeps_all,
            nameservers: vec![FIRST, SECOND],
            generation: 1,
            said: HashMap::new(),
            known: HashMap::new(),
            odd: HashSet::new(),
            packets: Vec::new(),
        }
    }

    /// A client asks. What is fresh it is given at once, as it was said.
    pub(super) fn ask(&self, lab: &mut Lab, query: &Query) {
        let fresh = self.fresh(&key_of(&query.bytes()), lab.now).cloned();
        let client = lab.query(query);
        let Some(said) = fresh else {
            return;
        };
        assert!(!lab.is_waiting(client), "waits for what is known");
        let reply = lab.reply(client);
        assert_eq!(Content::of(&reply), said.content);
        let ttl = said.ttl - said.age(lab.now);
        assert!(reply.ttls().iter().all(|&given| given == ttl), "{reply:?}");
    }

    /// What the cache must have.
    fn fresh(&self, key: &Key, now: Instant) -> Option<&Said> {
        let is_routed = wire::suffixes(key.name()).any(|name| name == b"\x015\x04test\0");
        let is_fresh =
            |said: &&Said| said.is_in_ttl(now) && (is_routed || said.generation == self.generation);
        let get = |key: &Key| self.known.get(key.as_bytes()).filter(is_fresh);
        let is_kept = self.keeps_all && !is_local(key) && !self.odd.contains(key.name());
        is_kept.then(|| get(key).or_else(|| get(&key.without_type())))?
    }

    /// A nameserver answers with something that can be remembered.
    pub(super) fn answer(&mut self, lab: &mut Lab, ask: &Ask, message: &Message) {
        let Some(key) = self.accepted(lab, ask, &message.to_vec().unwrap()) else {
            return;
        };
        let said = Said {
            at: lab.now,
            ttl: message.ttls().into_iter().min().unwrap_or(0),
            generation: ask.ticket.generation,
            content: Content::of(message),
        };
        let for_all_types = message.rcode() == ResponseCode::NXDomain && !key.has(Key::DO);
        let key = if for_all_types {
            key.without_type()
        } else {
            key
        };
        let all = self.said.entry(key.as_bytes().to_vec()).or_default();
        all.push(said.clone());
        if said.ttl > 0 {
            self.known.insert(key.as_bytes().to_vec(), said);
        }
    }

    /// A nameserver answers, and who knows with what.
    pub(super) fn answer_oddly(&mut self, lab: &mut Lab, ask: &Ask, bytes: &[u8]) {
        if let Some(key) = self.accepted(lab, ask, bytes) {
            self.odd.insert(key.name().to_vec());
        }
    }

    /// The key of a question whose answer is accepted; what was known of it is superseded.
    fn accepted(&mut self, lab: &mut Lab, ask: &Ask, bytes: &[u8]) -> Option<Key> {
        let key = lab.shard.pending.of(ask.ticket).map(|lookup| lookup.key);
        let before = lab.shard.counters().answers;
        lab.answer_bytes(ask, bytes);
        if lab.shard.counters().answers == before {
            return None;
        }
        let key = key.expect("nobody asked for what is accepted");
        self.known.remove(key.as_bytes());
        self.known.remove(key.without_type().as_bytes());
        Some(key)
    }

    /// A question has no answer. Some did not go out.
    pub(super) fn fail(&mut self, lab: &mut Lab, ask: &Ask, failed: Failed) {
        self.note_packets(lab);
        let before = lab.shard.counters().failed_attempts;
        lab.fail(ask, failed);
        let is_unsent = matches!(failed, Failed::Link | Failed::Unreachable);
        if is_unsent && lab.shard.counters().failed_attempts > before {
            self.packets.push((lab.now, -1));
        }
    }

    pub(super) fn set_nameservers(&mut self, lab: &mut Lab, nameservers: &[SocketAddr]) {
        if self.nameservers != nameservers {
            self.nameservers = nameservers.to_vec();
            self.generation += 1;
        }
        lab.set_nameservers(nameservers);
    }

    /// Judges what has happened since the last look.
    pub(super) fn look_at(&mut self, lab: &mut Lab) {
        self.note_packets(lab);
        for (at, client) in std::mem::take(&mut lab.replied) {
            // Other packets have no more of a reply than what the lab looks at.
            if wire::Query::parse(lab.packet_of(client)).is_ok() {
                self.judge(at, &key_of(lab.packet_of(client)), lab.bytes(client));
            }
        }
    }

    /// No second sees more packets than may go out.
    fn note_packets(&mut self, lab: &mut Lab) {
        for now in std::mem::take(&mut lab.asked_at) {
            self.packets.push((now, 1));
            self.packets.retain(|(at, _)| *at + secs(1) > now);
            let packets: i32 = self.packets.iter().map(|(_, count)| count).sum();
            let is_within = i64::from(packets) <= i64::from(self.pps);
            assert!(self.pps == 0 || is_within, "{packets} packets in a second");
        }
    }

    fn judge(&self, at: Instant, key: &Key, bytes: &[u8]) {
        let flags = wire::Message::parse(bytes).unwrap().header.flags;
        assert!(flags.has(Flags::QR | Flags::RA) && flags.0 & !FLAGS == 0);
        if is_local(key) || self.odd.contains(key.name()) {
            return;
        }
        let reply = &Message::from_vec(bytes).unwrap();
        match reply.rcode() {
            ResponseCode::NoError | ResponseCode::NXDomain => self.assert_said(at, key, reply),
            ResponseCode::ServFail => {
                assert!(reply.edns.is_none() || reply.ede().is_some());
                let known = [*key, key.without_type()];
                let mut known = known
                    .iter()
                    .filter_map(|key| self.known.get(key.as_bytes()));
                let servable = known.find(|said| said.is_servable(at));
                assert!(
                    !self.keeps_all || servable.is_none(),
                    "kept back {servable:?}"
                );
            }
            other => panic!("{other}"),
        }
    }

    /// Some nameserver said so of this question, not too long ago.
    fn assert_said(&self, at: Instant, key: &Key, reply: &Message) {
        let content = Content::of(reply);
        let keys = [*key, key.without_type()];
        let said = keys.iter().filter_map(|key| self.said.get(key.as_bytes()));
        let mut same = said.flatten().filter(|said| said.content == content);
        let most = reply.ttls().into_iter().max().unwrap_or(0);
        let is_fresh =
            |said: &Said| (said.is_in_ttl(at) || said.at == at) && most <= said.ttl - said.age(at);
        let is_stale = |said: &Said| said.is_servable(at) && most == STALE_TTL;
        let may_be = match (reply.ede(), &reply.edns) {
            (Some(code), _) => {
                assert!(STALE_CODES.contains(&code), "{code}");
                [false, true]
            }
            (None, Some(_)) => [true, false],
            // A client without OPT is not told.
            (None, None) => [true, true],
        };
        let holds = |said: &Said| may_be[0] && is_fresh(said) || may_be[1] && is_stale(said);
        assert!(same.any(holds), "nobody said {reply:?}");
    }
}

/// Answered without a nameserver: names of this host, and ANY.
fn is_local(key: &Key) -> bool {
    wire::suffixes(key.name()).any(|name| name == b"\x09localhost\0") || key.qtype() == 255
}

fn key_of(packet: &[u8]) -> Key {
    let query = wire::Query::parse(packet).unwrap();
    Key::new(&query.question, key_flags(&query))
}
