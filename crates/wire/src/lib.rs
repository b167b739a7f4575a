//! DNS messages in place (RFC 1035 section 4): parse a query, walk the records of a message, read
//! and compare names, write headers, questions and OPT into a buffer that the caller owns.
//!
//! Nothing here allocates, blocks or panics, whatever the bytes: every read goes through [`Reader`],
//! every write through [`Writer`], and a name's compression pointers may only lead backwards.

#![no_std]
#![forbid(unsafe_code)]

mod edns;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod header;
mod message;
mod name;
mod query;
mod reader;
mod text;
mod writer;

pub use edns::{Ede, Edns, EdnsReply, ede};
pub use header::{Flags, HEADER, Header, opcode, rcode};
pub use message::{Malformed, Message, Record, Records, Section};
pub use name::{MAX_NAME, Name, NameError, suffixes};
pub use query::{Query, QueryError, Question};
pub use reader::Reader;
pub use text::ParseNameError;
pub use writer::{Writer, age_ttl, read_u16, set_id, set_ttl};

/// Record and query types that something here or above treats specially.
pub mod rtype {
    /// IPv4 address (RFC 1035).
    pub const A: u16 = 1;
    /// Canonical name (RFC 1035).
    pub const CNAME: u16 = 5;
    /// Start of authority (RFC 1035).
    pub const SOA: u16 = 6;
    /// Domain name pointer (RFC 1035).
    pub const PTR: u16 = 12;
    /// Host information, the answer to ANY (RFC 8482).
    pub const HINFO: u16 = 13;
    /// Mail exchange (RFC 1035).
    pub const MX: u16 = 15;
    /// IPv6 address (RFC 3596).
    pub const AAAA: u16 = 28;
    /// Location of a service (RFC 2782).
    pub const SRV: u16 = 33;
    /// Redirection of a subtree (RFC 6672).
    pub const DNAME: u16 = 39;
    /// EDNS pseudo-record (RFC 6891).
    pub const OPT: u16 = 41;
    /// DNSSEC signature (RFC 4034).
    pub const RRSIG: u16 = 46;
    /// Service binding (RFC 9460).
    pub const SVCB: u16 = 64;
    /// Service binding for HTTPS (RFC 9460).
    pub const HTTPS: u16 = 65;
    /// First of the types that are only ever asked, never held (RFC 6895 section 3.1).
    pub const FIRST_QTYPE: u16 = 128;
    /// All types at once (RFC 1035, RFC 8482).
    pub const ANY: u16 = 255;

    /// Types by the names that people write; any other is TYPE and its number (RFC 3597 section 5).
    pub const NAMES: [(&str, u16); 17] = [
        ("A", A),
        ("NS", 2),
        ("CNAME", CNAME),
        ("SOA", SOA),
        ("PTR", PTR),
        ("HINFO", HINFO),
        ("MX", MX),
        ("TXT", 16),
        ("AAAA", AAAA),
        ("SRV", SRV),
        ("NAPTR", 35),
        ("DS", 43),
        ("DNSKEY", 48),
        ("SVCB", SVCB),
        ("HTTPS", HTTPS),
        ("ANY", 255),
        ("CAA", 257),
    ];

    /// The name of a type that has one in [`NAMES`].
    #[must_use]
    pub fn name(rtype: u16) -> Option<&'static str> {
        let named = NAMES.iter().find(|(_, number)| *number == rtype);
        Some(named?.0)
    }
}

/// Class IN (RFC 1035).
pub const CLASS_IN: u16 = 1;
