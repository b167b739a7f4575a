//! A closed loop over TCP: connections that keep so many queries in flight each (RFC 7766 pipelining).

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use wire::{read_u16, set_id};

use crate::outcome::Outcome;
use crate::questions::Questions;

/// How long answers may still come when the time is over.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of the length before each message.
const PREFIX: usize = 2;

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Queries in flight on each.
    pub(crate) depth: u16,
    pub(crate) time: Duration,
}

/// Asks `server` all questions in turn on each connection, begun at different ones.
pub(crate) fn ask(
    server: SocketAddr,
    questions: &std::sync::Arc<Questions>,
    plan: Plan,
) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..plan.connections {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let start = Instant::now();
        let mut connections = JoinSet::new();
        for (index, stream) in streams.into_iter().enumerate() {
            let mut connection = Connection {
                stream,
                questions: std::sync::Arc::clone(questions),
                next: index * questions.len() / plan.connections,
                in_flight: (0..plan.depth).map(|_| None).collect(),
                unsent: Vec::new(),
                outcome: Outcome::new(),
            };
            connections.spawn(async move {
                let run = connection.run(start + plan.time);
                let result = timeout_at((start + plan.time + PATIENCE).into(), run).await;
                let left = connection.in_flight.iter().flatten().count();
                connection.outcome.lost += left as u64;
                match result {
                    Ok(Err(error)) => Err(error),
                    _ => Ok(connection.outcome),
                }
            });
        }
        let mut all = Outcome::new();
        while let Some(ended) = connections.join_next().await {
            all.add(&ended.map_err(io::Error::other)??);
        }
        all.elapsed = plan.time;
        Ok(all)
    })
}

struct Connection {
    stream: TcpStream,
    questions: std::sync::Arc<Questions>,
    next: usize,
    /// By id: when it was sent, and which question it is.
    in_flight: Vec<Option<(Instant, usize)>>,
    unsent: Vec<u8>,
    outcome: Outcome,
}

impl Connection {
    async fn run(&mut self, end: Instant) -> io::Result<()> {
        let depth = self.in_flight.len();
        for id in 0..depth {
            self.put(id);
        }
        let mut buffer = Vec::new();
        loop {
            self.stream.write_all(&self.unsent).await?;
            self.unsent.clear();
            if self.in_flight.iter().all(Option::is_none) {
                return Ok(());
            }
            if self.stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let now = Instant::now();
            let mut taken = 0;
            while let Some(reply) = frame(&buffer[taken..]) {
                taken += PREFIX + reply.len();
                let id = usize::from(read_u16(reply, 0).unwrap_or(u16::MAX));
                let Some((sent, question)) = self.in_flight.get_mut(id).and_then(Option::take)
                else {
                    self.outcome.wrong += 1;
                    continue;
                };
                let is_right = self.questions.at(question).is_answered_by(reply);
                self.outcome.record(now - sent, is_right);
                if now < end {
                    self.put(id);
                }
            }
            buffer.drain(..taken);
        }
    }

    /// Writes the next query under the free id.
    fn put(&mut self, id: usize) {
        let packet = self.questions.at(self.next).packet;
        let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        self.unsent.extend_from_slice(&length.to_be_bytes());
        let start = self.unsent.len();
        self.unsent.extend_from_slice(packet);
        set_id(
            &mut self.unsent[start..],
            u16::try_from(id).unwrap_or(u16::MAX),
        );
        self.in_flight[id] = Some((Instant::now(), self.next));
        self.next += 1;
    }
}

/// The first whole message.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(read_u16(bytes, 0)?);
    bytes.get(PREFIX..PREFIX + length)
}
