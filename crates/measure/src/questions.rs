//! What is asked: names and types, given one by one or in a file.
//!
//! Files are as dnsperf reads them: `NAME [TYPE]` lines, `#` begins a comment.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use wire::{Flags, HEADER, MAX_NAME, Name, ParseNameError, Writer};

use crate::Rtype;

/// Names and types that one run asks for.
pub const MAX_NAMES: usize = 100_000;

/// Bytes of a file of names: [`MAX_NAMES`] lines of usual length.
pub const MAX_FILE: u64 = 8 << 20;

/// Characters of a bad name or line that an error repeats.
const MAX_SHOWN: usize = 60;

/// What a cold name begins with.
const FRESH: &str = "*.";

/// Bytes on the wire of the label that takes the place of `*`: its length, `bench-`, eight digits each of
/// the run and of the lookup, a hyphen.
const FRESH_LABEL: usize = 1 + 6 + 8 + 1 + 8;

/// UDP size that queries offer, in bytes: what passes any path unfragmented (DNS Flag Day 2020).
const UDP_SIZE: u16 = 1232;

/// Room for any query: header, question, OPT.
const QUERY: usize = HEADER + MAX_NAME + 4 + 11;

/// What is asked, in turn.
#[derive(Clone, Debug)]
pub struct Questions {
    each: Vec<Question>,
    cold: bool,
    /// Tells the labels of this run from those of any other.
    run: u32,
}

#[derive(Clone, Debug)]
struct Question {
    /// As a program gives it to getaddrinfo; of a cold one what stands behind `*.`.
    host: String,
    /// The same on the wire.
    name: Box<[u8]>,
    rtype: Rtype,
}

/// One lookup, ready to be sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lookup {
    /// The name for getaddrinfo.
    pub(crate) host: String,
    /// The query, with an id of its own.
    pub(crate) packet: Vec<u8>,
    /// Where its question ends.
    pub(crate) question_end: usize,
}

impl Questions {
    /// None yet. Of `cold` ones each lookup asks for a name that nobody has asked for: they begin with
    /// `*.`, and a label that is used once takes the place of the asterisk.
    #[must_use]
    pub fn new(cold: bool) -> Self {
        Self {
            each: Vec::new(),
            cold,
            run: rand::random(),
        }
    }

    /// Adds a name, once for each type.
    ///
    /// # Errors
    ///
    /// It is no name, too many are there, or it is cold where the others are not.
    pub fn add(&mut self, name: &str, rtypes: &[Rtype]) -> Result<(), QuestionsError> {
        let shown = || shown(name);
        let host = match (self.cold, name.strip_prefix(FRESH)) {
            (true, Some(rest)) => rest,
            (false, None) => name,
            (true, None) => return Err(QuestionsError::NotFresh { name: shown() }),
            (false, Some(_)) => return Err(QuestionsError::Fresh { name: shown() }),
        };
        let bad = |source| QuestionsError::Name {
            name: shown(),
            source,
        };
        let parsed: Name = host.parse().map_err(bad)?;
        if self.cold && parsed.as_bytes().len() + FRESH_LABEL > MAX_NAME {
            return Err(bad(ParseNameError::Long));
        }
        for &rtype in rtypes {
            if self.each.len() >= MAX_NAMES {
                return Err(QuestionsError::TooMany);
            }
            self.each.push(Question {
                host: host.to_owned(),
                name: parsed.as_bytes().into(),
                rtype,
            });
        }
        Ok(())
    }

    /// Adds the names of a file; where a line has no type of its own, once for each of `rtypes`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is too large, or has a line that is no name; it says which.
    pub fn add_file(&mut self, path: &Path, rtypes: &[Rtype]) -> Result<(), QuestionsError> {
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        let file = |problem| QuestionsError::File {
            path: path.to_owned(),
            problem,
        };
        read.map_err(|source| file(FileProblem::Unreadable(source)))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(file(FileProblem::TooLarge));
        }
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let line = String::from_utf8_lossy(line);
            let mut words = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace();
            let Some(name) = words.next() else {
                continue;
            };
            let wrong = |problem| QuestionsError::Line {
                path: path.to_owned(),
                line: index + 1,
                problem: Box::new(problem),
            };
            match (words.next(), words.next()) {
                (None, _) => self.add(name, rtypes).map_err(wrong)?,
                (Some(rtype), None) => {
                    let rtype = rtype.parse().map_err(|_| {
                        let line = shown(&line);
                        wrong(QuestionsError::Words { line })
                    })?;
                    self.add(name, &[rtype]).map_err(wrong)?;
                }
                (Some(_), Some(_)) => {
                    let line = shown(&line);
                    return Err(wrong(QuestionsError::Words { line }));
                }
            }
        }
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.each.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// Whether each lookup asks for a name of its own.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.cold
    }

    /// Each as a person reads it, with its type.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (String, Rtype)> {
        let fresh = if self.cold { FRESH } else { "" };
        self.each
            .iter()
            .map(move |question| (format!("{fresh}{}", question.host), question.rtype))
    }

    /// Puts lookup `number` in place; the questions follow each other in turn.
    pub(crate) fn fill(&self, number: u64, lookup: &mut Lookup) {
        let count = self.each.len().max(1) as u64;
        let index = usize::try_from(number % count).unwrap_or(0);
        let Some(question) = self.each.get(index) else {
            return;
        };
        lookup.host.clear();
        if self.cold {
            // Eight digits a run: four thousand million lookups.
            let number = number & u64::from(u32::MAX);
            lookup.host = format!("bench-{:08x}-{number:08x}.", self.run);
        }
        let label = lookup.host.strip_suffix('.').unwrap_or_default().len();
        let mut room = [0; QUERY];
        let mut out = Writer::new(&mut room);
        let written = (|| {
            out.header(rand::random(), Flags(Flags::RD), [1, 0, 0, 1])?;
            if label > 0 {
                out.u8(u8::try_from(label).ok()?)?;
                out.bytes(lookup.host.as_bytes().get(..label)?)?;
            }
            out.bytes(&question.name)?;
            out.u16(question.rtype.0)?;
            out.u16(wire::CLASS_IN)?;
            lookup.question_end = out.len();
            let opt = wire::EdnsReply {
                udp_size: UDP_SIZE,
                ..wire::EdnsReply::default()
            };
            opt.write(&mut out)
        })();
        debug_assert!(written.is_some(), "a query fits its room");
        lookup.host.push_str(&question.host);
        lookup.packet.clear();
        lookup.packet.extend_from_slice(out.written());
    }
}

/// Text of a user's, safe to be shown.
fn shown(text: &str) -> String {
    text.chars()
        .take(MAX_SHOWN)
        .flat_map(char::escape_debug)
        .collect()
}

/// Why something cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum QuestionsError {
    /// Not a name.
    #[error("`{name}` is no name: {source}")]
    Name {
        /// What was given, cut and escaped.
        name: String,
        /// What is wrong with it.
        source: ParseNameError,
    },
    /// A name that was asked for before may be cached.
    #[error(
        "`{name}`: a cold lookup needs a name that nobody has asked for; write *.DOMAIN, where any name \
         under DOMAIN exists, such as *.s3.us-east-1.amazonaws.com"
    )]
    NotFresh {
        /// What was given, cut and escaped.
        name: String,
    },
    /// A wildcard where names are to be cached.
    #[error("`{name}`: the names under it are new with each lookup; ask for them with --cold")]
    Fresh {
        /// What was given, cut and escaped.
        name: String,
    },
    /// More than [`MAX_NAMES`].
    #[error("more than {MAX_NAMES} names and types")]
    TooMany,
    /// A line that is not a name and perhaps a type.
    #[error("`{line}` is not NAME or NAME TYPE")]
    Words {
        /// The line, cut and escaped.
        line: String,
    },
    /// A line of a file is wrong.
    #[error("{}, line {line}: {problem}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: Box<Self>,
    },
    /// The file is no good.
    #[error("{}: {problem}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
}

/// What is wrong with a whole file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The system gives none of it.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// More than [`MAX_FILE`].
    #[error("larger than {} MiB", MAX_FILE >> 20)]
    TooLarge,
}

#[cfg(test)]
mod tests;
