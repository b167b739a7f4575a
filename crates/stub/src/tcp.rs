//! DNS over TCP on loopback (RFC 7766): pipelined, answered in any order.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::frame;
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

/// Rest when the system has no descriptor or memory for a connection.
const REST: Duration = Duration::from_millis(100);

pub(crate) async fn serve(core: Arc<Core>, listener: TcpListener) {
    let connections = Arc::new(Connections::default());
    // With this task end all of its connections.
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let (id, closed) = connections.enter();
                let core = Arc::clone(&core);
                let connections = Arc::clone(&connections);
                tasks.spawn(async move {
                    let served = tokio::select! {
                        served = connection(&core, stream, || connections.touch(id)) => served,
                        () = closed.notified() => Ok(()),
                    };
                    connections.leave(id);
                    if let Err(error) = served {
                        debug!(%error, "connection over TCP ended");
                    }
                });
            }
            Err(error) => {
                warn!(%error, "cannot take a connection over TCP");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn connection(core: &Arc<Core>, stream: TcpStream, touch: impl Fn()) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    // What each of many connections might keep for longer ones would be memory without bound.
    let mut queries = frame::Reader::cut(reader, QUERY);
    let (replies, mut replied) = mpsc::channel(MAX_IN_FLIGHT);
    let mut out: Vec<u8> = Vec::new();
    let mut in_flight = 0;
    let mut is_reading = true;
    while is_reading || in_flight > 0 || !out.is_empty() {
        // One read may bring a hundred queries, which tokio counts as one.
        consume_budget().await;
        let takes_more = is_reading && in_flight < MAX_IN_FLIGHT && out.len() < MAX_UNREAD;
        tokio::select! {
            query = queries.next(), if takes_more => {
                touch();
                let Some(packet) = query? else {
                    is_reading = false;
                    continue;
                };
                let client = Client::Tcp(replies.clone());
                let asked = core.query_tcp(client, packet, |reply| {
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
                    written => drop(out.drain(..written)),
                }
            }
            () = tokio::time::sleep(IDLE) => return Ok(()),
        }
    }
    writer.shutdown().await
}

/// The open connections, and when each was last heard of.
#[derive(Default)]
struct Connections(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_id: HashMap<u64, (Instant, Arc<Notify>)>,
    /// No id is used twice: one that was closed to make room has yet to leave.
    next_id: u64,
}

impl Connections {
    fn enter(&self) -> (u64, Arc<Notify>) {
        let mut open = self.lock();
        if open.by_id.len() >= MAX_CONNECTIONS {
            let silent = open.by_id.iter().min_by_key(|(_, (heard, _))| *heard);
            let silent = silent.map(|(id, _)| *id);
            if let Some((_, close)) = silent.and_then(|id| open.by_id.remove(&id)) {
                close.notify_one();
            }
        }
        let id = open.next_id;
        open.next_id += 1;
        let close = Arc::new(Notify::new());
        open.by_id.insert(id, (Instant::now(), Arc::clone(&close)));
        (id, close)
    }

    fn touch(&self, id: u64) {
        if let Some((heard, _)) = self.lock().by_id.get_mut(&id) {
            *heard = Instant::now();
        }
    }

    fn leave(&self, id: u64) {
        self.lock().by_id.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
