//! One direction of a tunnel: from one end to the other.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;

use super::end::End;
use super::kept::{self, BUFFER, Kept};
use super::pipe::Pipe;

/// Bytes that a direction moves before others get their turn: about a millisecond's.
const TURN: u64 = 2 * 1024 * 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// The state of a direction.
#[derive(Debug, Default)]
pub(super) struct Direction {
    held: Held,
    /// Bytes that the far end took.
    carried: u64,
    /// More than a buffer's worth came without a pause when bytes came last.
    bulk: bool,
    /// Bytes that were spliced since the near end was empty.
    spliced: usize,
    /// splice(2) does not know the socket that is read.
    copies_only: bool,
    /// The near end has ended, and the far end has been told.
    ended: bool,
}

/// What was read and not yet taken by the far end.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Bytes(Kept),
    Pipe {
        pipe: Pipe,
        length: usize,
    },
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// Its near end closed the sending half.
    EndOfFile,
    /// Its near end takes nothing more either.
    HungUp,
}

/// Which end failed.
#[derive(Debug)]
pub(super) enum Fault {
    Read(io::Error),
    Write(io::Error),
}

impl Direction {
    /// Bytes that the far end took.
    pub(super) fn carried(&self) -> u64 {
        self.carried
    }

    /// Whether the far end has been told the end.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Moves what can be moved now. Ready when `from` has ended and `to` has been told, or when
    /// `from` has hung up although it is still `wanted` as the receiver of the other direction.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &End,
        to: &End,
        wanted: bool,
    ) -> Poll<Result<Finish, Fault>> {
        let turn_ends = self.carried.saturating_add(TURN);
        while !self.ended {
            ready!(self.poll_deliver(cx, to)).map_err(Fault::Write)?;
            if self.carried >= turn_ends {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(from.poll_read_ready(cx)).map_err(Fault::Read)?;
            ready!(to.poll_write_ready(cx)).map_err(Fault::Write)?;
            let read = if self.bulk && !self.copies_only {
                self.splice(from)
            } else {
                self.copy(from, to)?
            };
            match read {
                Ok(0) if wanted && from.hung_up() => return Poll::Ready(Ok(Finish::HungUp)),
                Ok(0) => {
                    to.shutdown();
                    self.ended = true;
                }
                Ok(_) => {}
                Err(error) if is_transient(&error) => {
                    self.bulk = self.spliced >= BUFFER;
                    self.spliced = 0;
                }
                Err(error) => return Poll::Ready(Err(Fault::Read(error))),
            }
        }
        Poll::Ready(Ok(Finish::EndOfFile))
    }

    /// Sends on what is held.
    fn poll_deliver(&mut self, cx: &mut Context<'_>, to: &End) -> Poll<io::Result<()>> {
        while !matches!(self.held, Held::Nothing) {
            ready!(to.poll_write_ready(cx))?;
            let taken = to.write(|| match &self.held {
                Held::Nothing => Ok(0),
                Held::Bytes(kept) => to.send(kept.rest()),
                Held::Pipe { pipe, length } => pipe.drain(to, *length),
            });
            match taken {
                Ok(taken) => self.took(taken),
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Accounts for what the far end took of what is held.
    fn took(&mut self, taken: usize) {
        self.carried += taken as u64;
        match &mut self.held {
            Held::Nothing => return,
            Held::Bytes(kept) => {
                kept.sent(taken);
                if !kept.rest().is_empty() {
                    return;
                }
            }
            Held::Pipe { length, .. } => {
                *length = length.saturating_sub(taken);
                if *length > 0 {
                    return;
                }
            }
        }
        if let Held::Pipe { pipe, .. } = std::mem::take(&mut self.held) {
            pipe.give_back();
        }
    }

    /// Fills a pipe from `from`.
    fn splice(&mut self, from: &End) -> io::Result<usize> {
        let Some(pipe) = Pipe::lend() else {
            // One buffer's worth by copying; then a pipe may be free.
            self.spliced = 0;
            return Err(Errno::EINTR.into());
        };
        let filled = from.read(|| pipe.fill(from));
        match filled {
            Ok(length @ 1..) => {
                self.held = Held::Pipe { pipe, length };
                self.spliced = self.spliced.saturating_add(length);
            }
            _ => pipe.give_back(),
        }
        if let Err(error) = &filled
            && error.raw_os_error() == Some(Errno::EINVAL as i32)
        {
            // AF_VSOCK of Linux 4.14 cannot be read by splice(2).
            self.copies_only = true;
            return Err(Errno::EINTR.into());
        }
        filled
    }

    /// Reads into the thread's buffer, and sends it on at once; what is left over is kept.
    fn copy(&mut self, from: &End, to: &End) -> Result<io::Result<usize>, Fault> {
        SHARED.with_borrow_mut(|buffer| {
            let allowance = kept::allowance();
            let buffer = buffer.get_mut(..allowance).unwrap_or_default();
            let mut read = 0;
            let outcome = from.read(|| {
                read = from.recv(buffer)?;
                // A read that leaves room has emptied the socket. Saying so here, in the call that
                // clears the readiness it began with, saves the one that finds it empty.
                if (1..buffer.len()).contains(&read) {
                    Err(Errno::EAGAIN)
                } else {
                    Ok(())
                }
            });
            if let Err(error) = outcome
                && read == 0
            {
                return Ok(Err(error));
            }
            self.bulk = read == BUFFER;
            let bytes = buffer.get(..read).unwrap_or_default();
            let sent = match to.write(|| {
                if bytes.is_empty() {
                    Ok(0)
                } else {
                    to.send(bytes)
                }
            }) {
                Ok(sent) => sent,
                Err(error) if is_transient(&error) => 0,
                Err(error) => return Err(Fault::Write(error)),
            };
            self.carried += sent as u64;
            if let Some(rest @ [_, ..]) = bytes.get(sent..) {
                self.held = Held::Bytes(Kept::new(rest));
            }
            Ok(Ok(read))
        })
    }
}

/// Whether the call may be made again, once the socket is ready.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests;
