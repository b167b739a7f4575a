use crate::name::{self, Name, NameError};

/// A position in a message. It moves only forwards and never past the end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at `at`, which may be past the end: then nothing is left to take.
    #[must_use]
    pub const fn new(message: &'a [u8], at: usize) -> Self {
        Self { message, at }
    }

    /// The offset of the next byte from the start of the message.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Whether the whole message has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.at >= self.message.len()
    }

    /// The next `count` bytes, or `None` if fewer are left.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// The next two bytes, big endian.
    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// The next four bytes, big endian.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// The name that comes next, its compression pointers followed. It is not stepped over.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn name(&self) -> Result<Name, NameError> {
        Name::read(self.message, self.at)
    }

    /// Steps over a name, which may be compressed; what a pointer leads to is not looked at.
    ///
    /// # Errors
    /// [`NameError`] if the name does not end inside the message or a label has a reserved type.
    pub fn skip_name(&mut self) -> Result<(), NameError> {
        self.at = name::skip(self.message, self.at)?;
        Ok(())
    }
}
