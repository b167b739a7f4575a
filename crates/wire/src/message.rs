//! Walking a whole message (RFC 1035 section 4.1.3).

use crate::edns::Edns;
use crate::header::{HEADER, Header};
use crate::name::Name;
use crate::query::Question;
use crate::reader::Reader;
use crate::rtype;

/// A message whose question and records all lie inside its bytes, and whose records have readable
/// owner names.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// The header as it stands in the bytes.
    pub header: Header,
    /// The one question.
    pub question: Question<'a>,
    /// OPT, if there is one.
    pub edns: Option<Edns>,
    records_at: usize,
}

/// Why bytes are not a message that can be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than a header.
    Header,
    /// Not exactly one question, or one that cannot be read.
    Question,
    /// The counts promise more than the bytes hold, or a name or length in a record is broken.
    Record,
    /// A second OPT, one not owned by the root, or options that do not fill it.
    Opt,
}

/// One resource record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it stands.
    pub section: Section,
    /// Offset of its owner name.
    pub start: usize,
    /// Type.
    pub rtype: u16,
    /// Class; for OPT the UDP size.
    pub class: u16,
    /// Time to live in seconds; for OPT flags.
    pub ttl: u32,
    /// Offset of the TTL.
    pub ttl_at: usize,
    /// Offset of the rdata.
    pub rdata_at: usize,
    /// The rdata.
    pub rdata: &'a [u8],
    /// Offset behind the record.
    pub end: usize,
    owner_is_root: bool,
}

/// A section that holds records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// Where authority lies; SOA of a negative answer.
    Authority,
    /// OPT and what else may help.
    Additional,
}

impl<'a> Message<'a> {
    /// Reads a message to the end of its last record; bytes behind that are not looked at.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header = Header::read(bytes).ok_or(Malformed::Header)?;
        let mut reader = Reader::new(bytes, HEADER);
        if header.counts[0] != 1 {
            return Err(Malformed::Question);
        }
        let question = Question::read(&mut reader).ok_or(Malformed::Question)?;
        let mut message = Self {
            bytes,
            header,
            question,
            edns: None,
            records_at: reader.at(),
        };
        let promised: usize = header.counts[1..]
            .iter()
            .map(|&count| usize::from(count))
            .sum();
        let mut found = 0;
        for record in message.records() {
            found += 1;
            Name::read(bytes, record.start).map_err(|_| Malformed::Record)?;
            if record.rtype != rtype::OPT {
                continue;
            }
            let edns = record.edns().ok_or(Malformed::Opt)?;
            if record.section != Section::Additional || message.edns.replace(edns).is_some() {
                return Err(Malformed::Opt);
            }
        }
        if found < promised {
            return Err(Malformed::Record);
        }
        Ok(message)
    }

    /// The records in order.
    #[must_use]
    pub fn records(&self) -> Records<'a> {
        Records {
            bytes: self.bytes,
            reader: Reader::new(self.bytes, self.records_at),
            left: [
                self.header.counts[1],
                self.header.counts[2],
                self.header.counts[3],
            ],
        }
    }

    /// Offset of the first byte behind the question.
    #[must_use]
    pub const fn records_at(&self) -> usize {
        self.records_at
    }

    /// The whole message.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Iterator over the records of a [`Message`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    left: [u16; 3],
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];
        let (left, section) = self
            .left
            .iter_mut()
            .zip(SECTIONS)
            .find(|(left, _)| **left > 0)?;
        *left -= 1;
        let record = Record::read(&mut self.reader, self.bytes);
        if record.is_none() {
            self.left = [0; 3];
        }
        record.map(|record| Record { section, ..record })
    }
}

impl<'a> Record<'a> {
    /// Reads the record that starts at the reader; its section is for the caller to say.
    pub(crate) fn read(reader: &mut Reader<'a>, bytes: &'a [u8]) -> Option<Self> {
        let start = reader.at();
        reader.skip_name().ok()?;
        let owner_is_root = bytes.get(start) == Some(&0);
        let rtype = reader.u16()?;
        let class = reader.u16()?;
        let ttl_at = reader.at();
        let ttl = reader.u32()?;
        let length = reader.u16()?;
        let rdata_at = reader.at();
        let rdata = reader.take(length.into())?;
        Some(Self {
            section: Section::Additional,
            start,
            rtype,
            class,
            ttl,
            ttl_at,
            rdata_at,
            rdata,
            end: reader.at(),
            owner_is_root,
        })
    }

    /// This record read as OPT; `None` if its owner is not the root or its options are broken.
    #[must_use]
    pub fn edns(&self) -> Option<Edns> {
        if !self.owner_is_root {
            return None;
        }
        Edns::read(self.class, self.ttl, self.rdata)
    }
}
