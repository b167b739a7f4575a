//! From untrusted bytes to an [`Answer`], the only thing that the cache takes.
//!
//! An answer is kept whole, per question, so a record about another name could mislead only the
//! client that asked; even so every record of the answer section must belong to the chain of
//! CNAMEs that starts at the question. Rdata is passed on as it is, known type or not.

use std::fmt;

use wire::{
    CLASS_IN, Flags, Header, Malformed, Message, Name, Reader, Record, Section, Writer, opcode,
    rcode, rtype, set_ttl,
};

use crate::key::Key;
use crate::packed::{Kind, Packed, Rotation};
use crate::pins::{Lead, Outside, Pins};

mod pinned;
mod spelling;
#[cfg(test)]
mod tests;

/// Longest life of a positive answer, in seconds: one day, the resolvers' usual cap.
const MAX_TTL: u32 = 86_400;

/// Longest life of a negative answer, in seconds: a name that has just been made should appear
/// (RFC 2308 section 5 allows up to three hours).
const MAX_NEGATIVE_TTL: u32 = 300;

/// Names in a chain of CNAMEs, the question's included; unbound's limit is 11 links.
const MAX_CHAIN: usize = 16;

/// Transaction signature (RFC 8945): between two neighbours, never passed on.
const TSIG: u16 = 250;

/// An answer fit to be given to whoever asked.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) packed: Packed,
    /// Seconds to be kept; 0 is for those who wait now and nobody else.
    pub(crate) lifetime: u32,
    /// For a name that does not exist, the same said of all its types (RFC 2308 section 5).
    pub(crate) without_type: Option<Packed>,
}

/// Why a message is not an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    Malformed(Malformed),
    /// QR 0 or another opcode.
    NotAResponse,
    /// It answers another question.
    Question,
    /// Cut, though it came over a stream.
    Truncated,
    /// A CNAME loop, two CNAMEs of one name, or too many links.
    Chain,
    /// A record in the answer section that the question does not lead to.
    Foreign,
    /// It leads out of a pin.
    Outside(Outside),
    /// The nameserver's own error, with its Extended DNS Error's code.
    Rcode {
        rcode: u8,
        ede: Option<u16>,
    },
}

impl Invalid {
    /// What the nameserver did, in words that follow its address.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Malformed(_) => "sent a malformed answer",
            Self::NotAResponse => "sent something that is not a response",
            Self::Question => "answered another question",
            Self::Truncated => "sent a truncated answer",
            Self::Chain => "sent a CNAME chain without end",
            Self::Foreign => "sent records of another name",
            Self::Outside(_) => "gave what no --pin lets through",
            Self::Rcode { rcode, .. } => match rcode {
                rcode::FORMERR => "answered FORMERR",
                rcode::SERVFAIL => "answered SERVFAIL",
                rcode::NOTIMP => "answered NOTIMP",
                rcode::REFUSED => "answered REFUSED",
                _ => "answered with error",
            },
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(Outside {
                lead: Lead::Address(address),
                ..
            }) => return write!(f, "gave {address}, which no --pin lets through"),
            Self::Outside(_) => {
                return f.write_str("gave another host's name, which --pin stops");
            }
            _ => f.write_str(self.text())?,
        }
        match self {
            Self::Rcode { rcode, .. } if *rcode > rcode::REFUSED => write!(f, " {rcode}"),
            _ => Ok(()),
        }
    }
}

impl From<Outside> for Invalid {
    fn from(outside: Outside) -> Self {
        Self::Outside(outside)
    }
}

impl From<Malformed> for Invalid {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Answer {
    /// Judges `bytes` as the answer to the question of `key`.
    ///
    /// # Errors
    /// [`Invalid`], and nothing of the message is used.
    pub(crate) fn validate(key: &Key, bytes: &[u8], pins: &Pins) -> Result<Self, Invalid> {
        let message = Message::parse(bytes).map_err(|why| without_question(bytes, why))?;
        let flags = message.header.flags;
        if !is_response(flags) {
            return Err(Invalid::NotAResponse);
        }
        let question = message.question;
        if !question.name.eq_ignore_ascii_case(key.name())
            || question.qtype != key.qtype()
            || question.qclass != CLASS_IN
        {
            return Err(Invalid::Question);
        }
        let high = message.edns.map_or(0, |edns| u16::from(edns.rcode_high));
        let rcode = u8::try_from(high << 4 | u16::from(flags.rcode())).unwrap_or(u8::MAX);
        if rcode != rcode::NOERROR && rcode != rcode::NXDOMAIN {
            let ede = message.edns.and_then(|edns| edns.ede);
            return Err(Invalid::Rcode { rcode, ede });
        }
        if flags.has(Flags::TC) {
            return Err(Invalid::Truncated);
        }
        let chain = chain(key, &message)?;
        all_belong(&chain, &message)?;
        pinned::judge(pins, &chain, &message)?;
        if !spelling::is_settled(&message) {
            return Err(Malformed::Record.into());
        }

        let target = chain.last().unwrap_or(&Name::ROOT);
        let soa = soa(&message, target);
        let answered = answers(&message)
            .any(|record| record.rtype == key.qtype() && owner(&message, &record) == Some(*target));
        let kind = match (rcode, answered) {
            (rcode::NXDOMAIN, _) => Kind::NxDomain,
            (_, true) => Kind::Positive,
            (_, false) => Kind::NoData,
        };
        let chain_ttl = answers(&message)
            .map(|record| ttl(&record))
            .min()
            .unwrap_or(MAX_TTL);
        let lifetime = match (kind, soa) {
            (Kind::Positive, _) => chain_ttl,
            (_, Some(soa)) => chain_ttl.min(soa.ttl),
            // Without SOA a negative answer must not be kept (RFC 2308 section 5).
            (_, None) => 0,
        };
        let packed = pack(key, kind, &message, soa, pins).ok_or(Malformed::Record)?;
        let without_type = match soa {
            Some(soa) if kind == Kind::NxDomain && chain.len() == 1 && !key.has(Key::DO) => {
                pack_without_type(key, &message, soa)
            }
            _ => None,
        };
        Ok(Self {
            packed,
            lifetime,
            without_type,
        })
    }
}

fn is_response(flags: Flags) -> bool {
    flags.has(Flags::QR) && flags.opcode() == opcode::QUERY
}

/// A nameserver that cannot read a query, because of its OPT say, may have no question to repeat.
fn without_question(bytes: &[u8], why: Malformed) -> Invalid {
    match Header::read(bytes) {
        Some(Header {
            flags,
            counts: [0, 0, 0, _],
            ..
        }) if is_response(flags) && !matches!(flags.rcode(), rcode::NOERROR | rcode::NXDOMAIN) => {
            Invalid::Rcode {
                rcode: flags.rcode(),
                ede: None,
            }
        }
        _ => why.into(),
    }
}

fn answers<'a>(message: &Message<'a>) -> impl Iterator<Item = Record<'a>> + use<'a> {
    message
        .records()
        .take_while(|record| record.section == Section::Answer)
}

/// A TTL with its top bit set counts as 0 (RFC 2181 section 8).
fn ttl(record: &Record<'_>) -> u32 {
    if record.ttl > i32::MAX as u32 {
        return 0;
    }
    record.ttl.min(MAX_TTL)
}

fn owner(message: &Message<'_>, record: &Record<'_>) -> Option<Name> {
    Name::read(message.bytes(), record.start).ok()
}

/// The names from the question along the CNAMEs, in whatever order they stand.
fn chain(key: &Key, message: &Message<'_>) -> Result<Vec<Name>, Invalid> {
    let start = Name::read(key.name(), 0).map_err(|_| Malformed::Question)?;
    let mut chain = vec![start];
    if key.qtype() == rtype::CNAME {
        return Ok(chain);
    }
    let is_cname = |record: &Record<'_>| record.rtype == rtype::CNAME;
    // One more would not fit into a chain, and many would be long to search.
    if answers(message).filter(is_cname).count() >= MAX_CHAIN {
        return Err(Invalid::Chain);
    }
    loop {
        let last = chain.last().unwrap_or(&Name::ROOT);
        let mut next: Option<Name> = None;
        for record in answers(message).filter(is_cname) {
            if owner(message, &record).as_ref() != Some(last) {
                continue;
            }
            let mut rdata = Reader::new(message.bytes(), record.rdata_at);
            let target = take_name(&mut rdata).ok_or(Malformed::Record)?;
            if rdata.at() != record.end {
                return Err(Malformed::Record.into());
            }
            if next.replace(target).is_some_and(|other| other != target) {
                return Err(Invalid::Chain);
            }
        }
        let Some(next) = next else {
            return Ok(chain);
        };
        if chain.contains(&next) {
            return Err(Invalid::Chain);
        }
        chain.push(next);
    }
}

fn take_name(reader: &mut Reader<'_>) -> Option<Name> {
    let name = reader.name().ok()?;
    reader.skip_name().ok()?;
    Some(name)
}

/// Every record of the answer section is about a name of the chain, or is the DNAME (or its
/// signature) that leads from one to the next.
fn all_belong(chain: &[Name], message: &Message<'_>) -> Result<(), Invalid> {
    for record in answers(message) {
        let owner = owner(message, &record).ok_or(Malformed::Record)?;
        let leads = matches!(record.rtype, rtype::DNAME | rtype::RRSIG);
        let belongs = record.class == CLASS_IN
            && chain
                .iter()
                .any(|name| *name == owner || leads && name.is_under(owner.as_bytes()));
        if !belongs {
            return Err(Invalid::Foreign);
        }
    }
    Ok(())
}

/// The SOA of a negative answer.
#[derive(Clone, Copy)]
struct Soa<'a> {
    record: Record<'a>,
    /// Seconds for which the answer may be kept (RFC 2308 section 5).
    ttl: u32,
}

fn soa<'a>(message: &Message<'a>, target: &Name) -> Option<Soa<'a>> {
    let record = message
        .records()
        .find(|record| record.section == Section::Authority && record.rtype == rtype::SOA)?;
    if record.class != CLASS_IN || !target.is_under(owner(message, &record)?.as_bytes()) {
        return None;
    }
    let minimum = u32::from_be_bytes(*record.rdata.last_chunk()?);
    Some(Soa {
        record,
        ttl: ttl(&record).min(minimum).min(MAX_NEGATIVE_TTL),
    })
}

/// Everything behind the question, up to OPT, which is each hop's own. Records behind OPT can only
/// be additional data or a signature of this hop. With pins the additional section is left out: it may
/// hold addresses of any name, and nobody needs it.
fn pack(
    key: &Key,
    kind: Kind,
    message: &Message<'_>,
    soa: Option<Soa<'_>>,
    pins: &Pins,
) -> Option<Packed> {
    let start = message.records_at();
    let mut tail = message.bytes().get(start..)?.to_vec();
    let mut counts = [0; 3];
    let mut ttls = Vec::new();
    let mut end = start;
    let rotation = rotation(key, message)?;
    let run = rotation.first..rotation.first + rotation.count;
    let run_ttl = (0..)
        .zip(answers(message))
        .filter(|(place, _)| run.contains(place))
        .map(|(_, record)| ttl(&record))
        .min();
    for (place, record) in (0..).zip(message.records()) {
        let is_each_hops_own = matches!(record.rtype, rtype::OPT | TSIG);
        if record.section == Section::Additional && (is_each_hops_own || !pins.is_empty()) {
            break;
        }
        counts[record.section as usize] += 1;
        let at = record.ttl_at - start;
        ttls.push(u16::try_from(at).ok()?);
        let is_soa = soa.filter(|soa| soa.record.start == record.start);
        let kept = match (run_ttl, is_soa) {
            (Some(run_ttl), _) if run.contains(&place) => run_ttl,
            (_, Some(soa)) => soa.ttl,
            _ => ttl(&record),
        };
        set_ttl(&mut tail, at, kept);
        end = record.end;
    }
    tail.truncate(end - start);
    Packed::new(key, kind, counts, rotation, &tail, &ttls)
}

/// The addresses asked for, as far as they stand together. All are of one name, or, in a broken zone,
/// of names that are one to the client, so that exchanging the addresses exchanges the records.
fn rotation(key: &Key, message: &Message<'_>) -> Option<Rotation> {
    let size = match key.qtype() {
        rtype::A => 4,
        rtype::AAAA => 16,
        _ => return Some(Rotation::default()),
    };
    let is_address =
        |record: &Record<'_>| record.rtype == key.qtype() && record.rdata.len() == size;
    let first = answers(message)
        .take_while(|record| !is_address(record))
        .count();
    let count = answers(message).skip(first).take_while(is_address).count();
    Some(Rotation {
        first: u16::try_from(first).ok()?,
        count: u16::try_from(count).ok()?,
        size: u16::try_from(size).ok()?,
    })
}

/// The denial alone, with names in full, so that it can stand behind any question.
fn pack_without_type(key: &Key, message: &Message<'_>, soa: Soa<'_>) -> Option<Packed> {
    let record = soa.record;
    let mut rdata = Reader::new(message.bytes(), record.rdata_at);
    let mname = take_name(&mut rdata)?;
    let rname = take_name(&mut rdata)?;
    let numbers = rdata.take(20)?;
    if rdata.at() != record.end {
        return None;
    }
    let mut buffer = [0; 3 * wire::MAX_NAME + 30];
    let mut tail = Writer::new(&mut buffer);
    tail.bytes(owner(message, &record)?.as_bytes())?;
    tail.u16(rtype::SOA)?;
    tail.u16(CLASS_IN)?;
    let ttl_at = u16::try_from(tail.len()).ok()?;
    tail.u32(soa.ttl)?;
    let length = mname.as_bytes().len() + rname.as_bytes().len() + numbers.len();
    tail.u16(u16::try_from(length).ok()?)?;
    tail.bytes(mname.as_bytes())?;
    tail.bytes(rname.as_bytes())?;
    tail.bytes(numbers)?;
    Packed::new(
        &key.without_type(),
        Kind::NxDomain,
        [0, 1, 0],
        Rotation::default(),
        tail.written(),
        &[ttl_at],
    )
}
