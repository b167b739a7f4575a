//! Messages on a byte stream: a length of two bytes, then the message (RFC 7766 §8).
//!
//! The framing of DNS over TCP, used for DNS, RESOLV_CONF and REPORT alike. One `read` on a stream is
//! never one message: a frame may come a byte at a time, and a thousand may come at once.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest message, in bytes: what two bytes of length can say.
pub const MAX_MESSAGE: usize = u16::MAX as usize;

/// Bytes of the length before each message.
const PREFIX: usize = 2;

/// Room for one read, in bytes: a hundred queries, or a few large answers.
const CHUNK: usize = 8 * 1024;

/// Reads frames off a stream, many to a read.
///
/// Memory follows what has arrived, not what a length announces.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were handed out already.
    taken: usize,
    /// Bytes of a message that are kept.
    longest: usize,
    /// Bytes of a longer message that have yet to be skipped.
    to_skip: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader at the start of a frame.
    pub fn new(inner: R) -> Self {
        Self::cut(inner, MAX_MESSAGE)
    }

    /// The same for a peer of which no message over `longest` bytes is expected: of such it hands out
    /// that much and keeps no more.
    pub fn cut(inner: R, longest: usize) -> Self {
        Self {
            inner,
            buffer: Vec::new(),
            taken: 0,
            longest,
            to_skip: 0,
        }
    }

    /// The next message; `None` when the stream ended between two frames.
    ///
    /// Cancel safe: a frame half read stays in the buffer.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the stream ends inside a frame, and what reading it gives.
    pub async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        while !self.has_whole() {
            self.buffer.drain(..self.taken);
            self.taken = 0;
            self.buffer.reserve(CHUNK);
            if self.inner.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.len() + self.to_skip {
                    0 => Ok(None),
                    _ => Err(cut()),
                };
            }
        }
        Ok(self.next_read())
    }

    /// The next message of what has been read already; `None` if no more is there whole.
    pub fn next_read(&mut self) -> Option<&[u8]> {
        if !self.has_whole() {
            return None;
        }
        let announced = announced(self.unread())?;
        let length = announced.min(self.longest);
        let start = self.taken + PREFIX;
        self.taken = start + length;
        self.to_skip = announced - length;
        self.buffer.get(start..self.taken)
    }

    /// Whether what is kept of the next message has been read.
    fn has_whole(&mut self) -> bool {
        let skipped = self.to_skip.min(self.unread().len());
        self.taken += skipped;
        self.to_skip -= skipped;
        let length = announced(self.unread()).map(|length| length.min(self.longest));
        length.is_some_and(|length| self.unread().len() >= PREFIX + length)
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }
}

/// Reads one frame into `message`, and nothing after it; `None` at the end of the stream.
///
/// Not cancel safe: for a stream that carries one frame, or whose reader is never dropped between
/// two. Elsewhere use [`Reader`].
///
/// # Errors
///
/// `UnexpectedEof` when the stream ends inside a frame, and what reading it gives.
pub async fn read<R>(reader: &mut R, message: &mut Vec<u8>) -> io::Result<Option<()>>
where
    R: AsyncRead + Unpin,
{
    message.clear();
    let mut prefix = [0; PREFIX];
    let mut read = 0;
    while let Some(rest) = prefix.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest).await? {
            0 if read == 0 => return Ok(None),
            0 => return Err(cut()),
            more => read += more,
        }
    }
    let length = u16::from_be_bytes(prefix);
    reader.take(length.into()).read_to_end(message).await?;
    if message.len() < usize::from(length) {
        return Err(cut());
    }
    Ok(Some(()))
}

/// Writes one frame, length and message in one write.
///
/// # Errors
///
/// `InvalidInput` for a message over [`MAX_MESSAGE`], and what writing gives.
pub async fn write<W>(writer: &mut W, message: &[u8]) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut frame = Vec::with_capacity(PREFIX + message.len());
    encode(message, &mut frame)?;
    writer.write_all(&frame).await
}

/// Appends one frame to `out`.
///
/// # Errors
///
/// `InvalidInput` for a message over [`MAX_MESSAGE`]; `out` is left as it was.
pub fn encode(message: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a message of {} bytes does not fit a frame", message.len()),
        )
    })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    Ok(())
}

fn announced(bytes: &[u8]) -> Option<usize> {
    bytes
        .first_chunk()
        .map(|prefix| usize::from(u16::from_be_bytes(*prefix)))
}

fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the stream ended inside a frame",
    )
}

#[cfg(test)]
mod tests;
