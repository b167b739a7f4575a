//! DNS (0xD0): queries in frames from the enclave (RFC 7766 §8), out as UDP to one nameserver.
//!
//! AmazonDNS counts packets, and a query over TCP costs several; so each leaves as one UDP packet,
//! and TCP is used only where an answer was truncated. Queries are pipelined and answered in any
//! order (RFC 7766 §6.2.1.1). Every frame gets an answer within [`ANSWER_WITHIN`], be it a SERVFAIL
//! that says why (RFC 8914): only the stub retries across nameservers, and it should do so early. The
//! relay says it by codes of its own ([`wire::ede::relay`]), since 22 and 23 may be a resolver's word
//! about the servers of one zone, which is no reason to turn away from the resolver.

mod exchange;
mod query;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use link::frame;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use crate::admission::Seat;
use crate::server::{Relay, drained};
use query::Frame;

/// The promise to the enclave: from a frame's arrival to its answer. Less than the stub's 4 s.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_millis(2500);

/// When the relay gives a query up, so that its SERVFAIL arrives within [`ANSWER_WITHIN`].
pub(crate) const GIVE_UP: Duration = Duration::from_millis(2400);

/// When a query that has no answer is sent again, once: a packet may be lost on the way.
pub(crate) const RESEND: Duration = Duration::from_secs(1);

/// How long a connection may have nothing to do (RFC 7766 §6.2.3). An enclave that was killed sends
/// no end of file on vsock, and its connections would count against the next one with its CID.
pub(crate) const IDLE: Duration = Duration::from_secs(300);

/// How long an enclave may take nothing of its answers before it counts as gone.
pub(crate) const STALLED: Duration = Duration::from_secs(10);

const _: () = assert!(GIVE_UP.as_millis() < ANSWER_WITHIN.as_millis());

/// Serves one connection until the enclave ends it, or breaks the protocol, or the relay drains.
pub(crate) async fn serve<S>(
    stream: S,
    nameserver: SocketAddr,
    seat: &Seat,
    relay: &Relay,
) -> Result<(), DnsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (limits, mut drain) = (&relay.limits, relay.drain.clone());
    let (read, mut write) = tokio::io::split(stream);
    let mut frames = frame::Reader::new(read);
    let mut queries = FuturesUnordered::new();
    // Answers in their frames, not yet taken by the enclave.
    let mut out = Vec::new();
    // Their answers are in `out`; the allocation is used again.
    let mut spent = Vec::new();
    let mut reading = true;
    let mut draining = false;
    let mut active = Instant::now();
    while reading || !queries.is_empty() || !out.is_empty() {
        // One read may bring a hundred queries, which are sent without waiting: others have their turn.
        consume_budget().await;
        let has_room = out.len() < limits.buffer;
        // An enclave that does not take its answers is neither read nor are its sockets: memory
        // stays bounded by the buffer and one answer.
        let may_read = reading && has_room && queries.len() < limits.queries_in_flight;
        let patience = if out.is_empty() { IDLE } else { STALLED };
        tokio::select! {
            frame = next(&mut frames, draining), if may_read => {
                active = Instant::now();
                match frame.map_err(DnsError::Read)? {
                    Some(frame) => match Frame::parse(frame) {
                        Frame::Query(query) => {
                            queries.push(exchange::answer(query, nameserver, seat, relay, active + GIVE_UP));
                        }
                        Frame::Unreadable(answer) => append(&answer, &mut out),
                        Frame::NotAQuery => return Err(DnsError::NotAQuery),
                    },
                    None => reading = false,
                }
            }
            Some(answer) = queries.next(), if has_room => {
                active = Instant::now();
                append(&answer.message, &mut out);
                spent.push(answer);
                // What else is there already goes into the same write.
                while out.len() < limits.buffer
                    && let Some(Some(answer)) = queries.next().now_or_never()
                {
                    append(&answer.message, &mut out);
                    spent.push(answer);
                }
                // An enclave that takes them at once has them before their sockets are closed.
                if let Some(Ok(written)) = write.write(&out).now_or_never() {
                    drop(out.drain(..written));
                }
                spent.clear();
            }
            written = write.write(&out), if !out.is_empty() => {
                active = Instant::now();
                match written.map_err(DnsError::Write)? {
                    0 => return Err(DnsError::Write(io::ErrorKind::WriteZero.into())),
                    written => drop(out.drain(..written)),
                }
            }
            () = drained(&mut drain), if !draining => draining = true,
            () = sleep_until(active + patience), if !out.is_empty() || queries.is_empty() => {
                return if out.is_empty() { Ok(()) } else { Err(DnsError::Stalled) };
            }
        }
    }
    write.shutdown().await.map_err(DnsError::Write)
}

/// The next frame. A relay that drains still answers those that it has read, with others in one read.
async fn next<R>(frames: &mut frame::Reader<R>, draining: bool) -> io::Result<Option<&[u8]>>
where
    R: AsyncRead + Unpin,
{
    match draining {
        true => Ok(frames.next_read()),
        false => frames.next().await,
    }
}

/// Puts an answer behind the others. One that fits no frame cannot be: UDP and TCP both carry
/// their length in 16 bits.
fn append(answer: &[u8], out: &mut Vec<u8>) {
    let _ = frame::encode(answer, out);
}

/// Why a connection was closed before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DnsError {
    /// Shorter than a header, or a response: the enclave's end is broken or not ours.
    #[error("a frame that is no DNS query")]
    NotAQuery,
    #[error("it took no answers for {} s", STALLED.as_secs())]
    Stalled,
    #[error("reading queries: {0}")]
    Read(io::Error),
    #[error("writing answers: {0}")]
    Write(io::Error),
}

#[cfg(test)]
pub(crate) mod tests;
