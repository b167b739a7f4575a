//! Queries to one nameserver: one lasting connection through the link, DNS messages in the framing
//! of RFC 7766, pipelined, answered in any order.
//!
//! Our relay carries them on by UDP and answers each. An old parent only connects us to the
//! nameserver, which may close whenever it likes (RFC 7766 §6.2.3), often after one answer or an idle
//! time, and then owes answers: those questions are asked again on the next connection, which is
//! opened when there is something to ask.
//!
//! Nothing else is decided here: what the link loses is reported as lost, and the core asks again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::{Stream, frame};
use resolver::{Ask, Failed};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Receiver;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;
use wire::{read_u16, set_id};

use self::open::{look_for_relay, open};
use self::queue::{Queue, Waiting};
use crate::core::Core;

mod open;
mod queue;

pub(crate) use self::open::Carrier;

/// Queries in flight on one connection: what the relay takes.
const MAX_IN_FLIGHT: usize = 1024;

/// Bytes of queries not yet written at which no more are taken.
const MAX_UNSENT: usize = 64 * 1024;

/// The relay answers every frame within 2.5 s. A connection that gives no answer for this long while
/// something is in flight is dead; its queries still have time for another.
const RELAY_SILENCE: Duration = Duration::from_secs(3);

/// The same over plain TCP, where a nameserver that answers in order may be stuck at one question:
/// half the life of a lookup, so that those behind it have the other half.
const TCP_SILENCE: Duration = Duration::from_secs(2);

/// Rest after a connection could not be opened or was of no use, even for a query that wants it.
const SHORTEST_REST: Duration = Duration::from_millis(10);

/// Rest before a connection is tried again that no query wants yet, doubled each time ...
const FIRST_REST: Duration = Duration::from_millis(100);

/// ... up to this: names work again soon after the relay does.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// What is said of a nameserver to which the parent grants connections that it then closes.
const CLOSED: &str = "is out of reach: the parent grants connections to it and closes them";

/// Keeps a connection to `nameserver` until the nameserver is dropped from the list.
pub(crate) async fn keep(core: Arc<Core>, nameserver: SocketAddr, asks: Receiver<Ask>) {
    let mut queue = Queue::new(asks);
    let mut rest = FIRST_REST;
    let mut window = MAX_IN_FLIGHT;
    let mut relay = None;
    // Connections in a row that were closed on questions, and brought no answer at all.
    let mut barren = 0;
    // What the core counts as open: over plain TCP that lasts while the nameserver's own closing
    // is all that ends connections.
    let mut up = None;
    loop {
        let began = Instant::now();
        let opened = match relay.take() {
            Some(stream) => Ok((stream, Carrier::Relay)),
            None => open(core.parent(), nameserver).await,
        };
        match opened {
            Ok((stream, carrier)) => {
                if up != Some(carrier) {
                    if up.replace(carrier).is_some() {
                        core.closed(nameserver);
                    }
                    core.opened(nameserver, carrier);
                }
                core.heard();
                core.spent(carrier.packets_to_connect());
                // While there was no connection lookups may have ended by the thousand.
                queue.keep(|ask| core.wants(ask));
                let mut connection = Connection::new(stream, carrier, window);
                let ended = connection.carry(&core, nameserver, &mut queue).await;
                if carrier == Carrier::Relay || matches!(ended, Ok(Ended::Dropped)) {
                    up = None;
                    core.closed(nameserver);
                }
                match ended {
                    Ok(Ended::Dropped) => return,
                    Ok(Ended::RelayFound(stream)) => {
                        queue.put_back(connection.left());
                        relay = Some(stream);
                        continue;
                    }
                    Err(error) => {
                        debug!(%nameserver, %error, "connection lost");
                        if carrier == Carrier::PlainTcp {
                            connection.ask_again(&core, &mut queue, &error);
                            window = connection.window;
                        } else {
                            let is_barren = connection.answered == 0
                                && !connection.in_flight.is_empty()
                                && error.kind() != io::ErrorKind::TimedOut;
                            barren = if is_barren { barren + 1 } else { 0 };
                            // One may be a relay that is restarted.
                            if barren > 1 {
                                core.complain(nameserver, CLOSED, None);
                            }
                            if error.kind() == io::ErrorKind::TimedOut {
                                core.silent(connection.heard);
                            }
                            connection.lose_all(&core);
                        }
                    }
                }
                let was_of_use = connection.answered > 0;
                // Closed on both sides now, not when there is something to ask.
                drop(connection);
                if carrier == Carrier::PlainTcp {
                    rest = FIRST_REST;
                    if !was_of_use {
                        sleep(SHORTEST_REST).await;
                    }
                    // A nameserver that closes is not dialled again for nothing.
                    if !queue.wait().await {
                        core.closed(nameserver);
                        return;
                    }
                    continue;
                }
                // One that was of use is opened again at once.
                if was_of_use {
                    rest = FIRST_REST;
                    continue;
                }
            }
            Err(error) => {
                if up.take().is_some() {
                    core.closed(nameserver);
                }
                let failed = error.as_failed();
                core.unreachable(nameserver, failed, &error);
                match failed {
                    // Where another connection is open, it is this one alone that could not be had.
                    Failed::Link if core.is_linked() => {}
                    Failed::Link => core.silent(began),
                    _ => core.heard(),
                }
                while let Some(ask) = queue.take() {
                    core.answer(ask.ticket, Err(failed));
                }
            }
        }
        sleep(SHORTEST_REST).await;
        tokio::select! {
            () = sleep(rest) => rest = (rest * 2).min(LONGEST_REST),
            is_asked = queue.wait() => if !is_asked {
                return;
            },
        }
    }
}

/// How a connection ended that was not lost.
enum Ended {
    /// The nameserver was dropped and nothing is in flight.
    Dropped,
    /// The parent has a relay now, with a connection to the nameserver.
    RelayFound(Stream),
}

struct Connection {
    answers: frame::Reader<tokio::io::ReadHalf<Stream>>,
    writer: tokio::io::WriteHalf<Stream>,
    carrier: Carrier,
    in_flight: HashMap<u16, Waiting>,
    /// Most that may be in flight. Over plain TCP it follows what the nameserver answers before it
    /// closes, since what is sent beyond that is sent twice.
    window: usize,
    next_id: u16,
    unsent: Vec<u8>,
    /// Why no more can be written. Answers may still be there to be read.
    broken: Option<io::Error>,
    /// When the last answer came, or a query after an idle time.
    heard: Instant,
    /// Answers to queries of ours.
    answered: usize,
    /// It has brought what nobody asked for, and that was told.
    babbles: bool,
}

impl Connection {
    fn new(stream: Stream, carrier: Carrier, window: usize) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            answers: frame::Reader::new(reader),
            writer,
            carrier,
            in_flight: HashMap::new(),
            window: match carrier {
                Carrier::Relay => MAX_IN_FLIGHT,
                Carrier::PlainTcp => window,
            },
            next_id: 0,
            unsent: Vec::new(),
            broken: None,
            heard: Instant::now(),
            answered: 0,
            babbles: false,
        }
    }

    /// Carries queries and answers until there is reason to stop.
    async fn carry(
        &mut self,
        core: &Arc<Core>,
        nameserver: SocketAddr,
        queue: &mut Queue,
    ) -> io::Result<Ended> {
        let silence = match self.carrier {
            Carrier::Relay => RELAY_SILENCE,
            Carrier::PlainTcp => TCP_SILENCE,
        };
        let relay = look_for_relay(core.parent(), nameserver, self.carrier);
        tokio::pin!(relay);
        while !queue.is_dropped() || !self.in_flight.is_empty() {
            // One read may bring a hundred answers, which tokio counts as one.
            consume_budget().await;
            self.put_what_fits(queue)?;
            tokio::select! {
                answer = self.answers.next() => {
                    let Some(message) = answer? else {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    };
                    // A message that answers nothing of ours is no sign of life.
                    let asked = read_u16(message, 0).and_then(|id| self.in_flight.remove(&id));
                    if let Some(Waiting { ask, .. }) = asked {
                        self.heard = Instant::now();
                        self.answered += 1;
                        if self.answered >= 2 * self.window {
                            self.window = (2 * self.window).min(MAX_IN_FLIGHT);
                        }
                        core.answer(ask.ticket, Ok(message));
                    } else if self.carrier == Carrier::Relay {
                        // Over plain TCP it may be late.
                        self.babbles = true;
                        core.complain(nameserver, "answered what nobody asked", None);
                    }
                }
                () = queue.fill(), if queue.takes_more() => {}
                written = self.writer.write(&self.unsent), if !self.unsent.is_empty() => {
                    match written {
                        Ok(written) if written > 0 => drop(self.unsent.drain(..written)),
                        written => {
                            let none = || io::ErrorKind::WriteZero.into();
                            self.broken = Some(written.err().unwrap_or_else(none));
                            self.unsent.clear();
                        }
                    }
                }
                () = sleep_until(self.heard + silence), if !self.in_flight.is_empty() => {
                    if !self.babbles {
                        core.complain(nameserver, self.carrier.silence(), None);
                    }
                    return Err(io::ErrorKind::TimedOut.into());
                }
                stream = &mut relay => return Ok(Ended::RelayFound(stream)),
            }
        }
        Ok(Ended::Dropped)
    }

    fn put_what_fits(&mut self, queue: &mut Queue) -> io::Result<()> {
        if self.carrier == Carrier::PlainTcp && self.in_flight.len() >= self.window {
            // A nameserver may leave questions unanswered, and nobody waits for those any more.
            self.in_flight.retain(|_, waiting| !waiting.is_over());
        }
        if self.in_flight.is_empty()
            && let Some(error) = self.broken.take()
        {
            return Err(error);
        }
        while self.broken.is_none()
            && self.in_flight.len() < self.window
            && self.unsent.len() < MAX_UNSENT
            && let Some(waiting) = queue.next()
        {
            self.put(waiting)?;
        }
        Ok(())
    }

    fn put(&mut self, mut waiting: Waiting) -> io::Result<()> {
        if self.in_flight.is_empty() {
            self.heard = Instant::now();
        }
        // Fewer ids are in flight than there are, so a free one is found.
        let free = loop {
            self.next_id = self.next_id.wrapping_add(1);
            if let Entry::Vacant(free) = self.in_flight.entry(self.next_id) {
                break free;
            }
        };
        set_id(&mut waiting.ask.message, self.next_id);
        let encoded = frame::encode(&waiting.ask.message, &mut self.unsent);
        free.insert(waiting);
        encoded
    }

    /// What is in flight, oldest first.
    fn left(&mut self) -> Vec<Waiting> {
        let newest = self.next_id;
        let mut left: Vec<_> = self.in_flight.drain().collect();
        left.sort_by_key(|(id, _)| std::cmp::Reverse(newest.wrapping_sub(*id)));
        left.into_iter().map(|(_, waiting)| waiting).collect()
    }

    /// Queues again what a nameserver owes that closed, or fell silent.
    fn ask_again(&mut self, core: &Arc<Core>, queue: &mut Queue, why: &io::Error) {
        let mut left = self.left();
        if why.kind() == io::ErrorKind::TimedOut {
            // The oldest may be what it is stuck at: the others go first.
            let others = left.len().min(1);
            left.rotate_left(others);
        } else if !left.is_empty() {
            self.window = self.window.min(self.answered).max(1);
            // Asked alone and closed on: it is this question, or this nameserver.
            if self.answered == 0 && left.len() == 1 {
                for waiting in left.drain(..) {
                    core.answer(waiting.ask.ticket, Err(Failed::Closed));
                }
            }
        }
        let again = u32::try_from(left.len()).unwrap_or(u32::MAX);
        core.spent(again.saturating_mul(self.carrier.packets()));
        queue.put_back(left);
    }

    fn lose_all(&mut self, core: &Arc<Core>) {
        for (_, waiting) in self.in_flight.drain() {
            core.answer(waiting.ask.ticket, Err(Failed::Lost));
        }
    }
}
