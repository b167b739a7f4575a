use std::ops::Range;

use wire::{Writer, age_ttl, rcode, read_u16, set_ttl};

use crate::key::Key;

/// A validated answer in one allocation: its key, every byte behind the question, and where in
/// those the TTLs stand.
///
/// The question itself is not kept: a reply repeats the client's, whose length is the same, so
/// compression pointers stay right and the case is the client's.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    /// Key, tail, then the offset of each TTL from the tail's start, two bytes each.
    bytes: Box<[u8]>,
    key_len: u16,
    tail_len: u16,
    /// Records of the answer, authority and additional section.
    pub(crate) counts: [u16; 3],
    pub(crate) rotation: Rotation,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records of the type asked for.
    Positive,
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// No answer: the tail is an Extended DNS Error's code and text.
    Failure,
}

/// A run of address records, whose addresses may change places from reply to reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// Place of the first among all records.
    pub(crate) first: u16,
    /// Records; fewer than two is no rotation.
    pub(crate) count: u16,
    /// Bytes of an address.
    pub(crate) size: u16,
}

/// How much of an answer a reply has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    /// Records of the answer, authority and additional section.
    pub(crate) counts: [u16; 3],
    /// Addresses of the run.
    addresses: u16,
    /// Bytes of the tail.
    bytes: usize,
}

/// Bytes from a record's TTL to its rdata.
const TTL_TO_RDATA: usize = 6;

/// What a reply says of the TTLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttls {
    /// This many seconds have passed since the answer came.
    Aged(u32),
    /// All are set to this many seconds.
    Set(u32),
}

impl Packed {
    /// `None` if the tail is longer than a message can be.
    pub(crate) fn new(
        key: &Key,
        kind: Kind,
        counts: [u16; 3],
        rotation: Rotation,
        tail: &[u8],
        ttls: &[u16],
    ) -> Option<Self> {
        let key = key.as_bytes();
        let mut bytes = Vec::with_capacity(key.len() + tail.len() + 2 * ttls.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(tail);
        bytes.extend(ttls.iter().flat_map(|at| at.to_be_bytes()));
        Some(Self {
            bytes: bytes.into_boxed_slice(),
            key_len: u16::try_from(key.len()).ok()?,
            tail_len: u16::try_from(tail.len()).ok()?,
            counts,
            rotation,
            kind,
        })
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.part(0..self.key_len.into())
    }

    pub(crate) fn tail(&self) -> &[u8] {
        let start = usize::from(self.key_len);
        self.part(start..start + usize::from(self.tail_len))
    }

    /// The offsets of the TTLs in the tail, two bytes each.
    fn offsets(&self) -> &[u8] {
        let start = usize::from(self.key_len) + usize::from(self.tail_len);
        self.part(start..self.bytes.len())
    }

    fn ttls(&self) -> impl Iterator<Item = usize> {
        let offsets = self.offsets();
        (0..offsets.len())
            .step_by(2)
            .filter_map(|at| read_u16(offsets, at).map(usize::from))
    }

    /// Where the address of the record at `place` stands in the tail.
    fn address(&self, place: usize) -> Option<Range<usize>> {
        let start = usize::from(read_u16(self.offsets(), 2 * place)?) + TTL_TO_RDATA;
        Some(start..start + usize::from(self.rotation.size))
    }

    fn part(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// Bytes allocated.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn rcode(&self) -> u8 {
        match self.kind {
            Kind::Positive | Kind::NoData => rcode::NOERROR,
            Kind::NxDomain => rcode::NXDOMAIN,
            Kind::Failure => rcode::SERVFAIL,
        }
    }

    /// All records.
    pub(crate) fn whole(&self) -> Extent {
        Extent {
            counts: self.counts,
            addresses: self.rotation.count,
            bytes: self.tail_len.into(),
        }
    }

    /// The addresses that fit into `room` bytes, with the CNAMEs before them; no records if not one
    /// does, or if there are none.
    pub(crate) fn cut(&self, room: usize) -> Extent {
        let Rotation { first, count, .. } = self.rotation;
        let ends = (first..first.saturating_add(count))
            .map_while(|place| self.address(place.into()))
            .map(|address| address.end);
        (1..)
            .zip(ends.take_while(|end| *end <= room))
            .last()
            .map_or(Extent::default(), |(addresses, bytes)| Extent {
                counts: [first + addresses, 0, 0],
                addresses,
                bytes,
            })
    }

    /// Appends a part of the tail with its TTLs as `ttls` says and its addresses turned by `turn`
    /// places.
    pub(crate) fn write(
        &self,
        out: &mut Writer<'_>,
        extent: Extent,
        ttls: Ttls,
        turn: u16,
    ) -> Option<()> {
        let start = out.len();
        out.bytes(self.tail().get(..extent.bytes)?)?;
        let written = out.written().get_mut(start..)?;
        match ttls {
            Ttls::Aged(0) => {}
            Ttls::Aged(age) => self.ttls().for_each(|at| age_ttl(written, at, age)),
            Ttls::Set(ttl) => self.ttls().for_each(|at| set_ttl(written, at, ttl)),
        }
        self.turn(written, extent.addresses, turn)
    }

    /// `written` has the first `addresses` of the run.
    fn turn(&self, written: &mut [u8], addresses: u16, turn: u16) -> Option<()> {
        let count = usize::from(self.rotation.count);
        let turn = usize::from(turn).checked_rem(count).unwrap_or(0);
        if turn == 0 {
            return Some(());
        }
        let first = usize::from(self.rotation.first);
        for place in 0..addresses.into() {
            let from = self.address(first + (place + turn) % count)?;
            let to = self.address(first + place)?;
            written.get_mut(to)?.copy_from_slice(self.tail().get(from)?);
        }
        Some(())
    }
}
