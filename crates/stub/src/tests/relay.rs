//! A relay whose nameserver knows every name, and whose manners can be chosen.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use link::socks::server::{read_request, write_reply};
use link::{Command, ListenAddress, Listener, Reply, Stream, frame};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

/// Between two messages that answer nothing.
const BABBLE: Duration = Duration::from_millis(100);

/// How the relay treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Answers,
    AnswersAfter(Duration),
    /// Closes connections before it replies.
    IsAway,
    /// Takes connections and queries and says nothing.
    IsSilent,
    /// The first connection is silent.
    IsSilentOnce,
    /// The first connection gives only messages that answer nothing.
    BabblesOnce,
    /// Gives a message that answers nothing, and closes.
    BabblesAndCloses,
    /// Answers one query of each connection, and closes.
    ClosesAfterEachAnswer,
    /// Takes connections and no requests.
    NeverReplies,
    /// Takes nothing and says nothing, on connections from before too.
    Stalls,
    /// Answers, and closes so many connections after a random count of bytes sent.
    CutsAtRandom {
        cuts: u32,
        seed: u64,
    },
}

pub(super) struct FakeRelay {
    manner: watch::Sender<Manner>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    asked: usize,
    connections: usize,
    cuts: u32,
    last_accepted: Option<SocketAddr>,
    last_nameserver: Option<SocketAddr>,
}

impl FakeRelay {
    pub(super) fn start(prefix: &Path, manner: Manner) -> Self {
        let listen = ListenAddress::Unix(prefix.to_owned());
        let listener = Listener::bind(&listen, link::DEFAULT_PORT).unwrap();
        let (manner, mut following) = watch::channel(manner);
        let seen = Arc::<Mutex<Seen>>::default();
        let relay = Self {
            manner,
            seen: Arc::clone(&seen),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let goes_on = |manner: &Manner| *manner != Manner::Stalls;
                let manner = *following.wait_for(goes_on).await.unwrap();
                tokio::spawn(serve(stream, manner, following.clone(), Arc::clone(&seen)));
            }
        });
        relay
    }

    pub(super) fn set(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// As one that is stopped: nothing is read or said any more, on connections there are and on new
    /// ones, until [`FakeRelay::set`].
    pub(super) fn stall(&self) {
        self.set(Manner::Stalls);
    }

    /// Queries that came over the link.
    pub(super) fn asked(&self) -> usize {
        self.seen.lock().unwrap().asked
    }

    /// Connections that were granted.
    pub(super) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// Whom the last connection was for.
    pub(super) fn last_accepted(&self) -> Option<SocketAddr> {
        self.seen.lock().unwrap().last_accepted
    }

    /// Whom the last query was for.
    pub(super) fn last_nameserver(&self) -> Option<SocketAddr> {
        self.seen.lock().unwrap().last_nameserver
    }

    pub(super) fn cuts_left(&self) -> u32 {
        match *self.manner.borrow() {
            Manner::CutsAtRandom { cuts, .. } => cuts - self.seen.lock().unwrap().cuts,
            _ => 0,
        }
    }
}

async fn serve(
    mut stream: Stream,
    manner: Manner,
    mut following: watch::Receiver<Manner>,
    seen: Arc<Mutex<Seen>>,
) {
    if manner == Manner::IsAway {
        return;
    }
    if manner == Manner::NeverReplies {
        return std::future::pending().await;
    }
    let Ok(Command::Dns(nameserver)) = read_request(&mut stream).await else {
        return;
    };
    let serial = {
        let mut seen = seen.lock().unwrap();
        seen.connections += 1;
        seen.last_accepted = Some(nameserver);
        seen.connections
    };
    write_reply(&mut stream, Reply::Succeeded, nameserver)
        .await
        .unwrap();
    let cut_at = match manner {
        Manner::CutsAtRandom { cuts, seed } if seen.lock().unwrap().cuts < cuts => {
            let mut random = StdRng::seed_from_u64(seed + serial as u64);
            Some(random.random_range(1..4000))
        }
        _ => None,
    };
    if manner == Manner::BabblesAndCloses {
        let _ = frame::write(&mut stream, &[0; 12]).await;
        return;
    }
    let (reader, mut writer) = tokio::io::split(stream);
    let mut queries = frame::Reader::new(reader);
    let (answers, mut answered) = mpsc::unbounded_channel::<Vec<u8>>();
    let writing = async {
        let mut sent = 0;
        while let Some(answer) = answered.recv().await {
            let mut bytes = Vec::new();
            frame::encode(&answer, &mut bytes).unwrap();
            if let Some(cut_at) = cut_at
                && sent + bytes.len() > cut_at
            {
                bytes.truncate(cut_at - sent);
                let _ = writer.write_all(&bytes).await;
                seen.lock().unwrap().cuts += 1;
                return;
            }
            sent += bytes.len();
            if writer.write_all(&bytes).await.is_err() || manner == Manner::ClosesAfterEachAnswer {
                return;
            }
        }
    };
    let reading = async {
        while let Ok(Some(query)) = queries.next().await {
            let goes_on = |manner: &Manner| *manner != Manner::Stalls;
            following.wait_for(goes_on).await.unwrap();
            let answer = answer(query);
            {
                let mut seen = seen.lock().unwrap();
                seen.asked += 1;
                seen.last_nameserver = Some(nameserver);
            }
            let answers = answers.clone();
            match manner {
                Manner::IsSilent => {}
                Manner::IsSilentOnce if serial == 1 => {}
                Manner::BabblesOnce if serial == 1 => {
                    tokio::spawn(async move {
                        while answers.send(vec![0; 12]).is_ok() {
                            tokio::time::sleep(BABBLE).await;
                        }
                    });
                }
                Manner::AnswersAfter(delay) => {
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        let _ = answers.send(answer);
                    });
                }
                _ => answers.send(answer).unwrap(),
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}

pub(super) fn answer(query: &[u8]) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let mut answer = Message::new(query.id, MessageType::Response, OpCode::Query);
    let question = query.queries[0].clone();
    let [b0, b1, b2, b3] = super::address_of(question.name());
    let address = RData::A(A::new(b0, b1, b2, b3));
    answer.add_answer(Record::from_rdata(question.name().clone(), 60, address));
    answer.add_query(question);
    answer.to_vec().unwrap()
}
