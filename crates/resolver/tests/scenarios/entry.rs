//! A message as text, and what of it another one must have.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use resolver::Transport;

use crate::read::{Lines, Outcome, Words};

/// TTL of a record that is written without one, as in unbound's files.
const TTL: u32 = 3600;

/// UDP size of an OPT that is written without one.
pub(crate) const UDP_SIZE: u16 = 1232;

/// Option code of Extended DNS Errors (RFC 8914).
pub(crate) const EDE: u16 = 15;

/// What stands between ENTRY_BEGIN and ENTRY_END.
pub(crate) struct Entry {
    pub(crate) message: Message,
    pub(crate) transport: Option<Transport>,
    pub(crate) parts: Vec<Part>,
    /// Records must have the same TTLs.
    pub(crate) ttl: bool,
    /// Names must be written the same.
    pub(crate) case: bool,
    /// The answer repeats the question, whatever it is.
    copy_query: bool,
    /// REPLY has a response code.
    pub(crate) says_rcode: bool,
}

/// What MATCH can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Opcode,
    Qname,
    Subdomain,
    Qtype,
    Rcode,
    Flags,
    Answer,
    Authority,
    Additional,
    Edns,
    Ede,
}

pub(crate) const PARTS: [(&str, Part); 11] = [
    ("opcode", Part::Opcode),
    ("qname", Part::Qname),
    ("subdomain", Part::Subdomain),
    ("qtype", Part::Qtype),
    ("rcode", Part::Rcode),
    ("flags", Part::Flags),
    ("answer", Part::Answer),
    ("authority", Part::Authority),
    ("additional", Part::Additional),
    ("edns", Part::Edns),
    ("ede", Part::Ede),
];

#[derive(Clone, Copy)]
enum Section {
    Question,
    Answer,
    Authority,
    Additional,
}

const SECTIONS: [(&str, Section); 4] = [
    ("QUESTION", Section::Question),
    ("ANSWER", Section::Answer),
    ("AUTHORITY", Section::Authority),
    ("ADDITIONAL", Section::Additional),
];

pub(crate) const OPCODES: [(&str, OpCode); 4] = [
    ("QUERY", OpCode::Query),
    ("STATUS", OpCode::Status),
    ("NOTIFY", OpCode::Notify),
    ("UPDATE", OpCode::Update),
];

pub(crate) const RCODES: [(&str, ResponseCode); 7] = [
    ("NOERROR", ResponseCode::NoError),
    ("FORMERR", ResponseCode::FormErr),
    ("SERVFAIL", ResponseCode::ServFail),
    ("NXDOMAIN", ResponseCode::NXDomain),
    ("NOTIMP", ResponseCode::NotImp),
    ("REFUSED", ResponseCode::Refused),
    ("BADVERS", ResponseCode::BADVERS),
];

/// Name and bit of each flag of the header.
pub(crate) type Flag = (&'static str, fn(&mut Message) -> &mut bool);

pub(crate) const FLAGS: [Flag; 6] = [
    ("AA", |message| &mut message.metadata.authoritative),
    ("TC", |message| &mut message.metadata.truncation),
    ("RD", |message| &mut message.metadata.recursion_desired),
    ("RA", |message| &mut message.metadata.recursion_available),
    ("AD", |message| &mut message.metadata.authentic_data),
    ("CD", |message| &mut message.metadata.checking_disabled),
];

impl Entry {
    /// Reads up to ENTRY_END what is for a step of this kind.
    pub(crate) fn read(lines: &mut Lines<'_>, step: &str) -> Outcome<Self> {
        let mut entry = Self {
            message: Message::query(),
            transport: None,
            parts: Vec::new(),
            ttl: false,
            case: false,
            copy_query: false,
            says_rcode: false,
        };
        let mut section = None;
        loop {
            let mut words = lines.next()?;
            let line = words;
            let read = match words.next() {
                Some("MATCH") => words.try_for_each(|word| entry.matches(word)),
                Some("ADJUST") if words.rest() == "copy_query" => {
                    entry.copy_query = true;
                    Ok(())
                }
                Some("REPLY") => words.try_for_each(|word| entry.header(word)),
                Some("EDNS") => entry.opt(words),
                Some("EDE") => entry.ede(words),
                Some("SECTION") => {
                    by_name(&SECTIONS, words.rest()).map(|named| section = Some(named))
                }
                Some("ENTRY_END") => {
                    lines.at(entry.all_of_it_counts(step))?;
                    return Ok(entry);
                }
                _ => entry.record(section, line),
            };
            lines.at(read)?;
        }
    }

    /// Refuses what a step of this kind would not look at.
    fn all_of_it_counts(&self, step: &str) -> Result<(), String> {
        let is_check = step.starts_with("CHECK_");
        let refuse = |what: &str| Err(format!("{what} in the entry of {step}"));
        match step {
            "QUERY" if !self.parts.is_empty() => return refuse("MATCH says only TCP or UDP"),
            "QUERY" => {}
            _ if self.transport.is_some() => return refuse("neither TCP nor UDP are"),
            "REPLY" => {}
            _ if self.parts.is_empty() => return refuse("MATCH is missing"),
            _ => {}
        }
        if self.copy_query && (is_check || step == "QUERY") {
            return refuse("nothing is adjusted");
        }
        match self.unmatched().filter(|_| is_check) {
            Some(part) => refuse(&format!("`{part}` is written, and not in MATCH,")),
            None => Ok(()),
        }
    }

    fn matches(&mut self, word: &str) -> Result<(), String> {
        match word {
            "UDP" => self.transport = Some(Transport::Udp),
            "TCP" => self.transport = Some(Transport::Tcp),
            "ttl" => self.ttl = true,
            "case" => self.case = true,
            "question" => self.parts.extend([Part::Qname, Part::Qtype]),
            "all" => {
                let all = PARTS.iter().map(|(_, part)| *part);
                self.parts
                    .extend(all.filter(|part| *part != Part::Subdomain));
            }
            _ => self.parts.push(by_name(&PARTS, word)?),
        }
        Ok(())
    }

    fn header(&mut self, word: &str) -> Result<(), String> {
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == word) {
            *flag(&mut self.message) = true;
        } else if word == "QR" {
            self.message.metadata.message_type = MessageType::Response;
        } else if word == "DO" {
            self.edns().set_dnssec_ok(true);
        } else if let Ok(opcode) = by_name(&OPCODES, word) {
            self.message.metadata.op_code = opcode;
        } else {
            self.message.metadata.response_code = by_name(&RCODES, word)?;
            self.says_rcode = true;
        }
        Ok(())
    }

    fn edns(&mut self) -> &mut Edns {
        let new = || {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_SIZE);
            edns
        };
        self.message.edns.get_or_insert_with(new)
    }

    /// `EDNS SIZE [version=N] [option=CODE:HEX]`
    fn opt(&mut self, mut words: Words<'_>) -> Result<(), String> {
        let size = words.value("a UDP size")?;
        self.edns().set_max_payload(size);
        words.try_for_each(|word| {
            match word.split_once('=') {
                Some(("version", version)) => {
                    self.edns().set_version(Words(version).value("a version")?);
                }
                Some(("option", option)) => {
                    let (code, value) = option.split_once(':').unwrap_or((option, ""));
                    let code = Words(code).value("an option's code")?;
                    let option = EdnsOption::Unknown(code, hex(value)?);
                    self.edns().options_mut().insert(option);
                }
                _ => return Err(format!("`{word}` is nothing of OPT")),
            }
            Ok(())
        })
    }

    /// `EDE CODE [TEXT]`
    fn ede(&mut self, mut words: Words<'_>) -> Result<(), String> {
        let code: u16 = words.value("an Extended DNS Error's code")?;
        let value = [&code.to_be_bytes()[..], words.rest().as_bytes()].concat();
        let option = EdnsOption::Unknown(EDE, value);
        self.edns().options_mut().insert(option);
        Ok(())
    }

    /// `NAME [TTL] [IN|CH|HS] TYPE RDATA`, in the question section without TTL and rdata.
    fn record(&mut self, section: Option<Section>, mut words: Words<'_>) -> Result<(), String> {
        let Some(section) = section else {
            return Err(format!("`{}` is not understood in an entry", words.0));
        };
        let owner = words.next().unwrap_or_default();
        let name = Name::from_ascii(owner).map_err(|why| format!("`{owner}`: {why}"))?;
        if !owner.ends_with('.') {
            return Err(format!("`{owner}`: names end with a dot"));
        }
        let mut ttl = TTL;
        let mut rtype = words.next().unwrap_or_default();
        if let Ok(number) = rtype.parse() {
            ttl = number;
            rtype = words.next().unwrap_or_default();
        }
        let class = match rtype {
            "CH" => DNSClass::CH,
            "HS" => DNSClass::HS,
            _ => DNSClass::IN,
        };
        if matches!(rtype, "IN" | "CH" | "HS") {
            rtype = words.next().unwrap_or_default();
        }
        let rtype = type_of(rtype)?;
        let message = &mut self.message;
        let records = match section {
            Section::Question => {
                let mut query = Query::query(name, rtype);
                query.set_query_class(class);
                message.add_query(query);
                return words.end();
            }
            Section::Answer => &mut message.answers,
            Section::Authority => &mut message.authorities,
            Section::Additional => &mut message.additionals,
        };
        let mut record = Record::from_rdata(name, ttl, rdata(rtype, words)?);
        record.dns_class = class;
        records.push(record);
        Ok(())
    }

    /// The answer to `question`.
    pub(crate) fn answer_to(&self, question: &Message) -> Vec<u8> {
        let mut message = self.message.clone();
        if self.copy_query {
            message.queries.clone_from(&question.queries);
        }
        message.to_vec().expect("a message of a few records")
    }
}

fn rdata(rtype: RecordType, mut words: Words<'_>) -> Result<RData, String> {
    let text = words.0;
    if words.next() != Some("\\#") {
        return RData::try_from_str(rtype, text).map_err(|why| format!("`{text}`: {why}"));
    }
    let length: usize = words.value("the length of the rdata")?;
    let bytes = hex(words.rest())?;
    if bytes.len() != length {
        return Err(format!("the rdata has {} bytes", bytes.len()));
    }
    Ok(RData::Unknown {
        code: rtype,
        rdata: NULL::with(bytes),
    })
}

/// Types without a name are TYPE and a number (RFC 3597 section 5).
fn type_of(text: &str) -> Result<RecordType, String> {
    let number: Option<u16> = text
        .strip_prefix("TYPE")
        .and_then(|number| number.parse().ok());
    match number {
        Some(number) => Ok(RecordType::from(number)),
        None => text.parse().map_err(|_| format!("`{text}` is no type")),
    }
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{text}` is not pairs of hexadecimal digits");
    let digits: Vec<char> = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    if !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    digits
        .chunks(2)
        .map(|pair| byte(pair).map_err(|_| wrong()))
        .collect()
}

fn by_name<T: Copy>(table: &[(&str, T)], word: &str) -> Result<T, String> {
    let found = table.iter().find(|(name, _)| *name == word);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("`{word}` is not understood here"))
}
