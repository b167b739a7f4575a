//! What a program gets for a name, and why: what its libc does before it asks (the hosts file, the
//! search list), and what the stub has to say of each name that libc asks for.

use std::net::IpAddr;
use std::path::Path;

use hickory_proto::rr::RecordType;
use serde::Serialize;

use crate::client::AskError;
use crate::protocol::{Cached, Explanation, LastFailure, Left, Looked, Reply, Request, UnderWay};
use crate::status::Nameserver;

mod answer;
mod expansion;
mod hosts;

pub use answer::{Answer, Ede, Outcome, Record};
pub use expansion::Expansion;

/// Where libc looks.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// What there is to know of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// As it was given.
    pub name: String,
    /// What a program gets.
    pub verdict: Verdict,
    /// The records, or why there are none.
    pub because: Vec<String>,
    /// What libc asks for; none for the name of an address, which is asked for as it is.
    pub expansion: Option<Expansion>,
    /// What the hosts file has: then libc asks nobody.
    pub hosts: Vec<IpAddr>,
    /// What the stub was asked, up to the name that is answered.
    pub tried: Vec<Tried>,
}

/// What a program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Addresses of the hosts file.
    Hosts,
    /// Records that upstream gives now, or proxify by itself.
    Resolves,
    /// Records of the cache alone: upstream does not give them now.
    Cached,
    /// The name exists, with other types.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Nobody knows.
    Fails,
}

/// One question, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// The whole name.
    pub name: String,
    /// As `A`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Why it never goes upstream.
    pub local: Option<String>,
    /// The suffix of the route that it takes; `.` for all that no route takes.
    pub route: String,
    /// Who is asked, in the order of preference.
    pub nameservers: Vec<Nameserver>,
    /// What the cache gives.
    pub cached: Option<FromCache>,
    /// A nameserver was being asked already.
    pub under_way: Option<UnderWay>,
    /// The last lookup of it that failed, if that is not long ago.
    pub last_failure: Option<LastFailure>,
    /// What upstream says.
    pub now: Option<Now>,
}

/// What the cache gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FromCache {
    /// Since it came.
    pub age_ms: u64,
    /// What it is good for.
    pub left: Left,
    /// The reply.
    pub answer: Answer,
}

/// What upstream says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Now {
    /// How long that took.
    pub took_us: u64,
    /// The reply.
    pub answer: Answer,
}

/// What libc reads.
#[derive(Clone, Debug, Default)]
pub struct Libc {
    /// resolv.conf.
    pub resolv_conf: Vec<u8>,
    /// The hosts file.
    pub hosts: String,
    /// The host's own name.
    pub hostname: String,
    /// LOCALDOMAIN and RES_OPTIONS.
    pub environment: [Option<String>; 2],
}

impl Libc {
    /// That of this machine and this process. A file that is missing is empty, as for libc.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read(Path::new(path)).unwrap_or_default();
        let text = |path| String::from_utf8_lossy(&read(path)).into_owned();
        Self {
            resolv_conf: read(RESOLV_CONF),
            hosts: text(HOSTS),
            hostname: text(HOSTNAME),
            environment: ["LOCALDOMAIN", "RES_OPTIONS"].map(expansion::variable),
        }
    }
}

/// Explains a name, or an address by its name, with the stub asked by `ask`: for A and AAAA, as
/// programs ask, or for one type.
///
/// # Errors
/// The stub cannot be asked.
pub fn explain(
    name: &str,
    rtype: Option<RecordType>,
    libc: &Libc,
    ask: impl Fn(&Request) -> Result<Reply, AskError> + Sync,
) -> Result<Report, AskError> {
    let address: Option<IpAddr> = name.parse().ok();
    let (types, hosts, expansion) = match (address, rtype) {
        (Some(_), _) => (vec![RecordType::PTR], Vec::new(), None),
        (None, rtype) => {
            let [localdomain, options] = &libc.environment;
            let environment = |name: &str| match name {
                "LOCALDOMAIN" => localdomain.clone(),
                _ => options.clone(),
            };
            let expansion = Expansion::new(name, &libc.resolv_conf, &libc.hostname, environment);
            let types = match rtype {
                Some(rtype) => vec![rtype],
                None => vec![RecordType::A, RecordType::AAAA],
            };
            let hosts = match rtype {
                None | Some(RecordType::A | RecordType::AAAA) => {
                    hosts::addresses(&libc.hosts, name.trim_end_matches('.'))
                }
                Some(_) => Vec::new(),
            };
            (types, hosts, Some(expansion))
        }
    };
    let names = match (&expansion, address) {
        (Some(expansion), _) => expansion.names.clone(),
        (None, Some(address)) => vec![reverse(address)],
        (None, None) => Vec::new(),
    };
    let mut tried = Vec::new();
    for name in names {
        let of_name = all_types(&name, &types, &ask)?;
        let is_found = of_name.iter().any(|tried| tried.records().is_some());
        tried.extend(of_name);
        if is_found {
            break;
        }
    }
    let (verdict, because) = judge(&hosts, &tried);
    Ok(Report {
        name: name.to_owned(),
        verdict,
        because,
        expansion,
        hosts,
        tried,
    })
}

/// All types at once, as libc asks: one that nobody answers takes 4 s.
fn all_types(
    name: &str,
    types: &[RecordType],
    ask: &(impl Fn(&Request) -> Result<Reply, AskError> + Sync),
) -> Result<Vec<Tried>, AskError> {
    let one = |rtype: RecordType| {
        let request = Request::Explain {
            name: name.to_owned(),
            rtype: rtype.into(),
        };
        match ask(&request)? {
            Reply::Explained(explanation) => Ok(Tried::of(name, rtype, *explanation)),
            _ => Err(AskError::other()),
        }
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = types
            .iter()
            .map(|&rtype| scope.spawn(move || one(rtype)))
            .collect();
        let joined = asked.into_iter().map(|thread| match thread.join() {
            Ok(tried) => tried,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })
}

fn judge(hosts: &[IpAddr], tried: &[Tried]) -> (Verdict, Vec<String>) {
    if !hosts.is_empty() {
        return (
            Verdict::Hosts,
            hosts.iter().map(IpAddr::to_string).collect(),
        );
    }
    let data = |answer: &Answer, rtype: &str| -> Vec<String> {
        let records = answer.records.iter();
        let asked = records.filter(|record| record.rtype == rtype || rtype == "ANY");
        asked.map(|record| record.data.clone()).collect()
    };
    let mut is_now = false;
    let mut found = Vec::new();
    for tried in tried {
        if let Some(answer) = tried.records() {
            is_now |= tried.has_now();
            found.extend(data(answer, &tried.rtype));
        }
    }
    match (tried.iter().any(|tried| tried.records().is_some()), is_now) {
        (true, true) => return (Verdict::Resolves, found),
        (true, false) => return (Verdict::Cached, found),
        (false, _) => {}
    }
    let of = |outcome| {
        let is_it = |now: &&Now| now.answer.outcome == outcome;
        tried
            .iter()
            .filter_map(|tried| tried.now.as_ref())
            .find(is_it)
    };
    if let Some(Now { answer, .. }) = of(Outcome::Failure) {
        return (Verdict::Fails, vec![reason(answer)]);
    }
    match of(Outcome::NoData) {
        Some(_) => (Verdict::NoData, Vec::new()),
        None if of(Outcome::NxDomain).is_some() => (Verdict::NxDomain, Vec::new()),
        None => (Verdict::Fails, vec!["nothing was asked".to_owned()]),
    }
}

/// A failure in words.
pub(crate) fn reason(answer: &Answer) -> String {
    let mut text = answer.rcode.clone();
    if let Some(Ede {
        code,
        meaning,
        text: said,
    }) = &answer.ede
    {
        if !said.is_empty() {
            text.push_str(", ");
            text.push_str(said);
        }
        text.push_str(&format!(" (EDE {code}"));
        if !meaning.is_empty() {
            text.push_str(": ");
            text.push_str(meaning);
        }
        text.push(')');
    }
    text
}

impl Tried {
    fn of(name: &str, rtype: RecordType, explanation: Explanation) -> Self {
        let Explanation {
            local,
            cached,
            under_way,
            route,
            nameservers,
            last_failure,
            now,
        } = explanation;
        Self {
            name: name.to_owned(),
            rtype: answer::mnemonic_of(rtype),
            local,
            route,
            nameservers,
            cached: cached.map(
                |Cached {
                     age_ms,
                     left,
                     message,
                 }| FromCache {
                    age_ms,
                    left,
                    answer: Answer::read(&message.0, rtype),
                },
            ),
            under_way,
            last_failure,
            now: now.map(|Looked { took_us, message }| Now {
                took_us,
                answer: Answer::read(&message.0, rtype),
            }),
        }
    }

    /// What a client gets, if there are records: those of now, else those of the cache.
    fn records(&self) -> Option<&Answer> {
        let now = self.now.as_ref().map(|now| &now.answer);
        let cached = self.cached.as_ref().map(|cached| &cached.answer);
        let has = |answer: &&Answer| answer.outcome == Outcome::Records;
        let is_word = |answer: &&Answer| answer.outcome != Outcome::Failure;
        let is_fresh = |cached: &FromCache| matches!(cached.left, Left::Fresh(_));
        // What upstream denies the cache gives as long as it is fresh.
        match (now.filter(is_word), &self.cached) {
            (Some(now), Some(known)) if now.outcome != Outcome::Records && is_fresh(known) => {
                cached
            }
            (Some(now), _) => Some(now),
            (None, _) => cached,
        }
        .filter(has)
    }

    fn has_now(&self) -> bool {
        let now = self.now.as_ref();
        now.is_some_and(|now| now.answer.outcome == Outcome::Records)
    }
}

impl Report {
    /// Whether a program gets something.
    #[must_use]
    pub fn resolves(&self) -> bool {
        matches!(
            self.verdict,
            Verdict::Hosts | Verdict::Resolves | Verdict::Cached
        )
    }
}

/// The name that has an address's name (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev();
            let nibbles: String = nibbles
                .map(|byte| format!("{:x}.{:x}.", byte & 0xf, byte >> 4))
                .collect();
            format!("{nibbles}ip6.arpa")
        }
    }
}

#[cfg(test)]
mod tests;
