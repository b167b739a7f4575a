//! Whether the traffic to AWS's names stays private: what each name resolves to, and what those
//! addresses are.
//!
//! A service's normal name leads into the VPC where an interface endpoint with private DNS is, and to
//! public addresses where none is: only an answer tells. So each name is asked as a program would ask
//! it, and judged by the addresses that come back ([`Nature`]).
//!
//! ```text
//! name     what a name's labels tell: a service, an endpoint's own name, a zone
//! ask      one question to one nameserver (hickory-net)
//! judge    what an address is
//! report   the whole, as text for people and JSON for machines
//! ```

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::timeout;

mod ask;
mod judge;
mod name;
mod report;

use self::ask::{Answered, Asker};
use self::judge::Map;
pub use self::judge::Nature;
use self::name::Kind;
pub use self::name::usual;
pub use self::report::Style;

/// Names asked for at a time: a check is no burst against AmazonDNS's quota.
const AT_A_TIME: usize = 4;

/// Names of one check, each of which costs a handful of packets.
pub const MAX_NAMES: usize = 256;

/// Addresses of one name that are shown, asked for their names and connected to.
const MAX_ADDRESSES: usize = 32;

/// HTTPS, where every endpoint of AWS listens.
const HTTPS: u16 = 443;

/// How long a connection may take to open: a second more than proxify takes to say that nothing answers.
const CONNECT: Duration = Duration::from_secs(10);

/// What is to be checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who is asked.
    pub server: SocketAddr,
    /// The names, at most [`MAX_NAMES`].
    pub names: Vec<Name>,
    /// The VPC's blocks; none if they are not known.
    pub blocks: Vec<IpNet>,
    /// Whether to open a TCP connection to port 443 of each address.
    pub connect: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who was asked.
    pub server: SocketAddr,
    /// The VPC's blocks by which addresses were judged.
    pub blocks: Vec<IpNet>,
    /// One for each name, in the order given.
    pub names: Vec<Checked>,
}

/// One name.
#[derive(Clone, Debug)]
pub struct Checked {
    /// As it was given.
    pub name: Name,
    /// From the name to its last target.
    pub aliases: Vec<Alias>,
    /// In ascending order, IPv4 first.
    pub addresses: Vec<Found>,
    /// Addresses beyond those that are shown.
    pub more: usize,
    /// Why there are none, or none of one family.
    pub failures: Vec<String>,
    /// Whether the nameserver gave no answer at all.
    pub is_unanswered: bool,
}

/// A CNAME record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Where it leads.
    pub target: Name,
    /// Seconds.
    pub ttl: u32,
}

/// One address of a name.
#[derive(Clone, Debug)]
pub struct Found {
    /// The address.
    pub address: IpAddr,
    /// Seconds.
    pub ttl: u32,
    /// What it is.
    pub nature: Nature,
    /// The availability zone, if a zonal name has told.
    pub zone: Option<String>,
    /// The address's name (PTR).
    pub ptr: Option<Name>,
    /// How long a connection took to open, or why it did not.
    pub connected: Option<Result<Duration, String>>,
}

/// What to think of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All its addresses are private.
    Private,
    /// S3 or DynamoDB on public addresses: the route table decides, by a gateway endpoint's prefix list.
    Gateway,
    /// At least one address is public.
    Public,
    /// At least one address is this machine's own.
    Loopback,
    /// It has no addresses.
    Nothing,
    /// It could not be looked up.
    Failed,
}

/// Looks everything up and judges it.
pub async fn check(config: Config) -> Report {
    let asker = Asker::new(config.server);
    let looked_up = stream::iter(&config.names)
        .map(|name| look_up(&asker, name))
        .buffered(AT_A_TIME);
    let mut names: Vec<Checked> = looked_up.collect().await;
    let map = map(&asker, config.blocks, &names).await;
    for checked in &mut names {
        let chain = checked.chain();
        for found in &mut checked.addresses {
            found.nature = map.judge(found.address, &chain);
            found.zone = map.zones.get(&found.address).cloned();
        }
    }
    let details = stream::iter(names.iter_mut().flat_map(|checked| &mut checked.addresses))
        .map(|found| detail(&asker, found, config.connect))
        .buffer_unordered(AT_A_TIME);
    details.collect::<()>().await;
    Report {
        server: config.server,
        blocks: map.blocks,
        names,
    }
}

impl Report {
    /// How many names have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        let names = self.names.iter();
        names.filter(|name| name.verdict() == verdict).count()
    }

    /// Whether all names were looked up and, where it was tried, every connection opened.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        let works = |found: &Found| !matches!(found.connected, Some(Err(_)));
        self.count(Verdict::Failed) == 0
            && self
                .names
                .iter()
                .all(|name| name.addresses.iter().all(works))
    }

    /// Whether no name leads to where it should not: all are private, or a gateway's.
    #[must_use]
    pub fn all_private(&self) -> bool {
        let names = self.names.iter();
        names
            .map(Checked::verdict)
            .all(|verdict| matches!(verdict, Verdict::Private | Verdict::Gateway))
    }
}

impl Checked {
    /// What to think of it: the worst of its addresses decides.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let any = |nature| self.addresses.iter().any(|found| found.nature == nature);
        if self.addresses.is_empty() {
            return match self.failures.is_empty() {
                true => Verdict::Nothing,
                false => Verdict::Failed,
            };
        }
        if any(Nature::Public) {
            Verdict::Public
        } else if any(Nature::Loopback) {
            Verdict::Loopback
        } else if any(Nature::Gateway) {
            Verdict::Gateway
        } else {
            Verdict::Private
        }
    }

    fn chain(&self) -> Vec<Kind> {
        let targets = self.aliases.iter().map(|alias| &alias.target);
        std::iter::once(&self.name)
            .chain(targets)
            .map(|name| Kind::of(&name.to_ascii()))
            .collect()
    }
}

/// Both families of one name.
async fn look_up(asker: &Asker, name: &Name) -> Checked {
    let mut checked = Checked {
        name: name.clone(),
        aliases: Vec::new(),
        addresses: Vec::new(),
        more: 0,
        failures: Vec::new(),
        is_unanswered: false,
    };
    for family in [RecordType::A, RecordType::AAAA] {
        match asker.ask(name, family).await {
            Ok(answered) => checked.take(family, answered),
            Err(error) => {
                checked.failures.push(error.to_string());
                checked.is_unanswered = checked.addresses.is_empty();
                // A nameserver that does not answer is not waited for twice.
                break;
            }
        }
    }
    // Answers rotate; two reports should not differ by that.
    checked.addresses.sort_by_key(|found| found.address);
    checked.failures.dedup();
    checked
}

impl Checked {
    fn take(&mut self, family: RecordType, answered: Answered) {
        if answered.code != ResponseCode::NoError {
            let says = answered.explain();
            // NXDOMAIN is for all types.
            if answered.code == ResponseCode::NXDomain {
                self.failures.push(says);
            } else {
                self.failures.push(format!("{family}: {says}"));
            }
            return;
        }
        let mut owner = self.name.clone();
        let mut aliases = Vec::new();
        for record in answered.records {
            let address = match &record.data {
                RData::CNAME(target) if record.name == owner => {
                    owner = target.0.clone();
                    let (target, ttl) = (owner.clone(), record.ttl);
                    aliases.push(Alias { target, ttl });
                    continue;
                }
                RData::A(address) => IpAddr::V4(address.0),
                RData::AAAA(address) => IpAddr::V6(address.0),
                _ => continue,
            };
            if self.addresses.len() == MAX_ADDRESSES {
                self.more += 1;
                continue;
            }
            self.addresses.push(Found {
                address,
                ttl: record.ttl,
                nature: Nature::Public,
                zone: None,
                ptr: None,
                connected: None,
            });
        }
        if aliases.len() > self.aliases.len() {
            self.aliases = aliases;
        }
    }
}

/// What the endpoints' own names among those asked for tell of addresses.
async fn map(asker: &Asker, blocks: Vec<IpNet>, names: &[Checked]) -> Map {
    let mut map = Map {
        blocks,
        ..Map::default()
    };
    let mut zonal = BTreeSet::new();
    for checked in names {
        let chain = std::iter::once(&checked.name)
            .chain(checked.aliases.iter().map(|alias| &alias.target))
            .map(Name::to_ascii);
        for name in chain {
            let Kind::Endpoint { is_service, zone } = Kind::of(&name) else {
                continue;
            };
            zonal.extend(name::zonal(&name));
            for found in &checked.addresses {
                if is_service {
                    map.services.push(found.address);
                }
                if let Some(zone) = &zone {
                    map.zones.insert(found.address, zone.clone());
                }
            }
        }
    }
    let mut answers = stream::iter(zonal)
        .map(|(name, zone)| async move {
            let name = Name::from_ascii(name + ".").ok()?;
            let answered = asker.ask(&name, RecordType::A).await.ok()?;
            Some((answered.addresses(), zone))
        })
        .buffer_unordered(AT_A_TIME);
    while let Some(answer) = answers.next().await {
        let Some((addresses, zone)) = answer else {
            continue;
        };
        for address in addresses {
            map.zones.insert(address, zone.clone());
        }
    }
    map
}

/// What is to be known of an address beside what it is.
async fn detail(asker: &Asker, found: &mut Found, connect: bool) {
    let reverse = Name::from(found.address);
    if let Ok(answered) = asker.ask(&reverse, RecordType::PTR).await {
        found.ptr = answered
            .records
            .into_iter()
            .find_map(|record| match record.data {
                RData::PTR(name) => Some(name.0),
                _ => None,
            });
    }
    // Whoever forges an answer shall not learn what listens on this machine alone.
    if connect && !found.address.is_loopback() && !found.address.is_unspecified() {
        found.connected = Some(open(SocketAddr::new(found.address, HTTPS)).await);
    }
}

async fn open(address: SocketAddr) -> Result<Duration, String> {
    let start = Instant::now();
    match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(start.elapsed()),
        Ok(Err(error)) => Err(plain(&error)),
        Err(_) => Err(format!("nothing in {} s", CONNECT.as_secs())),
    }
}

/// The system's words without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_lowercase(),
        None => text,
    }
}
