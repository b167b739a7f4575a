//! The header (RFC 1035 section 4.1.1).

use crate::reader::Reader;

/// Length of a header in bytes.
pub const HEADER: usize = 12;

/// A message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Matches a reply to its query.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, AD, CD and RCODE.
    pub flags: Flags,
    /// Entries of the question, answer, authority and additional section.
    pub counts: [u16; 4],
}

impl Header {
    /// Reads the header; `None` if the message is shorter.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(message, 0);
        Some(Self {
            id: reader.u16()?,
            flags: Flags(reader.u16()?),
            counts: [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?],
        })
    }
}

/// The second 16 bits of a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// This is a response.
    pub const QR: u16 = 0x8000;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// Checking disabled (RFC 4035).
    pub const CD: u16 = 0x0010;

    /// Whether all of `bits` are set.
    #[must_use]
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits == bits
    }

    /// The operation asked for; 0 is QUERY.
    #[must_use]
    pub const fn opcode(self) -> u8 {
        ((self.0 >> 11) & 0xf) as u8
    }

    /// The low four bits of the response code.
    #[must_use]
    pub const fn rcode(self) -> u8 {
        (self.0 & 0xf) as u8
    }
}

/// Operation codes.
pub mod opcode {
    /// A standard query.
    pub const QUERY: u8 = 0;
}

/// Response codes.
pub mod rcode {
    /// No error.
    pub const NOERROR: u8 = 0;
    /// The server could not read the query.
    pub const FORMERR: u8 = 1;
    /// The server failed.
    pub const SERVFAIL: u8 = 2;
    /// The name does not exist.
    pub const NXDOMAIN: u8 = 3;
    /// The server does not do this kind of query.
    pub const NOTIMP: u8 = 4;
    /// Refused by policy.
    pub const REFUSED: u8 = 5;
    /// EDNS version not supported: high bits 1 in OPT, low bits 0 (RFC 6891).
    pub const BADVERS: u8 = 16;
}
