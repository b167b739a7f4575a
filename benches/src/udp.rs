//! A closed loop over UDP: as many queries outstanding as the window says, each answer makes room for
//! the next, so that the server saturates and not the client.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use wire::{read_u16, set_id};

use crate::datagrams::{BATCH, Datagrams};
use crate::outcome::Outcome;
use crate::questions::Questions;

/// A query without an answer after this is lost: resolvers give up later, but then nothing has a rate.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often lost queries are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes that may wait in the client's socket, so that no answer is dropped there.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Ids of queries.
const IDS: usize = 1 << 16;

/// How a server is asked.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) questions: &'a Questions,
    /// Which of the questions follow each other; all in turn if there is none.
    pub(crate) order: Option<&'a [u32]>,
    /// The place in the order to begin at.
    pub(crate) from: usize,
    /// Most queries outstanding, below 65,536.
    pub(crate) window: usize,
    pub(crate) until: Until,
}

#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// So much time has passed.
    Elapsed(Duration),
    /// So many were asked.
    Asked(usize),
}

struct InFlight {
    sent: Instant,
    question: usize,
}

/// Asks `server` as `plan` says.
pub(crate) fn ask(server: SocketAddr, plan: &Plan<'_>) -> io::Result<Outcome> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(LOOK))?;
    // Beyond the system's limit only CAP_NET_ADMIN leads.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    let mut client = Client {
        socket,
        plan,
        queries: Datagrams::new(),
        replies: Datagrams::new(),
        in_flight: (0..IDS).map(|_| None).collect(),
        outstanding: 0,
        next_id: 0,
        asked: 0,
        outcome: Outcome::new(),
    };
    let start = Instant::now();
    let mut looked = start;
    loop {
        let now = Instant::now();
        let is_over = match plan.until {
            Until::Elapsed(time) => now - start >= time,
            Until::Asked(count) => client.asked >= count,
        };
        if is_over {
            if client.outcome.elapsed.is_zero() {
                client.outcome.elapsed = now - start;
            }
            if client.outstanding == 0 {
                return Ok(client.outcome);
            }
        } else {
            client.fill()?;
        }
        client.take()?;
        if now - looked >= LOOK {
            looked = now;
            client.lose(now);
        }
    }
}

struct Client<'a> {
    socket: UdpSocket,
    plan: &'a Plan<'a>,
    queries: Datagrams,
    replies: Datagrams,
    /// By id.
    in_flight: Box<[Option<InFlight>]>,
    outstanding: usize,
    next_id: u16,
    asked: usize,
    outcome: Outcome,
}

impl Client<'_> {
    fn fill(&mut self) -> io::Result<()> {
        let most = match self.plan.until {
            Until::Elapsed(_) => usize::MAX,
            Until::Asked(count) => count,
        };
        while self.outstanding < self.plan.window && self.asked < most {
            let room = (self.plan.window - self.outstanding).min(most - self.asked);
            let count = room.min(BATCH);
            let sent = Instant::now();
            for index in 0..count {
                let question = self.next_question();
                let id = self.next_id();
                self.queries
                    .put(index, self.plan.questions.at(question).packet);
                self.queries.edit(index, |packet, length| {
                    set_id(packet, id);
                    length
                });
                self.in_flight[usize::from(id)] = Some(InFlight { sent, question });
            }
            self.queries.send(&self.socket, count)?;
            self.outstanding += count;
        }
        Ok(())
    }

    fn next_question(&mut self) -> usize {
        let at = self.plan.from + self.asked;
        self.asked += 1;
        match self.plan.order {
            Some(order) => order[at % order.len()] as usize,
            None => at,
        }
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.wrapping_add(1);
            if self.in_flight[usize::from(self.next_id)].is_none() {
                return self.next_id;
            }
        }
    }

    fn take(&mut self) -> io::Result<()> {
        if self.outstanding == 0 {
            return Ok(());
        }
        let most = self.outstanding.min(BATCH);
        let received = match self.replies.receive(&self.socket, most) {
            Ok(received) => received,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionRefused => return Ok(()),
                _ => return Err(error),
            },
        };
        let now = Instant::now();
        for index in 0..received {
            let reply = self.replies.at(index);
            let id = usize::from(read_u16(reply, 0).unwrap_or(0));
            // One that comes after it was given up counts as lost still.
            if let Some(InFlight { sent, question }) = self.in_flight[id].take() {
                let is_right = self.plan.questions.at(question).is_answered_by(reply);
                self.outcome.record(now - sent, is_right);
                self.outstanding -= 1;
            }
        }
        Ok(())
    }

    fn lose(&mut self, now: Instant) {
        for slot in &mut self.in_flight {
            if slot
                .take_if(|in_flight| now - in_flight.sent >= PATIENCE)
                .is_some()
            {
                self.outcome.lost += 1;
                self.outstanding -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
