//! The lies, and what each of them comes to.

use super::*;

/// What is written in place of an answer, and what comes of it.
pub(super) struct Lie {
    pub(super) name: &'static str,
    /// What goes on the stream after a query.
    pub(super) says: fn(&[u8]) -> Vec<u8>,
    /// Between two bytes.
    pub(super) pace: Option<Duration>,
    pub(super) outcome: Outcome,
    /// What its one line in the log says.
    pub(super) line: Option<&'static str>,
}

/// What a client gets that has nobody else to be answered by.
pub(super) enum Outcome {
    /// SERVFAIL with this Extended DNS Error, and whether it takes the time of a lookup.
    Failure { ede: u16, waits: bool },
    /// An answer that is so, and whether it is kept.
    Answer {
        is_right: fn(&Message),
        is_kept: bool,
    },
}

impl Lie {
    /// Whether the stub has to wait for something.
    pub(super) fn waits(&self) -> bool {
        matches!(self.outcome, Outcome::Failure { waits: true, .. })
    }

    pub(super) fn assert_outcome(&self, reply: &Message) {
        let name = self.name;
        assert!(!reply.authentic_data, "{name}: AD");
        match self.outcome {
            Outcome::Failure { ede: code, .. } => {
                assert_eq!(
                    reply.response_code,
                    ResponseCode::ServFail,
                    "{name}: {reply}"
                );
                assert_eq!(ede(reply), Some(code), "{name}: {reply}");
                assert!(reply.answers.is_empty(), "{name}: {reply}");
            }
            Outcome::Answer { is_right, .. } => is_right(reply),
        }
    }
}

const fn unusable(name: &'static str, says: fn(&[u8]) -> Vec<u8>, line: &'static str) -> Lie {
    Lie {
        name,
        says,
        pace: None,
        outcome: Outcome::Failure {
            ede: 0,
            waits: false,
        },
        line: Some(line),
    }
}

/// Nothing that answers: the relay promises an answer to each query, so it is the link that fails.
const fn nothing(name: &'static str, says: fn(&[u8]) -> Vec<u8>, line: &'static str) -> Lie {
    Lie {
        outcome: Outcome::Failure {
            ede: 23,
            waits: true,
        },
        ..unusable(name, says, line)
    }
}

const fn harmless(
    name: &'static str,
    says: fn(&[u8]) -> Vec<u8>,
    is_right: fn(&Message),
    is_kept: bool,
) -> Lie {
    Lie {
        name,
        says,
        pace: None,
        outcome: Outcome::Answer { is_right, is_kept },
        line: None,
    }
}

const MALFORMED: &str = "sent a malformed answer";
const ENDLESS: &str = "sent a CNAME chain without end";
const FOREIGN: &str = "sent records of another name";
const NO_RESPONSE: &str = "sent something that is not a response";
const ANOTHER: &str = "answered another question";
const UNASKED: &str = "answered what nobody asked";
const SILENT: &str = "gave no answer for 3 s";

pub(super) const LIES: &[Lie] = &[
    nothing(
        "another id",
        |query| with(query, |bytes| bytes[0] ^= 1),
        UNASKED,
    ),
    unusable(
        "another name",
        |query| with(query, |bytes| bytes[13] ^= 1),
        ANOTHER,
    ),
    unusable(
        "another type",
        |query| with(query, |bytes| bytes[question_end(query) - 3] = 28),
        ANOTHER,
    ),
    unusable(
        "another class",
        |query| with(query, |bytes| bytes[question_end(query) - 1] = 3),
        ANOTHER,
    ),
    unusable(
        "QR 0",
        |query| with(query, |bytes| bytes[2] &= 0x7F),
        NO_RESPONSE,
    ),
    unusable(
        "opcode NOTIFY",
        |query| with(query, |bytes| bytes[2] |= 0x20),
        NO_RESPONSE,
    ),
    unusable("the query itself", framed, NO_RESPONSE),
    unusable(
        "TC over a stream",
        |query| with(query, |bytes| bytes[2] |= 2),
        "truncated",
    ),
    unusable(
        "an address of another name",
        |query| {
            answer(
                query,
                &[&address(), &record(b"\x04bank\0", 1, 60, &[6, 6, 6, 6])],
            )
        },
        FOREIGN,
    ),
    unusable(
        "an address of the zone above",
        |query| answer(query, &[&record(b"\x07example\0", 1, 60, &[6, 6, 6, 6])]),
        FOREIGN,
    ),
    unusable(
        "a link that does not start at the question",
        |query| {
            let link = record(b"\x04bank\0", 5, 60, b"\x03b66\0");
            answer(query, &[&link, &record(b"\x03b66\0", 1, 60, &[6, 6, 6, 6])])
        },
        FOREIGN,
    ),
    unusable(
        "a CNAME of itself",
        |query| answer(query, &[&record(ASKED, 5, 60, ASKED)]),
        ENDLESS,
    ),
    unusable(
        "a CNAME loop",
        |query| {
            let back = record(b"\x01b\0", 5, 60, ASKED);
            answer(query, &[&record(ASKED, 5, 60, b"\x01b\0"), &back])
        },
        ENDLESS,
    ),
    unusable(
        "two CNAMEs of one name",
        |query| {
            let [first, second] = [b"\x01a\0", b"\x01b\0"].map(|to| record(ASKED, 5, 60, to));
            answer(query, &[&first, &second])
        },
        ENDLESS,
    ),
    unusable(
        "a chain of 100 links",
        |query| answer(query, &chain(100)),
        ENDLESS,
    ),
    unusable(
        "a chain of 3,000 links",
        |query| answer(query, &chain(3000)),
        ENDLESS,
    ),
    unusable(
        "an owner that points at itself",
        |query| {
            // Where the first record starts, in two bytes.
            let at = u16::try_from(question_end(query)).unwrap() | 0xC000;
            answer(query, &[&record(&at.to_be_bytes(), 1, 60, &[6, 6, 6, 6])])
        },
        MALFORMED,
    ),
    unusable(
        "an owner that points forward",
        |query| answer(query, &[&record(&[0xFF, 0xFF], 1, 60, &[6, 6, 6, 6])]),
        MALFORMED,
    ),
    unusable(
        "two CNAMEs that point into each other",
        |query| {
            let start = question_end(query);
            // The rdata of the first stands 12 bytes behind its owner's two; that of the second 14 later.
            let to = |at: usize| (u16::try_from(at).unwrap() | 0xC000).to_be_bytes();
            let first = record(ASKED, 5, 60, &to(start + 26));
            answer(query, &[&first, &record(ASKED, 5, 60, &to(start + 12))])
        },
        MALFORMED,
    ),
    unusable(
        "more answers told of than sent",
        |query| with(query, |bytes| bytes[6..8].fill(0xFF)),
        MALFORMED,
    ),
    unusable(
        "no question",
        |query| with(query, |bytes| bytes[5] = 0),
        MALFORMED,
    ),
    unusable(
        "two questions",
        |query| with(query, |bytes| bytes[5] = 2),
        MALFORMED,
    ),
    unusable(
        "rdata longer than the message",
        |query| {
            with(query, |bytes| {
                let length = bytes.len() - 6;
                bytes[length..length + 2].fill(0xFF);
            })
        },
        MALFORMED,
    ),
    unusable("only a header", |query| framed(&query[..12]), MALFORMED),
    unusable("only an id", |query| framed(&query[..2]), MALFORMED),
    unusable(
        "65,535 bytes of nothing",
        |query| {
            let mut bytes = query[..2].to_vec();
            bytes.resize(65_535, 0xFF);
            framed(&bytes)
        },
        MALFORMED,
    ),
    nothing("an empty message", |_| framed(&[]), UNASKED),
    nothing("one byte", |query| framed(&query[..1]), UNASKED),
    nothing(
        "the start of a frame and then silence",
        // Of 65,535 bytes, so that several halves make no whole.
        |query| [&[0xFF, 0xFF], &right(query)[2..]].concat(),
        SILENT,
    ),
    Lie {
        pace: Some(Duration::from_secs(1)),
        ..nothing("one byte a second", right, SILENT)
    },
    nothing(
        "the length of a frame that never comes",
        |_| vec![0xFF, 0xFF],
        SILENT,
    ),
    Lie {
        line: Some(UNASKED),
        ..harmless(
            "a thousand answers nobody asked for",
            |query| {
                let mut stranger = message(query, &[&address()]);
                stranger[0] ^= 0x80;
                let mut bytes = framed(&stranger).repeat(1000);
                bytes.extend(right(query));
                bytes
            },
            assert_right,
            true,
        )
    },
    Lie {
        line: Some(UNASKED),
        ..harmless(
            "the same answer twice",
            |query| right(query).repeat(2),
            assert_right,
            true,
        )
    },
    harmless(
        "AD set",
        |query| with(query, |bytes| bytes[3] |= 0x20),
        assert_right,
        true,
    ),
    harmless(
        "bytes and records behind the end",
        |query| {
            let address = record(ASKED, 1, 60, &address_of(&asked(query)));
            let mut message = message(query, &[&address]);
            message.extend(record(b"\x04bank\0", 1, 60, &[6, 6, 6, 6]));
            framed(&message)
        },
        assert_right,
        true,
    ),
    harmless(
        "a TTL with its top bit set",
        |query| {
            let [b0, b1, b2, b3] = address_of(&asked(query));
            answer(query, &[&record(ASKED, 1, 0x8000_003C, &[b0, b1, b2, b3])])
        },
        |reply| {
            assert_right(reply);
            assert_eq!(reply.answers[0].ttl, 0);
        },
        false,
    ),
    harmless(
        "an SOA of 68 years",
        |query| denial(query, i32::MAX as u32),
        |reply| {
            assert_eq!(reply.response_code, ResponseCode::NXDomain);
            assert!(reply.authorities[0].ttl <= 300, "{reply}");
        },
        true,
    ),
    harmless(
        "an SOA of 136 years",
        |query| denial(query, u32::MAX),
        |reply| {
            assert_eq!(reply.response_code, ResponseCode::NXDomain);
            assert_eq!(reply.authorities[0].ttl, 0);
        },
        false,
    ),
    harmless(
        "64 KiB of addresses",
        |query| {
            let address = record(ASKED, 1, 60, &[10, 0, 0, 1]);
            let room = 65_535 - question_end(query);
            answer(query, &vec![&address[..]; room / address.len()])
        },
        |reply| {
            assert_eq!(reply.response_code, ResponseCode::NoError);
            assert!(reply.truncation && !reply.answers.is_empty(), "{reply}");
        },
        true,
    ),
];

/// The name that was asked for: a pointer to the question.
const ASKED: &[u8] = &[0xC0, 12];

/// Where the question's bytes end. Queries have one name without pointers.
fn question_end(query: &[u8]) -> usize {
    12 + query[12..].iter().position(|&byte| byte == 0).unwrap() + 1 + 4
}

fn asked(query: &[u8]) -> Name {
    Message::from_vec(query).unwrap().queries[0].name().clone()
}

fn record(owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let mut bytes = owner.to_vec();
    bytes.extend(rtype.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend(u16::try_from(rdata.len()).unwrap().to_be_bytes());
    bytes.extend(rdata);
    bytes
}

/// An address of the name that was asked for.
fn address() -> Vec<u8> {
    record(ASKED, 1, 60, &[10, 0, 0, 1])
}

/// A response to the query with these answers.
fn message(query: &[u8], answers: &[&[u8]]) -> Vec<u8> {
    let mut bytes = query[..question_end(query)].to_vec();
    bytes[2] |= 0x80;
    bytes[6..8].copy_from_slice(&u16::try_from(answers.len()).unwrap().to_be_bytes());
    bytes[10..12].fill(0);
    bytes.extend(answers.concat());
    bytes
}

fn answer(query: &[u8], answers: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let answers: Vec<&[u8]> = answers.iter().map(AsRef::as_ref).collect();
    framed(&message(query, &answers))
}

/// The right answer, in its frame.
fn right(query: &[u8]) -> Vec<u8> {
    answer(query, &[&record(ASKED, 1, 60, &address_of(&asked(query)))])
}

/// The right answer with this done to it.
fn with(query: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = right(query);
    change(&mut bytes[2..]);
    bytes
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes).unwrap();
    bytes
}

/// So many CNAMEs, one after the other, and an address.
fn chain(links: u16) -> Vec<Vec<u8>> {
    let name = |link: u16| match link {
        0 => ASKED.to_vec(),
        link => [&[2][..], &link.to_be_bytes(), &[0]].concat(),
    };
    let mut records: Vec<_> = (0..links)
        .map(|link| record(&name(link), 5, 60, &name(link + 1)))
        .collect();
    records.push(record(&name(links), 1, 60, &[6, 6, 6, 6]));
    records
}

/// NXDOMAIN whose SOA has this TTL and this minimum.
fn denial(query: &[u8], ttl: u32) -> Vec<u8> {
    let mut bytes = message(query, &[]);
    bytes[3] |= 3;
    bytes[9] = 1;
    let soa = [&[0, 0][..], &[0; 16], &ttl.to_be_bytes()].concat();
    bytes.extend(record(b"\x07example\0", 6, ttl, &soa));
    framed(&bytes)
}
