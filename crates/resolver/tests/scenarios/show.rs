//! What of a message is not as an entry says, in words.

use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::entry::{EDE, Entry, FLAGS, OPCODES, PARTS, Part, RCODES, UDP_SIZE};

impl Entry {
    /// What of `got` is not as it is here, in words; nothing if all that MATCH names is.
    pub(crate) fn differences(&self, got: &Message) -> Vec<String> {
        let differs = |&part: &Part| {
            let (expected, got) = (self.show(part, &self.message), self.show(part, got));
            (expected != got).then(|| {
                let part = format!("{part:?}").to_lowercase();
                format!("{part}: expected {expected}, got {got}")
            })
        };
        self.parts.iter().filter_map(differs).collect()
    }

    /// A part that the message of this entry has, and MATCH does not name.
    pub(crate) fn unmatched(&self) -> Option<&'static str> {
        let has = |part: Part| self.parts.contains(&part);
        let nothing = Message::query();
        let is_unmatched = |(_, part): &&(&str, Part)| {
            let shown = self.show(*part, &self.message);
            let is_named = match part {
                Part::Qname => has(Part::Subdomain),
                // EDE makes an OPT of its own.
                Part::Edns => has(Part::Ede) && shown == UDP_SIZE.to_string(),
                Part::Subdomain => true,
                _ => false,
            };
            let is_written = match part {
                Part::Rcode => self.says_rcode,
                _ => shown != self.show(*part, &nothing),
            };
            is_written && !is_named && !has(*part)
        };
        PARTS.iter().find(is_unmatched).map(|(name, _)| *name)
    }

    /// A part of a message as text.
    fn show(&self, part: Part, message: &Message) -> String {
        let question = message.queries.first();
        let edns = message.edns.as_ref();
        let shown = match part {
            Part::Opcode => name_of(&OPCODES, message.metadata.op_code),
            Part::Rcode => rcode(message.metadata.response_code),
            Part::Qname => question.map_or_else(String::new, |question| self.name(&question.name)),
            Part::Subdomain => self.subdomain(message),
            Part::Qtype => {
                question.map_or_else(String::new, |question| type_name(question.query_type))
            }
            Part::Flags => flags(message),
            Part::Answer => self.records(&message.answers),
            Part::Authority => self.records(&message.authorities),
            Part::Additional => self.records(&message.additionals),
            Part::Edns => edns.map_or_else(String::new, opt),
            Part::Ede => edns.map_or_else(String::new, |edns| self.error(edns)),
        };
        match shown.is_empty() {
            true => "none".into(),
            false => shown,
        }
    }

    fn name(&self, name: &Name) -> String {
        match self.case {
            true => name.to_ascii(),
            false => name.to_ascii().to_lowercase(),
        }
    }

    /// The name of this entry, if that of `message` is under it.
    fn subdomain(&self, message: &Message) -> String {
        let name = |message: &Message| message.queries.first().map(|query| query.name.clone());
        match (name(&self.message), name(message)) {
            (Some(zone), Some(name)) if zone.zone_of(&name) => format!("a name under {zone}"),
            (_, name) => name.map_or_else(String::new, |name| self.name(&name)),
        }
    }

    fn records(&self, records: &[Record]) -> String {
        let show = |record: &Record| {
            let ttl = match self.ttl {
                true => format!("{} ", record.ttl),
                false => String::new(),
            };
            let name = self.name(&record.name);
            let rtype = type_name(record.record_type());
            let data = match &record.data {
                RData::Unknown { rdata, .. } => format!("\\# {:02x?}", rdata.anything),
                data => data.to_string(),
            };
            format!("`{name} {ttl}{} {rtype} {data}`", record.dns_class)
        };
        let shown: Vec<String> = records.iter().map(show).collect();
        shown.join(" and ")
    }

    /// The Extended DNS Error, with its text if this entry has one.
    fn error(&self, edns: &Edns) -> String {
        let text = |edns: &Edns| match edns.option(EDE.into()) {
            Some(EdnsOption::Unknown(_, value)) if value.len() >= 2 => {
                let code = u16::from_be_bytes([value[0], value[1]]);
                Some((code, String::from_utf8_lossy(&value[2..]).into_owned()))
            }
            _ => None,
        };
        let is_text_asked = self.message.edns.as_ref().and_then(text);
        match (text(edns), is_text_asked) {
            (Some((code, text)), Some((_, asked))) if !asked.is_empty() => format!("{code} {text}"),
            (Some((code, _)), _) => code.to_string(),
            (None, _) => String::new(),
        }
    }
}

/// What is asked, and of a response what it says.
pub(crate) fn in_short(message: &Message) -> String {
    let mut words = Vec::new();
    if let Some(question) = message.queries.first() {
        words.extend([question.name.to_ascii(), type_name(question.query_type)]);
    }
    if message.metadata.message_type == MessageType::Response {
        words.push(rcode(message.metadata.response_code));
    }
    let data = message.answers.iter().map(|record| record.data.to_string());
    words.extend(data);
    words.join(" ")
}

/// By its number: hickory-proto reads BADVERS as BADSIG, which has the same.
fn rcode(rcode: ResponseCode) -> String {
    let is_it = |other: &ResponseCode| u16::from(*other) == u16::from(rcode);
    let known = RCODES.iter().find(|(_, other)| is_it(other));
    known.map_or_else(|| rcode.to_string(), |(name, _)| (*name).to_owned())
}

fn flags(message: &Message) -> String {
    let mut message = message.clone();
    let mut set = Vec::new();
    if message.metadata.message_type == MessageType::Response {
        set.push("QR");
    }
    let flags = FLAGS.iter().filter(|(_, flag)| *flag(&mut message));
    set.extend(flags.map(|(name, _)| *name));
    set.join(" ")
}

/// OPT but for the Extended DNS Error.
fn opt(edns: &Edns) -> String {
    let mut shown = edns.max_payload().to_string();
    if edns.flags().dnssec_ok {
        shown.push_str(" DO");
    }
    if edns.version() != 0 {
        shown.push_str(&format!(" version={}", edns.version()));
    }
    for (code, option) in edns.options().as_ref() {
        if u16::from(*code) != EDE {
            shown.push_str(&format!(" {option:?}"));
        }
    }
    shown
}

fn type_name(rtype: RecordType) -> String {
    match rtype {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        known => known.to_string(),
    }
}

fn name_of<T: PartialEq + std::fmt::Debug>(table: &[(&str, T)], value: T) -> String {
    let found = table.iter().find(|(_, other)| *other == value);
    found.map_or_else(|| format!("{value:?}"), |(name, _)| (*name).to_owned())
}
