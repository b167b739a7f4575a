//! Queries to one nameserver: one lasting connection through the link, DNS messages in the framing
//! of RFC 7766, pipelined, answered in any order.
//!
//! Nothing here decides: what a connection loses is reported as lost, and the core asks again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use link::{Command, Parent, RequestError, Stream, frame};
use resolver::{Ask, Failed, Ticket};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Receiver;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;
use wire::{read_u16, set_id};

use crate::core::Core;

/// Queries in flight on one connection: what the relay takes.
const MAX_IN_FLIGHT: usize = 1024;

/// Bytes of queries not yet written at which no more are taken.
const MAX_UNSENT: usize = 64 * 1024;

/// The relay answers every frame within 2.5 s. A connection that gives no answer for this long while
/// something is in flight is dead; its queries still have time for another.
const SILENCE: Duration = Duration::from_secs(3);

/// How long opening a connection may take: a lookup ends after 4 s.
const OPEN: Duration = Duration::from_secs(2);

/// Rest after a connection could not be opened, even for a query that wants it.
const SHORTEST_REST: Duration = Duration::from_millis(10);

/// Rest before a connection is tried again that no query wants yet, doubled each time ...
const FIRST_REST: Duration = Duration::from_millis(100);

/// ... up to this: names work again soon after the relay does.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Keeps a connection to `nameserver` open until the nameserver is dropped from the list.
pub(crate) async fn keep(core: Arc<Core>, nameserver: SocketAddr, mut asks: Receiver<Ask>) {
    let mut rest = FIRST_REST;
    let mut held: Option<Ask> = None;
    loop {
        match open(&core, nameserver).await {
            Ok(stream) => {
                core.opened();
                let mut connection = Connection::new(stream);
                let ended = connection.carry(&core, held.take(), &mut asks).await;
                core.closed();
                connection.lose_all(&core);
                let Err(error) = ended else {
                    return;
                };
                debug!(%nameserver, %error, "connection lost");
                // One that was of use is opened again at once.
                if connection.was_of_use {
                    rest = FIRST_REST;
                    continue;
                }
            }
            Err(failed) => {
                let queued = std::iter::from_fn(|| asks.try_recv().ok());
                for ask in held.take().into_iter().chain(queued) {
                    core.answer(ask.ticket, Err(failed));
                }
            }
        }
        sleep(SHORTEST_REST).await;
        tokio::select! {
            () = sleep(rest) => rest = (rest * 2).min(LONGEST_REST),
            ask = asks.recv() => match ask {
                Some(ask) => held = Some(ask),
                None => return,
            },
        }
    }
}

async fn open(core: &Core, nameserver: SocketAddr) -> Result<Stream, Failed> {
    let request = core.parent().request(Command::Dns(nameserver));
    let error = match timeout(OPEN, request).await {
        Ok(Ok(accepted)) => return Ok(accepted.stream),
        Ok(Err(error)) => OpenError::Request(error),
        Err(_) => OpenError::Slow {
            parent: core.parent().clone(),
        },
    };
    core.unreachable(nameserver, &error);
    Err(match error {
        OpenError::Request(RequestError::Refused { .. }) => Failed::Unreachable,
        _ => Failed::Link,
    })
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Request(RequestError),
    #[error(
        "the parent at {parent} did not grant a connection within {} s; is proxify-relay stuck there?",
        OPEN.as_secs()
    )]
    Slow { parent: Parent },
}

struct Connection {
    answers: frame::Reader<tokio::io::ReadHalf<Stream>>,
    writer: tokio::io::WriteHalf<Stream>,
    /// Whose answer each id in flight will be.
    in_flight: HashMap<u16, Ticket>,
    next_id: u16,
    unsent: Vec<u8>,
    /// When the last answer came, or a query after an idle time.
    heard: Instant,
    /// Gave an answer to a query of ours.
    was_of_use: bool,
}

impl Connection {
    fn new(stream: Stream) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            answers: frame::Reader::new(reader),
            writer,
            in_flight: HashMap::new(),
            next_id: 0,
            unsent: Vec::new(),
            heard: Instant::now(),
            was_of_use: false,
        }
    }

    /// Carries queries and answers; `Ok` when the nameserver was dropped and nothing is in flight.
    async fn carry(
        &mut self,
        core: &Arc<Core>,
        first: Option<Ask>,
        asks: &mut Receiver<Ask>,
    ) -> io::Result<()> {
        if let Some(ask) = first {
            self.put(ask)?;
        }
        let mut is_asked = true;
        while is_asked || !self.in_flight.is_empty() {
            // One read may bring a hundred answers, which tokio counts as one.
            consume_budget().await;
            let takes_more =
                is_asked && self.in_flight.len() < MAX_IN_FLIGHT && self.unsent.len() < MAX_UNSENT;
            tokio::select! {
                answer = self.answers.next() => {
                    let Some(message) = answer? else {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    };
                    // A message that answers nothing of ours is no sign of life.
                    let ticket = read_u16(message, 0).and_then(|id| self.in_flight.remove(&id));
                    if let Some(ticket) = ticket {
                        self.heard = Instant::now();
                        self.was_of_use = true;
                        core.answer(ticket, Ok(message));
                    }
                }
                ask = asks.recv(), if takes_more => match ask {
                    Some(ask) => self.put(ask)?,
                    None => is_asked = false,
                },
                written = self.writer.write(&self.unsent), if !self.unsent.is_empty() => {
                    match written? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        written => drop(self.unsent.drain(..written)),
                    }
                }
                () = sleep_until(self.heard + SILENCE), if !self.in_flight.is_empty() => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, mut ask: Ask) -> io::Result<()> {
        if self.in_flight.is_empty() {
            self.heard = Instant::now();
        }
        // Fewer ids are in flight than there are, so a free one is found.
        loop {
            self.next_id = self.next_id.wrapping_add(1);
            if let Entry::Vacant(free) = self.in_flight.entry(self.next_id) {
                free.insert(ask.ticket);
                break;
            }
        }
        set_id(&mut ask.message, self.next_id);
        frame::encode(&ask.message, &mut self.unsent)
    }

    fn lose_all(&mut self, core: &Arc<Core>) {
        for (_, ticket) in self.in_flight.drain() {
            core.answer(ticket, Err(Failed::Link));
        }
    }
}
