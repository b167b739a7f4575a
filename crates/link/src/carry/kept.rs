//! Bytes that were copied and could not be sent at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a copy reads at most, in bytes, and so the most that a direction keeps. A read that gets as
/// much is taken as the sign of a stream that splice(2) pays for.
pub(super) const BUFFER: usize = 64 * 1024;

/// What all tunnels of a process keep, in bytes, before each reads no more than [`LITTLE`].
const PLENTY: usize = 32 * 1024 * 1024;

/// What a copy reads at most once [`PLENTY`] is kept, in bytes: 10,000 tunnels whose peers take
/// nothing keep 80 MiB beside it.
const LITTLE: usize = 4 * 1024;

static KEPT: AtomicUsize = AtomicUsize::new(0);

/// What a copy may read now, in bytes.
pub(super) fn allowance() -> usize {
    if KEPT.load(Ordering::Relaxed) < PLENTY {
        BUFFER
    } else {
        LITTLE
    }
}

/// Bytes to send, and how many of them have been.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: Box<[u8]>,
    sent: usize,
}

impl Kept {
    pub(super) fn new(bytes: &[u8]) -> Self {
        KEPT.fetch_add(bytes.len(), Ordering::Relaxed);
        Self {
            bytes: bytes.into(),
            sent: 0,
        }
    }

    /// What is still to send.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(super) fn sent(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_that_keep_much_read_little() {
        let kept: Vec<_> = (0..PLENTY / BUFFER)
            .map(|_| Kept::new(&[0; BUFFER]))
            .collect();
        assert_eq!(allowance(), LITTLE);
        drop(kept);
        // Other tests keep some, and never so much.
        assert_eq!(allowance(), BUFFER);
    }
}
