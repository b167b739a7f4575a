use crate::header::{Flags, HEADER};

/// A message being written into a caller's buffer. Every method gives `None` when there is no room
/// and then leaves what is written unchanged.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the beginning of `out`.
    #[must_use]
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is written so far, to be patched.
    pub fn written(&mut self) -> &mut [u8] {
        self.out.get_mut(..self.len).unwrap_or_default()
    }

    /// Forgets what was written behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.out.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> Option<()> {
        self.bytes(&[value])
    }

    /// Appends two bytes, big endian.
    pub fn u16(&mut self, value: u16) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends four bytes, big endian.
    pub fn u32(&mut self, value: u32) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a header.
    pub fn header(&mut self, id: u16, flags: Flags, counts: [u16; 4]) -> Option<()> {
        let mut header = [0; HEADER];
        let fields = [id, flags.0, counts[0], counts[1], counts[2], counts[3]];
        for (room, field) in header.chunks_exact_mut(2).zip(fields) {
            room.copy_from_slice(&field.to_be_bytes());
        }
        self.bytes(&header)
    }
}

/// Overwrites a message's id. A message shorter than that is left alone.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(room) = message.first_chunk_mut() {
        *room = id.to_be_bytes();
    }
}

/// The two bytes at `at`, big endian.
#[must_use]
pub fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Takes `age` seconds off the TTL at `at`, down to 0. An offset outside is left alone.
pub fn age_ttl(message: &mut [u8], at: usize, age: u32) {
    if let Some(room) = message.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *room = u32::from_be_bytes(*room).saturating_sub(age).to_be_bytes();
    }
}

/// Overwrites the TTL at `at`. An offset outside is left alone.
pub fn set_ttl(message: &mut [u8], at: usize, ttl: u32) {
    if let Some(room) = message.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *room = ttl.to_be_bytes();
    }
}
