//! A shard with a virtual clock and with clients whose replies are checked as they come.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{RData, Record, RecordType};

use crate::records::{a, name, response, soa};
use crate::{Action, Ask, Config, Failed, MAX_REPLY, Pins, Route, Routes, Shard, Step, Transport};

/// Nameservers in the order of preference.
pub(super) const FIRST: SocketAddr = SocketAddr::new(ip(2), 53);
pub(super) const SECOND: SocketAddr = SocketAddr::new(ip(3), 53);
pub(super) const THIRD: SocketAddr = SocketAddr::new(ip(4), 53);

const fn ip(host: u8) -> std::net::IpAddr {
    std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))
}

/// Longer than any query may wait.
const DEADLINE: Duration = Duration::from_secs(4);

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) struct Lab {
    pub(super) shard: Shard<usize>,
    pub(super) now: Instant,
    /// What the shard wants asked, oldest first.
    pub(super) asks: Vec<Ask>,
    /// When it wanted that; for a model to take.
    pub(super) asked_at: Vec<Instant>,
    /// Clients that had their reply, and when; for a model to take.
    pub(super) replied: Vec<(Instant, usize)>,
    clients: Vec<Client>,
    out: Vec<u8>,
}

struct Client {
    packet: Vec<u8>,
    since: Instant,
    reply: Option<Vec<u8>>,
    is_dropped: bool,
}

impl Lab {
    /// One whose link is up, with these nameservers.
    pub(super) fn new(nameservers: &[SocketAddr]) -> Self {
        Self::with_cache(nameservers, 1 << 20)
    }

    pub(super) fn with_cache(nameservers: &[SocketAddr], cache_size: usize) -> Self {
        Self::with(nameservers, Routes::default(), cache_size)
    }

    /// One with routes beside its nameservers.
    pub(super) fn with_routes(
        nameservers: &[SocketAddr],
        routes: &[(&str, &[SocketAddr])],
    ) -> Self {
        Self::with(nameservers, self::routes(routes), 1 << 20)
    }

    /// One that may send so many packets a second.
    pub(super) fn with_quota(nameservers: &[SocketAddr], upstream_pps: u32) -> Self {
        Self::configured(
            nameservers,
            Config {
                upstream_pps,
                ..config(Routes::default(), 1 << 20)
            },
        )
    }

    pub(super) fn with(nameservers: &[SocketAddr], routes: Routes, cache_size: usize) -> Self {
        Self::configured(nameservers, config(routes, cache_size))
    }

    pub(super) fn configured(nameservers: &[SocketAddr], config: Config) -> Self {
        let now = Instant::now();
        let mut lab = Self {
            shard: Shard::new(config, now),
            now,
            asks: Vec::new(),
            asked_at: Vec::new(),
            replied: Vec::new(),
            clients: Vec::new(),
            out: vec![0; MAX_REPLY],
        };
        lab.set_nameservers(nameservers);
        lab
    }

    /// A client asks. The number is for [`Lab::reply`].
    pub(super) fn query(&mut self, query: &Query) -> usize {
        self.packet(query.bytes(), query.transport)
    }

    pub(super) fn packet(&mut self, packet: Vec<u8>, transport: Transport) -> usize {
        let client = self.clients.len();
        let step = self
            .shard
            .query(self.now, client, transport, &packet, &mut self.out);
        self.step(packet, step)
    }

    /// An operator asks past the cache.
    pub(super) fn look_up(&mut self, owner: &str, rtype: RecordType) -> usize {
        let packet = query(owner, rtype).id(0).bytes();
        let name = owner.parse().unwrap();
        let client = self.clients.len();
        let out = &mut self.out;
        let step = self
            .shard
            .look_up(self.now, client, &name, rtype.into(), out);
        self.step(packet, step)
    }

    fn step(&mut self, packet: Vec<u8>, step: Step) -> usize {
        let client = self.clients.len();
        self.clients.push(Client {
            packet,
            since: self.now,
            reply: None,
            is_dropped: step == Step::Drop,
        });
        match step {
            Step::Reply(length) => {
                let message = self.out[..length].to_vec();
                self.carry_out(vec![Action::Reply { client, message }]);
            }
            Step::ReplyAndAsk(length, ask) => {
                let message = self.out[..length].to_vec();
                self.carry_out(vec![Action::Reply { client, message }, Action::Ask(ask)]);
            }
            Step::Ask(ask) => self.carry_out(vec![Action::Ask(ask)]),
            Step::Wait | Step::Drop => {}
        }
        client
    }

    /// Time passes, and what falls due in it is done when it is due.
    pub(super) fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(due) = self.shard.next_tick().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let mut actions = Vec::new();
            self.shard.tick(self.now, &mut actions);
            self.carry_out(actions);
            let next = self.shard.next_tick();
            assert!(next.is_none_or(|next| next > self.now), "a busy loop");
        }
        self.now = until;
    }

    /// A nameserver answers: the records, flags and OPT of `message`.
    pub(super) fn answer(&mut self, ask: &Ask, message: &Message) {
        self.answer_bytes(ask, &message.to_vec().unwrap());
    }

    pub(super) fn answer_bytes(&mut self, ask: &Ask, bytes: &[u8]) {
        self.result(ask, Ok(bytes));
    }

    pub(super) fn fail(&mut self, ask: &Ask, failed: Failed) {
        self.result(ask, Err(failed));
    }

    fn result(&mut self, ask: &Ask, result: Result<&[u8], Failed>) {
        let mut actions = Vec::new();
        self.shard
            .answer(self.now, ask.ticket, result, &mut actions);
        self.carry_out(actions);
    }

    pub(super) fn set_nameservers(&mut self, nameservers: &[SocketAddr]) {
        let mut actions = Vec::new();
        self.shard
            .set_nameservers(self.now, nameservers, &mut actions);
        self.carry_out(actions);
    }

    pub(super) fn link_is_up(&mut self) {
        let mut actions = Vec::new();
        self.shard.link_is_up(self.now, &mut actions);
        self.carry_out(actions);
    }

    /// Nothing has come of the link for so long.
    pub(super) fn link_is_silent(&mut self, span: Duration) {
        let since = self.now.checked_sub(span).unwrap_or(self.now);
        self.shard.link_is_silent(self.now, since);
    }

    fn carry_out(&mut self, actions: Vec<Action<usize>>) {
        for action in actions {
            match action {
                Action::Ask(ask) => {
                    self.asked_at.push(self.now);
                    self.asks.push(ask);
                }
                Action::Reply { client, message } => self.take_reply(client, message),
            }
        }
    }

    /// Checks what is so for every reply: one a query, in time, with the query's id and question.
    fn take_reply(&mut self, number: usize, message: Vec<u8>) {
        let client = &mut self.clients[number];
        assert!(client.reply.is_none(), "client {number} has a second reply");
        assert!(!client.is_dropped, "client {number} was told of no reply");
        assert!(self.now - client.since <= DEADLINE, "a late reply");
        assert_eq!(message[..2], client.packet[..2], "another id");
        let questions = usize::from(message[5]);
        let question =
            wire::Query::parse(&client.packet).map(|query| query.question.name.len() + 4);
        if let (1, Ok(length)) = (questions, question) {
            assert_eq!(message[12..12 + length], client.packet[12..12 + length]);
        }
        client.reply = Some(message);
        self.replied.push((self.now, number));
    }

    /// The one question that is to go upstream now.
    pub(super) fn asked(&mut self) -> Ask {
        assert_eq!(
            self.asks.len(),
            1,
            "questions for upstream: {:?}",
            self.asks
        );
        self.asks.remove(0)
    }

    pub(super) fn is_waiting(&self, client: usize) -> bool {
        self.clients[client].reply.is_none()
    }

    /// Clients that wait longer than anyone should.
    pub(super) fn forgotten(&self) -> usize {
        let is_forgotten = |client: &&Client| {
            client.reply.is_none() && !client.is_dropped && self.now - client.since > DEADLINE
        };
        self.clients.iter().filter(is_forgotten).count()
    }

    pub(super) fn waiting(&self) -> usize {
        let is_waiting = |client: &&Client| client.reply.is_none() && !client.is_dropped;
        self.clients.iter().filter(is_waiting).count()
    }

    /// What a client asked.
    pub(super) fn packet_of(&self, client: usize) -> &[u8] {
        &self.clients[client].packet
    }

    pub(super) fn bytes(&self, client: usize) -> &[u8] {
        self.clients[client].reply.as_deref().expect("no reply yet")
    }

    pub(super) fn reply(&self, client: usize) -> Message {
        Message::from_vec(self.bytes(client)).unwrap()
    }

    /// Asks and takes the reply that must be there at once, without a question upstream.
    pub(super) fn hit(&mut self, query: &Query) -> Message {
        let client = self.query(query);
        assert!(self.asks.is_empty(), "not a hit: {:?}", self.asks);
        self.reply(client)
    }

    /// Asks, lets the nameserver answer, and takes the reply.
    pub(super) fn miss(&mut self, query: &Query, answer: &Message) -> Message {
        let client = self.query(query);
        let ask = self.asked();
        self.answer(&ask, answer);
        self.reply(client)
    }

    /// Whether a query goes upstream; what is asked stays unanswered until it fails.
    pub(super) fn is_miss(&mut self, query: &Query) -> bool {
        self.query(query);
        let is_miss = !self.asks.is_empty();
        self.asks.clear();
        is_miss
    }
}

/// Without a quota: most promises are not about it.
pub(super) fn config(routes: Routes, cache_size: usize) -> Config {
    Config {
        cache_size,
        seed: [1, 2],
        routes,
        pins: Pins::default(),
        upstream_pps: 0,
    }
}

pub(super) fn routes(routes: &[(&str, &[SocketAddr])]) -> Routes {
    let route = |&(suffix, nameservers): &(&str, &[SocketAddr])| Route {
        suffix: suffix.parse().unwrap(),
        nameservers: nameservers.to_vec(),
    };
    Routes::new(routes.iter().map(route).collect()).unwrap()
}

/// A query of a client.
#[derive(Clone)]
pub(super) struct Query {
    message: Message,
    transport: Transport,
}

pub(super) fn query(owner: &str, rtype: RecordType) -> Query {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(hickory_proto::op::Query::query(name(owner), rtype));
    Query {
        message,
        transport: Transport::Udp,
    }
}

impl Query {
    pub(super) fn id(mut self, id: u16) -> Self {
        self.message.metadata.id = id;
        self
    }

    pub(super) fn tcp(mut self) -> Self {
        self.transport = Transport::Tcp;
        self
    }

    pub(super) fn edns(mut self, size: u16) -> Self {
        self.opt().set_max_payload(size);
        self
    }

    pub(super) fn dnssec_ok(mut self) -> Self {
        self.opt().set_dnssec_ok(true);
        self
    }

    pub(super) fn checking_disabled(mut self) -> Self {
        self.message.metadata.checking_disabled = true;
        self
    }

    /// Changes the message in any other way.
    pub(super) fn with(mut self, change: impl FnOnce(&mut Message)) -> Self {
        change(&mut self.message);
        self
    }

    fn opt(&mut self) -> &mut Edns {
        self.message.edns.get_or_insert_with(Edns::new)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.message.to_vec().unwrap()
    }
}

/// `www.test A`, from a client that sends OPT.
pub(super) fn www() -> Query {
    query("www.test", RecordType::A).edns(1232)
}

/// The answer to [`www`]: one address.
pub(super) fn www_is(host: u8, ttl: u32) -> Message {
    let mut message = response("www.test", RecordType::A);
    message.add_answer(a("www.test", ttl, host));
    message
}

/// `www.test` does not exist.
pub(super) fn www_is_not(ttl: u32) -> Message {
    let mut message = response("www.test", RecordType::A);
    message.metadata.response_code = ResponseCode::NXDomain;
    message.add_authority(soa("test", ttl, ttl));
    message
}

/// An answer to `ask` without records, whatever it asks.
pub(super) fn error(ask: &Ask, rcode: ResponseCode) -> Message {
    let asked = Message::from_vec(&ask.message).unwrap();
    let mut message = asked.into_response();
    message.metadata.response_code = rcode;
    message
}

/// SERVFAIL as the relay says it.
pub(super) fn servfail_with(ask: &Ask, ede: u16) -> Message {
    let mut message = error(ask, ResponseCode::ServFail);
    let mut edns = Edns::new();
    let value = [&ede.to_be_bytes()[..], b"from the relay"].concat();
    edns.options_mut().insert(EdnsOption::Unknown(15, value));
    message.edns = Some(edns);
    message
}

/// What a test looks at in a reply.
pub(super) trait Look {
    fn rcode(&self) -> ResponseCode;
    /// The last byte of each address, in order.
    fn hosts(&self) -> Vec<u8>;
    /// TTLs of all records.
    fn ttls(&self) -> Vec<u32>;
    /// The Extended DNS Error's code.
    fn ede(&self) -> Option<u16>;
}

impl Look for Message {
    fn rcode(&self) -> ResponseCode {
        self.metadata.response_code
    }

    fn hosts(&self) -> Vec<u8> {
        let host = |record: &Record| match &record.data {
            RData::A(address) => Some(address.octets()[3]),
            RData::AAAA(address) => Some(address.octets()[15]),
            _ => None,
        };
        self.answers.iter().filter_map(host).collect()
    }

    fn ttls(&self) -> Vec<u32> {
        self.all_sections().map(|record| record.ttl).collect()
    }

    fn ede(&self) -> Option<u16> {
        match self.edns.as_ref()?.option(15.into())? {
            EdnsOption::Unknown(15, value) => wire::read_u16(value, 0),
            other => panic!("{other:?}"),
        }
    }
}
