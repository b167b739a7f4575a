//! What the sandbox's AmazonDNS knows: DNS records in memory, from RFC 1035 master file text.
//!
//! One file may hold several zones (several SOA records). Lookups follow CNAME within the file, wildcards work
//! (RFC 4592), and a name that does not exist is told from a type that does not (NXDOMAIN, NODATA; RFC 2308), each
//! with the SOA of the closest zone.

mod rfc3597;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{LowerName, RData, Record, RecordType};
use hickory_proto::serialize::txt::{ParseError, Parser};

use crate::addresses::VpcCidr;
use crate::endpoints::{SERVICES, interface_names};

/// Links of a CNAME chain followed in one answer, as unbound and BIND limit it.
const LONGEST_CHAIN: usize = 11;

/// Size of the text in `large.kv.internal`, bytes: more than any UDP answer carries.
const LARGE_TXT: usize = 5000;

/// Addresses of `many.kv.internal`: 16 bytes each in an answer, more than the 1232 bytes that a client takes over UDP.
const MANY: u8 = 100;

/// Every record, in layers: what is always there, and what comes and goes with an interface endpoint.
#[derive(Debug)]
pub(crate) struct Zone {
    layers: Vec<Layer>,
}

/// What a lookup finds.
#[derive(Debug)]
pub(crate) struct Answer {
    /// NOERROR or NXDOMAIN.
    pub(crate) code: ResponseCode,
    /// The CNAME chain, then the records asked for.
    pub(crate) records: Vec<Record>,
    /// For the authority section, where the name or the type does not exist: the TTL is the negative one (RFC 2308 §5).
    pub(crate) soa: Option<Record>,
}

impl Zone {
    /// The built-in zone, rendered for the VPC's block. The names are listed in the crate's documentation.
    pub(crate) fn builtin(vpc: VpcCidr) -> Result<Self, ZoneError> {
        let mut always = render(include_str!("zone/builtin.zone"), vpc);
        always.push_str(&large_txt());
        always.push_str(&many_addresses(vpc));
        always.push_str(&interface_names(vpc.parent()));
        for service in &SERVICES {
            always.push_str(&service.interfaces(vpc));
        }
        let mut layers = vec![Layer::always(&always, "the built-in zone")?];
        for service in &SERVICES {
            layers.push(Layer {
                service: Some(service.name),
                present: Records::parse(&service.with_endpoint(vpc), service.name)?,
                absent: Records::parse(&service.without_endpoint(), service.name)?,
            });
        }
        Ok(Self { layers })
    }

    /// The zone, or zones, of a master file.
    pub(crate) fn read(path: &Path) -> Result<Self, ZoneError> {
        let source = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ZoneError::Read {
            source_name: source.clone(),
            error,
        })?;
        Ok(Self {
            layers: vec![Layer::always(&text, &source)?],
        })
    }

    /// Answers a question as a recursive resolver would. `without` says whether a service's endpoint is away.
    pub(crate) fn answer(
        &self,
        name: &LowerName,
        wanted: RecordType,
        without: &dyn Fn(&str) -> bool,
    ) -> Answer {
        let mut records = Vec::new();
        let mut name = name.clone();
        for _ in 0..LONGEST_CHAIN {
            let Some(found) = self.find(&name, without) else {
                return self.negative(ResponseCode::NXDomain, records, &name);
            };
            let before = records.len();
            records.extend(
                found
                    .iter()
                    .filter(|record| matches(record, wanted))
                    .cloned(),
            );
            if records.len() > before {
                return Answer {
                    code: ResponseCode::NoError,
                    records,
                    soa: None,
                };
            }
            let Some(alias) = found
                .iter()
                .find(|record| record.record_type() == RecordType::CNAME)
            else {
                return self.negative(ResponseCode::NoError, records, &name);
            };
            records.push(alias.clone());
            if let RData::CNAME(target) = &alias.data {
                name = LowerName::new(&target.0);
            }
        }
        Answer {
            code: ResponseCode::ServFail,
            records: Vec::new(),
            soa: None,
        }
    }

    /// Every IPv4 address that some name has, with and without endpoints.
    pub(crate) fn addresses(&self) -> HashSet<Ipv4Addr> {
        self.layers
            .iter()
            .flat_map(|layer| [&layer.present, &layer.absent])
            .flat_map(|records| records.names.values().flatten())
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(address.0),
                _ => None,
            })
            .collect()
    }

    /// The records at `name`, at the wildcard that covers it, or none (empty) if only longer names exist.
    fn find(&self, name: &LowerName, without: &dyn Fn(&str) -> bool) -> Option<Vec<Record>> {
        if let Some(records) = self.at(name, without) {
            return Some(records);
        }
        // RFC 4592: the wildcard directly under the closest encloser that exists, and no other.
        let mut below = name.clone();
        while !below.is_root() {
            let encloser = below.base_name();
            if encloser.is_root() || self.at(&encloser, without).is_some() {
                let mut records = self.at(&below.into_wildcard(), without)?;
                for record in &mut records {
                    record.name = name.into();
                }
                return Some(records);
            }
            below = encloser;
        }
        None
    }

    fn at(&self, name: &LowerName, without: &dyn Fn(&str) -> bool) -> Option<Vec<Record>> {
        let mut found: Option<Vec<Record>> = None;
        for layer in &self.layers {
            if let Some(records) = layer.at(name, without) {
                found.get_or_insert_default().extend_from_slice(records);
            }
        }
        found
    }

    fn negative(&self, code: ResponseCode, records: Vec<Record>, name: &LowerName) -> Answer {
        let mut zone = name.clone();
        let soa = loop {
            let soa = self.layers.iter().find_map(|layer| {
                let at = layer.present.names.get(&zone)?;
                at.iter()
                    .find(|record| record.record_type() == RecordType::SOA)
            });
            match soa {
                Some(soa) => break Some(negative_soa(soa)),
                None if zone.is_root() => break None,
                None => zone = zone.base_name(),
            }
        };
        Answer { code, records, soa }
    }
}

#[derive(Debug)]
struct Layer {
    /// Whose endpoint switches between `present` and `absent`.
    service: Option<&'static str>,
    present: Records,
    absent: Records,
}

impl Layer {
    fn always(text: &str, source: &str) -> Result<Self, ZoneError> {
        Ok(Self {
            service: None,
            present: Records::parse(text, source)?,
            absent: Records::default(),
        })
    }

    fn at(&self, name: &LowerName, without: &dyn Fn(&str) -> bool) -> Option<&[Record]> {
        let (present, absent) = (self.present.at(name), self.absent.at(name));
        if present.is_none() && absent.is_none() {
            return None;
        }
        match self.service {
            Some(service) if without(service) => absent,
            _ => present,
        }
    }
}

#[derive(Debug, Default)]
struct Records {
    names: HashMap<LowerName, Vec<Record>>,
    /// Names that have no records but longer names below them (empty non-terminals, RFC 8499).
    empty: HashSet<LowerName>,
}

impl Records {
    fn parse(text: &str, source: &str) -> Result<Self, ZoneError> {
        let text = rfc3597::disguise(text).map_err(|error| ZoneError::Rfc3597 {
            source_name: source.to_owned(),
            error,
        })?;
        let root = Some(hickory_proto::rr::Name::root());
        let (_, sets) =
            Parser::new(text, None, root)
                .parse()
                .map_err(|error| ZoneError::Parse {
                    source_name: source.to_owned(),
                    error,
                })?;
        let mut records = Self::default();
        for record in sets.values().flat_map(|set| set.records_without_rrsigs()) {
            let name = LowerName::new(&record.name);
            let mut above = name.clone();
            while !above.is_root() {
                above = above.base_name();
                records.empty.insert(above.clone());
            }
            records
                .names
                .entry(name)
                .or_default()
                .push(rfc3597::reveal(record));
        }
        Ok(records)
    }

    fn at(&self, name: &LowerName) -> Option<&[Record]> {
        match self.names.get(name) {
            Some(records) => Some(records),
            None => self.empty.contains(name).then_some(&[]),
        }
    }
}

fn matches(record: &Record, wanted: RecordType) -> bool {
    wanted == RecordType::ANY || record.record_type() == wanted
}

/// The SOA as a negative answer carries it: its TTL is the lesser of its own and its MINIMUM (RFC 2308 §5).
fn negative_soa(soa: &Record) -> Record {
    let mut soa = soa.clone();
    if let RData::SOA(data) = &soa.data {
        soa.ttl = soa.ttl.min(data.minimum);
    }
    soa
}

/// `{1.40}` becomes address 40 of the VPC's subnet 1.
fn render(template: &str, vpc: VpcCidr) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let place = after.split_once('}').and_then(|(place, after)| {
            let (subnet, host) = place.split_once('.')?;
            Some((subnet.parse().ok()?, host.parse().ok()?, after))
        });
        match place {
            Some((subnet, host, after)) => {
                out.push_str(&vpc.at(subnet, host).to_string());
                rest = after;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

fn large_txt() -> String {
    let strings: String = "0123456789".repeat(LARGE_TXT / 10);
    let strings = strings.as_bytes().chunks(250);
    let quoted = strings.map(|string| format!("\"{}\"", String::from_utf8_lossy(string)));
    format!(
        "large.kv.internal. 60 IN TXT {}\n",
        quoted.collect::<Vec<_>>().join(" ")
    )
}

fn many_addresses(vpc: VpcCidr) -> String {
    let record = |host| format!("many.kv.internal. 60 IN A {}\n", vpc.at(3, host));
    (1..=MANY).map(record).collect()
}

/// Why a zone cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ZoneError {
    #[error("cannot read the zone file {source_name}: {error}")]
    Read {
        source_name: String,
        error: io::Error,
    },
    #[error("{source_name} is not an RFC 1035 master file: {error}")]
    Parse {
        source_name: String,
        error: ParseError,
    },
    #[error("{source_name}, {error}")]
    Rfc3597 {
        source_name: String,
        error: rfc3597::Rfc3597Error,
    },
}

#[cfg(test)]
mod tests;
