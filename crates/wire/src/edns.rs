//! EDNS (RFC 6891) and Extended DNS Errors (RFC 8914).

use crate::reader::Reader;
use crate::rtype;
use crate::writer::Writer;

/// The DO bit in the flags that OPT keeps in its TTL (RFC 3225).
const DO: u32 = 0x8000;

/// Option code of an Extended DNS Error.
const OPTION_EDE: u16 = 15;

/// What an OPT record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP message that the sender takes, in bytes, at least 512.
    pub udp_size: u16,
    /// EDNS version; only 0 exists.
    pub version: u8,
    /// High eight bits of the response code.
    pub rcode_high: u8,
    /// DNSSEC records wanted.
    pub dnssec_ok: bool,
    /// Info-code of the first Extended DNS Error, if the record has one.
    pub ede: Option<u16>,
}

impl Edns {
    /// Reads OPT's class, TTL and rdata; `None` if the options do not fill the rdata. Those of a
    /// version other than 0 are not looked at.
    pub(crate) fn read(class: u16, ttl: u32, rdata: &[u8]) -> Option<Self> {
        let [rcode_high, version, ..] = ttl.to_be_bytes();
        let mut ede = None;
        let mut reader = Reader::new(rdata, 0);
        while version == 0 && !reader.is_empty() {
            let code = reader.u16()?;
            let length = reader.u16()?;
            let value = reader.take(length.into())?;
            if code == OPTION_EDE && ede.is_none() {
                ede = Reader::new(value, 0).u16();
            }
        }
        Some(Self {
            // Values under 512 count as 512 (RFC 6891 section 6.2.3).
            udp_size: class.max(512),
            version,
            rcode_high,
            dnssec_ok: ttl & DO != 0,
            ede,
        })
    }
}

/// The OPT record that we send, in a query or a reply.
#[derive(Clone, Copy, Debug, Default)]
pub struct EdnsReply<'a> {
    /// The largest UDP message that we take, in bytes.
    pub udp_size: u16,
    /// High eight bits of the response code.
    pub rcode_high: u8,
    /// DO, copied from the query.
    pub dnssec_ok: bool,
    /// Why the answer is not what was hoped for.
    pub ede: Option<Ede<'a>>,
}

impl EdnsReply<'_> {
    /// Length on the wire in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        11 + self.ede.map_or(0, |ede| 6 + ede.text.len())
    }

    /// Never: an OPT record has at least its fixed part.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Appends the record; `None` if there is no room. The caller counts it in the header.
    pub fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        let flags = if self.dnssec_ok { DO } else { 0 };
        out.u8(0)?;
        out.u16(rtype::OPT)?;
        out.u16(self.udp_size)?;
        out.u32(u32::from(self.rcode_high) << 24 | flags)?;
        let Some(ede) = self.ede else {
            return out.u16(0);
        };
        let length = u16::try_from(2 + ede.text.len()).ok()?;
        out.u16(length.checked_add(4)?)?;
        out.u16(OPTION_EDE)?;
        out.u16(length)?;
        out.u16(ede.code)?;
        out.bytes(ede.text.as_bytes())
    }
}

/// An Extended DNS Error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ede<'a> {
    /// One of [`ede`]'s constants.
    pub code: u16,
    /// One line for a person; may be empty.
    pub text: &'a str,
}

/// Info-codes of RFC 8914 section 5.2 and of IANA's registry that it made.
pub mod ede {
    /// None of the others.
    pub const OTHER: u16 = 0;
    /// An answer past its TTL, given because upstream did not answer.
    pub const STALE_ANSWER: u16 = 3;
    /// The failure was remembered, not met again.
    pub const CACHED_ERROR: u16 = 13;
    /// The server has just started and cannot answer yet.
    pub const NOT_READY: u16 = 14;
    /// The operator of this server does not let the answer through.
    pub const BLOCKED: u16 = 15;
    /// As [`STALE_ANSWER`], and the answer is NXDOMAIN.
    pub const STALE_NXDOMAIN: u16 = 19;
    /// The operation or type is not served.
    pub const NOT_SUPPORTED: u16 = 21;
    /// No nameserver gave an answer that can be used.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// An error on the way to the nameserver.
    pub const NETWORK_ERROR: u16 = 23;
    /// More was asked than may be asked upstream.
    pub const OVER_QUOTA: u16 = 32;

    /// What our relay says of itself and its nameserver, between it and the stub alone: a code for
    /// private use (RFC 8914 section 5.2). The public one may be the nameserver's own word, of the
    /// servers of one zone: resolvers that ask these themselves say 22 and 23 of them.
    pub mod relay {
        /// The nameserver did not answer: as [`NO_REACHABLE_AUTHORITY`](super::NO_REACHABLE_AUTHORITY).
        pub const NO_ANSWER: u16 = 0xC000 + super::NO_REACHABLE_AUTHORITY;
        /// The nameserver cannot be reached: as [`NETWORK_ERROR`](super::NETWORK_ERROR).
        pub const UNREACHABLE: u16 = 0xC000 + super::NETWORK_ERROR;
        /// It may not be asked now: as [`OVER_QUOTA`](super::OVER_QUOTA).
        pub const OVER_QUOTA: u16 = 0xC000 + super::OVER_QUOTA;
    }
}
