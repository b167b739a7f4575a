//! DNS over TCP on loopback (RFC 7766): pipelined, answered in any order.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::frame;
use slab::Slab;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::core::{Asked, Client, Core};

/// Most connections at a time. One more closes the one that has been silent longest (RFC 7766
/// section 6.2.3 leaves that to the server).
pub(crate) const MAX_CONNECTIONS: usize = 256;

/// A connection without a query for this long is closed (RFC 7766 section 6.2.3: a few seconds).
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
    let mut queries = frame::Reader::new(reader);
    let (replies, mut replied) = mpsc::channel(MAX_IN_FLIGHT);
    let mut out: Vec<u8> = Vec::new();
    let mut in_flight = 0;
    let mut is_reading = true;
    while is_reading || in_flight > 0 || !out.is_empty() {
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
                let written = written?;
                out.drain(..written);
            }
            () = tokio::time::sleep(IDLE) => return Ok(()),
        }
    }
    writer.shutdown().await
}

/// The open connections, and when each was last heard of.
#[derive(Default)]
struct Connections(Mutex<Slab<(Instant, Arc<Notify>)>>);

impl Connections {
    fn enter(&self) -> (usize, Arc<Notify>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_CONNECTIONS
            && let Some((id, _)) = open.iter().min_by_key(|(_, (heard, _))| *heard)
        {
            let (_, close) = open.remove(id);
            close.notify_one();
        }
        let close = Arc::new(Notify::new());
        (open.insert((Instant::now(), Arc::clone(&close))), close)
    }

    fn touch(&self, id: usize) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((heard, _)) = open.get_mut(id) {
            *heard = Instant::now();
        }
    }

    fn leave(&self, id: usize) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.try_remove(id);
    }
}
