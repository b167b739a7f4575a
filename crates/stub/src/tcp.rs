//! DNS over TCP on loopback (RFC 7766): pipelined, answered in any order.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::{Seldom, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::core::{Asked, Client, Core};
use crate::udp::QUERY;

/// Most connections to one listening address at a time. One more closes the one that has been silent longest (RFC 7766
/// section 6.2.3 leaves that to the server).
pub(crate) const MAX_CONNECTIONS: usize = 256;

/// A connection on which nothing was read or written for this long is closed (RFC 7766 section 6.2.3: a few seconds).
const IDLE: Duration = Duration::from_secs(10);

/// Queries of one connection that wait for upstream at a time; no more are read meanwhile.
const MAX_IN_FLIGHT: usize = 128;

/// Bytes of replies that a connection may leave unread before no more queries are read from it.
const MAX_UNREAD: usize = 128 * 1024;

/// Bytes of replies that all connections to one listening address may leave unread. A nameserver that
/// lies may make each reply 64 KiB long, so beyond it the connection that leaves the most is closed.
pub(crate) const MAX_UNREAD_OF_ALL: usize = 4 << 20;

/// Bytes of a frame before its message.
const PREFIX: usize = 2;

/// Rest when the system has no descriptor or memory for a connection.
const REST: Duration = Duration::from_millis(100);

pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener) {
    let connections = Arc::new(Connections::default());
    // With this task end all of its connections.
    let mut tasks = JoinSet::new();
    let mut shortage = Seldom::default();
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let (id, closed) = connections.enter();
                let core = Arc::clone(&core);
                let connections = Arc::clone(&connections);
                tasks.spawn(async move {
                    let served = tokio::select! {
                        served = connection(&core, stream, id, &connections) => served,
                        () = closed.notified() => Ok(()),
                    };
                    connections.leave(id);
                    if let Err(error) = served {
                        debug!(%error, "connection over TCP ended");
                    }
                });
            }
            Err(error) => {
                if let Some(left_out) = shortage.admit(Instant::now()) {
                    warn!(%error, left_out, "cannot take a connection over TCP");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn connection(
    core: &Arc<Core>,
    stream: TcpStream,
    id: u64,
    connections: &Arc<Connections>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    // What each of many connections might keep for longer ones would be memory without bound.
    let mut queries = frame::Reader::cut(reader, QUERY);
    let (queue, mut replied) = mpsc::channel(MAX_IN_FLIGHT);
    let replies = Replies {
        queue,
        id,
        connections: Arc::clone(connections),
    };
    let mut out: Vec<u8> = Vec::new();
    let mut in_flight = 0;
    let mut is_reading = true;
    while is_reading || in_flight > 0 || !out.is_empty() {
        // One read may bring a hundred queries, which tokio counts as one.
        consume_budget().await;
        let takes_more = is_reading && in_flight < MAX_IN_FLIGHT && out.len() < MAX_UNREAD;
        tokio::select! {
            query = queries.next(), if takes_more => {
                connections.touch(id);
                let Some(packet) = query? else {
                    is_reading = false;
                    continue;
                };
                let client = Client::Tcp(replies.clone());
                let asked = core.query_tcp(client, packet, |reply| {
                    connections.hold(id, PREFIX + reply.len());
                    // A reply is no longer than a frame can be.
                    let _ = frame::encode(reply, &mut out);
                });
                in_flight += usize::from(asked == Asked::Waits);
            }
            Some(reply) = replied.recv() => {
                in_flight -= 1;
                frame::encode(&reply, &mut out)?;
            }
            written = writer.write(&out), if !out.is_empty() => {
                match written? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    written => {
                        connections.release(id, written);
                        out.drain(..written);
                    }
                }
            }
            () = tokio::time::sleep(IDLE) => return Ok(()),
        }
    }
    writer.shutdown().await
}

/// Where the replies for one connection go.
#[derive(Clone, Debug)]
pub(crate) struct Replies {
    queue: mpsc::Sender<Vec<u8>>,
    id: u64,
    connections: Arc<Connections>,
}

impl Replies {
    /// A connection has no more in flight than its queue holds; one that is gone is gone.
    pub(crate) fn send(&self, message: Vec<u8>) {
        self.connections.hold(self.id, PREFIX + message.len());
        drop(self.queue.try_send(message));
    }
}

/// The open connections, when each was last heard of, and what each has not read.
#[derive(Debug, Default)]
struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    by_id: HashMap<u64, Connection>,
    /// No id is used twice: one that was closed to make room has yet to leave.
    next_id: u64,
    /// Bytes of replies, of all connections.
    unread: usize,
}

#[derive(Debug)]
struct Connection {
    heard: Instant,
    close: Arc<Notify>,
    unread: usize,
}

impl Connections {
    fn enter(&self) -> (u64, Arc<Notify>) {
        let mut open = self.lock();
        if open.by_id.len() >= MAX_CONNECTIONS {
            let silent = open.by_id.iter().min_by_key(|(_, open)| open.heard);
            let silent = silent.map(|(id, _)| *id);
            open.close(silent);
        }
        let id = open.next_id;
        open.next_id += 1;
        let close = Arc::new(Notify::new());
        let connection = Connection {
            heard: Instant::now(),
            close: Arc::clone(&close),
            unread: 0,
        };
        open.by_id.insert(id, connection);
        (id, close)
    }

    fn touch(&self, id: u64) {
        if let Some(connection) = self.lock().by_id.get_mut(&id) {
            connection.heard = Instant::now();
        }
    }

    /// Notes bytes of replies for a connection.
    fn hold(&self, id: u64, bytes: usize) {
        let open = &mut *self.lock();
        // One that was closed takes nothing with it.
        let Some(connection) = open.by_id.get_mut(&id) else {
            return;
        };
        connection.unread += bytes;
        open.unread += bytes;
        if open.unread > MAX_UNREAD_OF_ALL {
            let most = open.by_id.iter().max_by_key(|(_, open)| open.unread);
            let most = most.map(|(id, _)| *id);
            open.close(most);
        }
    }

    /// Notes bytes that a connection has taken.
    fn release(&self, id: u64, bytes: usize) {
        let open = &mut *self.lock();
        if let Some(connection) = open.by_id.get_mut(&id) {
            connection.unread -= bytes;
            open.unread -= bytes;
        }
    }

    fn leave(&self, id: u64) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn close(&mut self, id: Option<u64>) {
        if let Some(connection) = id.and_then(|id| self.remove(id)) {
            connection.close.notify_one();
        }
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.by_id.remove(&id)?;
        self.unread -= connection.unread;
        Some(connection)
    }
}
