//! Names (RFC 1035 sections 3.1 and 4.1.4). A label's length is at most 63, below `b'A'`, so a
//! whole name, lengths and all, may be lower-cased byte by byte.

use crate::header::HEADER;
use crate::reader::Reader;

/// The longest name on the wire, lengths and root included (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;

/// The two high bits of a compression pointer.
const POINTER: u8 = 0xc0;

/// Most pointers that one name follows: it has at most this many labels, and a pointer that leads
/// to no label of its own is of no use. It bounds the time that a hostile message can cost.
const MAX_POINTERS: usize = MAX_NAME / 2;

/// An uncompressed name in lower case, the form in which names are equal (RFC 4343).
#[derive(Clone, Copy)]
pub struct Name {
    bytes: [u8; MAX_NAME],
    len: u8,
}

/// Why bytes are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The message ends inside the name.
    Cut,
    /// Longer than [`MAX_NAME`].
    TooLong,
    /// A label type of 0x40 or 0x80 (RFC 6891 section 5).
    LabelType,
    /// A compression pointer that does not lead backwards, leads into the header, or is one of too
    /// many.
    Pointer,
}

impl Name {
    /// The root.
    pub const ROOT: Self = Self {
        bytes: [0; MAX_NAME],
        len: 1,
    };

    /// Not a name yet: what labels are pushed to.
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; MAX_NAME],
        len: 0,
    };

    /// Reads the name at offset `at` of `message`, following compression pointers. Each must lead
    /// to before the labels it ends, so that no chain of them can loop.
    ///
    /// # Errors
    /// [`NameError`]; nothing is read past the end of `message`.
    pub fn read(message: &[u8], at: usize) -> Result<Self, NameError> {
        let mut name = Self::EMPTY;
        let mut segment = at;
        let mut pointers = 0;
        let mut reader = Reader::new(message, at);
        loop {
            let length = reader.u8().ok_or(NameError::Cut)?;
            match length & POINTER {
                0 => {
                    name.push(&[length])?;
                    if length == 0 {
                        return Ok(name);
                    }
                    name.push(reader.take(length.into()).ok_or(NameError::Cut)?)?;
                }
                POINTER => {
                    let low = reader.u8().ok_or(NameError::Cut)?;
                    let target = usize::from(u16::from_be_bytes([length & !POINTER, low]));
                    pointers += 1;
                    if !(HEADER..segment).contains(&target) || pointers > MAX_POINTERS {
                        return Err(NameError::Pointer);
                    }
                    segment = target;
                    reader = Reader::new(message, target);
                }
                _ => return Err(NameError::LabelType),
            }
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), NameError> {
        let start = usize::from(self.len);
        let end = start + bytes.len();
        let room = self.bytes.get_mut(start..end).ok_or(NameError::TooLong)?;
        room.copy_from_slice(bytes);
        room.make_ascii_lowercase();
        self.len = u8::try_from(end).map_err(|_| NameError::TooLong)?;
        Ok(())
    }

    /// The name on the wire, uncompressed, with its root.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or(&[0])
    }

    /// Whether this is `ancestor` or below it.
    #[must_use]
    pub fn is_under(&self, ancestor: &[u8]) -> bool {
        suffixes(self.as_bytes()).any(|suffix| suffix == ancestor)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl core::fmt::Debug for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// An uncompressed name, then what is left of it with each label taken off, down to the root.
pub fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::successors(Some(name), |rest| {
        let length = usize::from(*rest.first()?);
        if length == 0 {
            return None;
        }
        rest.get(length + 1..)
    })
}

/// The offset behind the name at `at`.
pub(crate) fn skip(message: &[u8], at: usize) -> Result<usize, NameError> {
    let mut reader = Reader::new(message, at);
    loop {
        let length = reader.u8().ok_or(NameError::Cut)?;
        match length & POINTER {
            0 if length == 0 => break,
            0 => {
                reader.take(length.into()).ok_or(NameError::Cut)?;
            }
            POINTER => {
                reader.u8().ok_or(NameError::Cut)?;
                break;
            }
            _ => return Err(NameError::LabelType),
        }
        // Room for the root is needed behind the labels.
        if reader.at() - at >= MAX_NAME {
            return Err(NameError::TooLong);
        }
    }
    Ok(reader.at())
}
