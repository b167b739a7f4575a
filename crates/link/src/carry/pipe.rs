//! Pipes that splice(2) moves bytes through, lent while bytes are in them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

/// The capacity asked for, in bytes. Below it a stream costs more system calls, above it the pages
/// leave the processor's cache between the two ends.
const CAPACITY: i32 = 256 * 1024;

/// Pipes of a process at most, lent or kept. Each is two descriptors and up to [`CAPACITY`] of the
/// 64 MiB that Linux lets the pipes of an unprivileged user have (pipe(7), pipe-user-pages-soft).
/// A tunnel that finds none goes on by copying.
const MOST: usize = 256;

/// Empty pipes kept for the next bytes: about as many as streams move at one time.
const KEPT: usize = 32;

static PIPES: AtomicUsize = AtomicUsize::new(0);
static EMPTY: Mutex<Vec<Pipe>> = Mutex::new(Vec::new());

/// A pipe. It is empty when it is lent; one that is dropped with bytes in it is closed.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// An empty pipe, if one can be had.
    pub(super) fn lend() -> Option<Self> {
        let kept = EMPTY.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.or_else(Self::open)
    }

    /// Takes an empty pipe back.
    pub(super) fn give_back(self) {
        let mut empty = EMPTY.lock().unwrap_or_else(PoisonError::into_inner);
        if empty.len() < KEPT {
            empty.push(self);
        }
    }

    fn open() -> Option<Self> {
        if PIPES.fetch_add(1, Ordering::Relaxed) >= MOST {
            PIPES.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let Ok((read, write)) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK) else {
            PIPES.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        // A user over the limit on pages keeps the capacity that the system gave: slower, not wrong.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Some(Self { read, write })
    }

    /// Moves bytes in from a socket. The pipe must be empty: then EAGAIN means that the socket is.
    pub(super) fn fill(&self, from: impl AsFd) -> nix::Result<usize> {
        splice(from, None, &self.write, None, LENGTH, flags())
    }

    /// Moves bytes out to a socket. The pipe must hold some: then EAGAIN means that the socket is
    /// full.
    pub(super) fn drain(&self, to: impl AsFd, length: usize) -> nix::Result<usize> {
        splice(&self.read, None, to, None, length, flags())
    }
}

/// Bytes asked of one call: as many as the pipe takes if they begin and end within a page. A page more
/// would often leave a few behind, for two calls of their own.
const LENGTH: usize = CAPACITY as usize - PAGE;

/// Of a processor's memory, in bytes: a pipe's slot holds no more (pipe(7)).
const PAGE: usize = 4096;

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

impl Drop for Pipe {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}
