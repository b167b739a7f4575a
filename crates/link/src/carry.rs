//! Bytes both ways between two connected streams: the data path of every tunnel.
//!
//! One task carries one tunnel, thousands of them on one thread, so an idle tunnel holds nothing
//! but its two sockets. A read waits until the other side can take bytes, goes through one buffer
//! a thread, and leaves behind only what could not be sent. A stream that fills this buffer is
//! moved by splice(2), through a pipe that is lent for as long as bytes are in it: the kernel then
//! hands pages over without a copy through user space.
//!
//! What one side does reaches the other as TCP means it (RFC 9293):
//!
//! - An end of file becomes a shutdown of the other's sending half, and the other direction goes
//!   on (half-close).
//! - A reset, or a peer that takes no more, resets the other side.
//! - AF_UNIX and AF_VSOCK have no reset: there a peer hangs up, and nobody can tell whether in
//!   order, as programs of an old enclave or a virtual machine's monitor close both halves at once.
//!   What it sent is delivered, then the other side is closed. Only the relay that was dialed on a
//!   unix socket is known to close one half after the other, so its hanging up is a reset.

mod direction;
mod end;
mod kept;
mod pipe;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Stream;
use direction::{Direction, Fault, Finish};
use end::End;

/// How long a tunnel without a byte is kept at least, and at most twice that: what TCP may expect
/// of a NAT (RFC 5382 §5, REQ-5). A vsock peer that was killed may send no end of file, and its
/// tunnels must not stay for ever.
pub const IDLE: Duration = Duration::from_secs(2 * 3600 + 4 * 60);

/// What a tunnel carried, and how it ended.
#[derive(Debug)]
pub struct Carried {
    /// Bytes that `b` took.
    pub a_to_b: u64,
    /// Bytes that `a` took.
    pub b_to_a: u64,
    /// Whether both directions came to their end in order.
    pub ended: Result<(), CarryError>,
}

/// One of the two streams, by its place among the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// Why a tunnel was cut: both streams are closed, and one on TCP is reset.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// A reset, or another failure of the stream that was read.
    #[error("reading from {side}: {source}")]
    Read {
        /// The stream that failed.
        side: Side,
        /// What the system says.
        source: io::Error,
    },
    /// The peer takes no more, or another failure of the stream that was written.
    #[error("writing to {side}: {source}")]
    Write {
        /// The stream that failed.
        side: Side,
        /// What the system says.
        source: io::Error,
    },
    /// The relay has gone, or passes a reset on.
    #[error("{side} hung up before the other side had ended")]
    HungUp {
        /// The stream that ended.
        side: Side,
    },
    /// See [`IDLE`].
    #[error("nothing moved for {IDLE:?}")]
    Idle,
}

/// Carries bytes both ways until both directions have ended, or the tunnel is cut. Dropping the
/// future closes both streams.
///
/// Holds at most 256 KiB of the kernel's or 64 KiB of the process's memory for each direction, and
/// nothing while nothing moves.
pub async fn carry(a: Stream, b: Stream) -> Carried {
    carry_counted(a, b, |_, _| {}).await
}

/// As [`carry`], and tells how many bytes `b` and `a` have taken since it was told last, whenever some
/// have.
pub async fn carry_counted(a: Stream, b: Stream, count: impl Fn(u64, u64)) -> Carried {
    let mut a_to_b = Direction::default();
    let mut b_to_a = Direction::default();
    let ended = match ends(a, b) {
        Ok((a, b)) => {
            let ended = both_ways(&a, &b, &mut a_to_b, &mut b_to_a, count).await;
            if ended.is_err() {
                a.reset_when_closed();
                b.reset_when_closed();
            }
            ended
        }
        Err(error) => Err(error),
    };
    Carried {
        a_to_b: a_to_b.carried(),
        b_to_a: b_to_a.carried(),
        ended,
    }
}

fn ends(a: Stream, b: Stream) -> Result<(End, End), CarryError> {
    let end = |stream, side| End::new(stream).map_err(|source| CarryError::Read { side, source });
    Ok((end(a, Side::A)?, end(b, Side::B)?))
}

async fn both_ways(
    a: &End,
    b: &End,
    a_to_b: &mut Direction,
    b_to_a: &mut Direction,
    count: impl Fn(u64, u64),
) -> Result<(), CarryError> {
    let mut seen = 0;
    let mut counted = (0, 0);
    let mut idle = pin!(sleep(IDLE));
    poll_fn(|cx| {
        let polled = poll_both(cx, a, b, a_to_b, b_to_a);
        let carried = (a_to_b.carried(), b_to_a.carried());
        if carried != counted {
            count(carried.0 - counted.0, carried.1 - counted.1);
            counted = carried;
        }
        if let Poll::Ready(ended) = polled {
            return Poll::Ready(ended);
        }
        while idle.as_mut().poll(cx).is_ready() {
            let carried = a_to_b.carried().saturating_add(b_to_a.carried());
            if carried == seen {
                return Poll::Ready(Err(CarryError::Idle));
            }
            seen = carried;
            idle.as_mut().reset(Instant::now() + IDLE);
        }
        Poll::Pending
    })
    .await
}

fn poll_both(
    cx: &mut Context<'_>,
    a: &End,
    b: &End,
    a_to_b: &mut Direction,
    b_to_a: &mut Direction,
) -> Poll<Result<(), CarryError>> {
    let polled = a_to_b.poll(cx, a, b, !b_to_a.has_ended());
    let first = finish(polled, Side::A, a)?;
    let polled = b_to_a.poll(cx, b, a, !a_to_b.has_ended());
    let second = finish(polled, Side::B, b)?;
    match (first, second) {
        // Nobody hears the other direction any more.
        (Some(Finish::HungUp), _) | (_, Some(Finish::HungUp)) => Poll::Ready(Ok(())),
        (Some(Finish::EndOfFile), Some(Finish::EndOfFile)) => Poll::Ready(Ok(())),
        _ => Poll::Pending,
    }
}

/// What the state of the direction from `end` means for the tunnel; `None` while it goes on.
fn finish(
    polled: Poll<Result<Finish, Fault>>,
    side: Side,
    end: &End,
) -> Result<Option<Finish>, CarryError> {
    match polled {
        Poll::Pending => Ok(None),
        Poll::Ready(Ok(Finish::HungUp)) if end.closes_by_halves() => {
            Err(CarryError::HungUp { side })
        }
        Poll::Ready(Ok(finish)) => Ok(Some(finish)),
        Poll::Ready(Err(Fault::Read(source))) => Err(CarryError::Read { side, source }),
        Poll::Ready(Err(Fault::Write(source))) => Err(CarryError::Write {
            side: side.other(),
            source,
        }),
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "the first stream",
            Self::B => "the second stream",
        })
    }
}

#[cfg(test)]
mod tests;
