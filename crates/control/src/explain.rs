//! What a program gets for a name, and why: what its libc does before it asks (the hosts file, the
//! search list), and what the stub has to say of each name that libc asks for.

use std::net::IpAddr;
use std::path::Path;

use hickory_proto::rr::RecordType;
use serde::Serialize;

use crate::protocol::{
    Cached, Explanation, Held, LastFailure, Left, Looked, Reply, Request, UnderWay,
};
use operator::AskError;
use report::Nameserver;

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
    /// The cache gives something else than upstream says now.
    pub is_outdated: bool,
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
    /// Records: fresh ones of the cache, or upstream's.
    Resolves,
    /// Stale records of the cache: upstream does not answer.
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
    /// What the pins say of it, if there are any.
    pub held: Option<Held>,
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
        let is_found = of_name.iter().any(|tried| {
            tried
                .given()
                .is_some_and(|answer| answer.outcome == Outcome::Records)
        });
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
        is_outdated: tried.iter().any(Tried::is_outdated),
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
            _ => Err(crate::other()),
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
    let given = || {
        tried
            .iter()
            .filter_map(|tried| Some((tried, tried.given()?)))
    };
    let mut found = given()
        .filter(|(_, answer)| answer.outcome == Outcome::Records)
        .peekable();
    if found.peek().is_some() {
        let (mut is_stale, mut data) = (false, Vec::new());
        for (tried, answer) in found {
            is_stale |= tried.now_is(Outcome::Failure) && !tried.is_fresh();
            data.extend(answer.data(&tried.rtype));
        }
        return match is_stale {
            true => (Verdict::Cached, data),
            false => (Verdict::Resolves, data),
        };
    }
    let mut outcomes = given().map(|(_, answer)| answer);
    if let Some(answer) = outcomes
        .clone()
        .find(|answer| answer.outcome == Outcome::Failure)
    {
        return (Verdict::Fails, vec![reason(answer)]);
    }
    match outcomes
        .clone()
        .any(|answer| answer.outcome == Outcome::NoData)
    {
        true => (Verdict::NoData, Vec::new()),
        false if outcomes.next().is_some() => (Verdict::NxDomain, Vec::new()),
        false => (Verdict::Fails, vec!["proxify gave no answer".to_owned()]),
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
            held,
            nameservers,
            last_failure,
            now,
        } = explanation;
        Self {
            name: name.to_owned(),
            rtype: answer::mnemonic_of(rtype),
            local,
            route,
            held,
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

    /// What the next client gets: what is fresh, or what upstream says, or what is stale.
    fn given(&self) -> Option<&Answer> {
        let now = self.now.as_ref().map(|now| &now.answer);
        match &self.cached {
            Some(cached) if self.is_fresh() || self.now_is(Outcome::Failure) => {
                Some(&cached.answer)
            }
            Some(cached) => now.or(Some(&cached.answer)),
            None => now,
        }
    }

    /// Whether the cache answers without a question upstream.
    fn is_fresh(&self) -> bool {
        let left = self.cached.as_ref().map(|cached| cached.left);
        matches!(left, Some(Left::Fresh(_) | Left::Failure(_)))
    }

    fn now_is(&self, outcome: Outcome) -> bool {
        let now = self.now.as_ref();
        now.is_some_and(|now| now.answer.outcome == outcome)
    }

    /// Whether clients get something else than upstream says.
    fn is_outdated(&self) -> bool {
        let (Some(now), Some(cached)) = (&self.now, &self.cached) else {
            return false;
        };
        let what = |answer: &Answer| {
            let mut data = answer.data(&self.rtype);
            data.sort_unstable();
            (answer.outcome, data)
        };
        let is_word = now.answer.outcome != Outcome::Failure;
        is_word && self.is_fresh() && what(&now.answer) != what(&cached.answer)
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
