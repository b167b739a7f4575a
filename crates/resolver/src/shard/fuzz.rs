//! Any bytes as a nameserver's answer: what is made of them for the client, and what is kept.

use std::collections::{BTreeMap, BTreeSet};

use wire::{EdnsReply, Flags, HEADER, Message, Name, Record, Section, Writer, rcode, rtype};

use super::lab::{FIRST, Lab, secs};
use crate::Transport;
use crate::reply::{MAX_UDP_REPLY, UDP_SIZE};

/// Flags of a reply: no AA, AD or Z is ever among them.
const FLAGS: u16 = Flags::QR | Flags::TC | Flags::RD | Flags::RA | Flags::CD | 0xf;

/// Longest life of a record, in seconds.
const DAY: u32 = 86_400;

/// Two bytes say how the client asks and how much time passes; the others are the answer to the question
/// that they repeat.
pub fn answer(data: &[u8]) {
    let Some((&[how, pause], said)) = data.split_first_chunk() else {
        return;
    };
    let Some(client) = Client::new(how, said) else {
        return;
    };
    let mut lab = Lab::new(&[FIRST]);
    let number = lab.packet(client.packet.clone(), client.transport);
    // What policy answers goes nowhere.
    let Some(ask) = lab.asks.pop() else {
        return;
    };
    lab.answer_bytes(&ask, said);
    if lab.is_waiting(number) {
        lab.pass(secs(4));
        assert!(!lab.is_waiting(number), "never answered");
    }
    let first = lab.bytes(number).to_vec();
    let Some(mut before) = client.judge(&first, said, false) else {
        return;
    };
    // Again at once, and after a while.
    for pause in [0, pause] {
        lab.asks.clear();
        lab.pass(secs(pause.into()));
        let number = lab.packet(client.packet.clone(), client.transport);
        if lab.is_waiting(number) {
            // Not kept, or not fresh any more.
            return;
        }
        let ttls = client.judge(lab.bytes(number), said, true);
        let ttls = ttls.expect("what was an answer is none");
        // Of a denial only the SOA may have been kept.
        if ttls.len() == before.len() {
            let aged = before.iter().map(|ttl| ttl.saturating_sub(pause.into()));
            assert!(ttls.iter().copied().eq(aged), "{ttls:?} after {before:?}");
        }
        before = ttls;
    }
}

/// Who asks the question that a message repeats.
struct Client {
    packet: Vec<u8>,
    transport: Transport,
    /// Bytes of a reply at most.
    limit: usize,
}

impl Client {
    fn new(how: u8, said: &[u8]) -> Option<Self> {
        let is = |bit: u8| how & bit != 0;
        let question = Message::parse(said).ok().map(|message| message.question);
        let (name, qtype) = question.map_or((&b"\x03www\x04test\0"[..], rtype::A), |question| {
            (question.name, question.qtype)
        });
        let sizes = [512, UDP_SIZE, 4096, u16::MAX];
        let udp_size = sizes[usize::from(how >> 6)];
        let mut room = [0; HEADER + wire::MAX_NAME + 4 + 11];
        let mut out = Writer::new(&mut room);
        let flags = Flags::RD | if is(1) { Flags::CD } else { 0 };
        out.header(4711, Flags(flags), [1, 0, 0, u16::from(is(2))])?;
        out.bytes(name)?;
        out.u16(qtype)?;
        out.u16(wire::CLASS_IN)?;
        if is(2) {
            let opt = EdnsReply {
                udp_size,
                dnssec_ok: is(4),
                ..EdnsReply::default()
            };
            opt.write(&mut out)?;
        }
        Some(Self {
            packet: out.written().to_vec(),
            transport: if is(8) {
                Transport::Tcp
            } else {
                Transport::Udp
            },
            limit: match (is(8), is(2)) {
                (true, _) => usize::from(u16::MAX),
                (false, true) => usize::from(udp_size).min(MAX_UDP_REPLY),
                (false, false) => 512,
            },
        })
    }

    /// Holds a reply against the nameserver's message; the TTLs of its records if it is an answer.
    fn judge(&self, reply: &[u8], said: &[u8], is_kept: bool) -> Option<Vec<u32>> {
        assert!(reply.len() <= self.limit);
        let reply = Message::parse(reply).expect("a reply can be read");
        let flags = reply.header.flags;
        assert!(flags.has(Flags::QR | Flags::RA) && flags.0 & !FLAGS == 0);
        let is_cut = flags.has(Flags::TC);
        if flags.rcode() == rcode::SERVFAIL {
            assert!(reply.edns.is_none_or(|edns| edns.ede.is_some()));
            return None;
        }
        assert!([rcode::NOERROR, rcode::NXDOMAIN].contains(&flags.rcode()));
        let said = Message::parse(said).expect("an answer was made of what cannot be read");
        assert_eq!(flags.rcode(), said.header.flags.rcode());
        assert!(said.header.flags.has(Flags::QR) && !said.header.flags.has(Flags::TC));
        let chain = reachable(&said);
        let mut ttls = Vec::new();
        let given = records(&reply);
        for record in &given {
            if record.section == Section::Answer {
                let owner = owner(&reply, record);
                let leads = matches!(record.rtype, rtype::DNAME | rtype::RRSIG);
                let is_led_to = |name: &Vec<u8>| {
                    wire::suffixes(name)
                        .any(|above| (leads || above == name) && above == owner.as_bytes())
                };
                assert!(chain.iter().any(is_led_to), "leads nowhere: {owner:?}");
            }
            assert!(record.ttl <= DAY);
            ttls.push(record.ttl);
        }
        let soa = |record: &&Record<'_>| record.rtype == rtype::SOA;
        if is_kept
            && flags.rcode() == rcode::NXDOMAIN
            && let [kept] = &*given
            && let Some(original) = records(&said).iter().find(soa)
        {
            assert_eq!(owner(&reply, kept), owner(&said, original));
            return Some(ttls);
        }
        // Record by record, but for the places of addresses and for TTLs, which only sink.
        let mut sets: [BTreeMap<Vec<u8>, usize>; 2] = Default::default();
        for (given, original) in given.iter().zip(records(&said)) {
            assert_eq!(
                (given.section, given.rtype),
                (original.section, original.rtype)
            );
            assert_eq!(owner(&reply, given), owner(&said, &original));
            assert!(original.ttl > i32::MAX as u32 || given.ttl <= original.ttl);
            *sets[0].entry(given.rdata.to_vec()).or_default() += 1;
            *sets[1].entry(original.rdata.to_vec()).or_default() += 1;
        }
        assert!(given.len() <= records(&said).len());
        assert!(is_cut || sets[0] == sets[1]);
        Some(ttls)
    }
}

/// All records but OPT and what stands behind it.
fn records<'a>(message: &Message<'a>) -> Vec<Record<'a>> {
    let is_hops = |record: &Record<'_>| {
        record.section == Section::Additional && matches!(record.rtype, rtype::OPT | 250)
    };
    message
        .records()
        .take_while(|record| !is_hops(record))
        .collect()
}

fn owner(message: &Message<'_>, record: &Record<'_>) -> Name {
    Name::read(message.bytes(), record.start).expect("a parsed message's names can be read")
}

/// The question's name, and all that CNAMEs lead to from it.
fn reachable(message: &Message<'_>) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::from([message.question.name.to_ascii_lowercase()]);
    loop {
        let before = found.len();
        for record in message.records() {
            let is_cname = record.section == Section::Answer && record.rtype == rtype::CNAME;
            if is_cname
                && found.contains(owner(message, &record).as_bytes())
                && let Ok(target) = Name::read(message.bytes(), record.rdata_at)
            {
                found.insert(target.as_bytes().to_vec());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}
