//! The parent and the nameserver behind it, byte for byte by their own hand.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use link::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::super::relay::answer;

/// A nameserver that closes reads what has come by then.
const LINGER: Duration = Duration::from_millis(1);

/// What the parent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It connects to this nameserver, and closes on what it does not know.
    Old(Nameserver),
    /// It carries DNS, and answers after so long.
    New(Duration),
    /// It closes every connection.
    Away,
}

/// How a nameserver treats TCP. It answers in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nameserver {
    Answers,
    AnswersAfter(Duration),
    ClosesWhenIdle(Duration),
    /// After so many answers.
    ClosesAfter(usize),
    /// The first connection ends within its second answer.
    ClosesMidFrameOnce,
    IsSilent,
    /// The first connection is silent.
    IsSilentOnce,
    /// Answers nothing from a name that starts so on.
    IsStuckAt(&'static str),
    /// Closes when asked for a name that starts so.
    ClosesOn(&'static str),
    /// Sets TC.
    Truncates,
}

pub(super) struct OldParent {
    manner: watch::Sender<Manner>,
    /// Changes when every connection is to end.
    cut: watch::Sender<()>,
    seen: Arc<Mutex<Seen>>,
}

/// What the parent has seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Requests for 0xD0.
    pub(super) dns: usize,
    /// CONNECTs that were granted.
    pub(super) connects: usize,
    /// Queries that reached the nameserver.
    pub(super) asked: usize,
    /// The last query came over 0xD0.
    pub(super) last_over_dns: bool,
}

impl OldParent {
    pub(super) fn start(prefix: &Path, manner: Manner) -> Self {
        let mut path = prefix.as_os_str().to_owned();
        path.push(format!("_{}", link::DEFAULT_PORT));
        let listener = UnixListener::bind(path).unwrap();
        let (manner, following) = watch::channel(manner);
        let (cut, cuts) = watch::channel(());
        let seen = Arc::<Mutex<Seen>>::default();
        let parent = Self {
            manner,
            cut,
            seen: Arc::clone(&seen),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (manner, seen) = (*following.borrow(), Arc::clone(&seen));
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        // The enclave may leave at any byte.
                        _ = serve(stream, manner, seen) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        parent
    }

    pub(super) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap()
    }

    /// New connections are treated so; what is open stays.
    pub(super) fn becomes(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// The process ends, and with it its connections, and another takes its place.
    pub(super) fn is_replaced_by(&self, manner: Manner) {
        self.becomes(manner);
        self.cut.send_replace(());
    }
}

async fn serve(mut stream: UnixStream, manner: Manner, seen: Arc<Mutex<Seen>>) -> io::Result<()> {
    if manner == Manner::Away {
        return Ok(());
    }
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).await?;
    stream.read_exact(&mut vec![0; greeting[1].into()]).await?;
    stream.write_all(&[5, 0]).await?;
    // RFC 1928 §4, with an IPv4 address; anything else closes.
    let mut request = [0; 10];
    stream.read_exact(&mut request).await?;
    let is_dead = request[4..8] == [10, 0, 0, 9];
    let serial = {
        let mut seen = seen.lock().unwrap();
        seen.dns += usize::from(request[1] == 0xD0);
        match (
            manner,
            request[..4] == [5, 1, 0, 1],
            request[..4] == [5, 0xD0, 0, 1],
        ) {
            (Manner::Old(_), true, _) if !is_dead => seen.connects += 1,
            (Manner::New(_), _, true) => {}
            _ => return Ok(()),
        }
        seen.connects
    };
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    let (reader, mut writer) = stream.split();
    let mut queries = frame::Reader::new(reader);
    let idle = match manner {
        Manner::Old(Nameserver::ClosesWhenIdle(idle)) => idle,
        _ => Duration::MAX,
    };
    let mut answers = 0;
    if manner == Manner::Old(Nameserver::ClosesAfter(0)) {
        // Not before it has been asked.
        queries.next().await?;
        return Ok(());
    }
    while let Ok(Some(query)) = timeout(idle, queries.next()).await.unwrap_or(Ok(None)) {
        {
            let mut seen = seen.lock().unwrap();
            seen.asked += 1;
            seen.last_over_dns = request[1] == 0xD0;
        }
        let asks_for = |name: &str| query.get(13..13 + name.len()) == Some(name.as_bytes());
        let mut reply = Vec::new();
        frame::encode(&answer(query), &mut reply)?;
        match manner {
            Manner::New(delay) | Manner::Old(Nameserver::AnswersAfter(delay)) if answers == 0 => {
                sleep(delay).await;
            }
            Manner::Old(Nameserver::IsSilent) => forever().await,
            Manner::Old(Nameserver::IsSilentOnce) if serial == 1 => forever().await,
            Manner::Old(Nameserver::IsStuckAt(name)) if asks_for(name) => forever().await,
            Manner::Old(Nameserver::ClosesOn(name)) if asks_for(name) => return Ok(()),
            Manner::Old(Nameserver::ClosesMidFrameOnce) if serial == 1 && answers == 1 => {
                let half = reply.len() / 2;
                writer.write_all(&reply[..half]).await?;
                return Ok(());
            }
            // TC, in the third byte of the header.
            Manner::Old(Nameserver::Truncates) => reply[2 + 2] |= 0x02,
            _ => {}
        }
        writer.write_all(&reply).await?;
        answers += 1;
        if manner == Manner::Old(Nameserver::ClosesAfter(answers)) {
            // What came in vain counts too.
            while let Ok(Ok(Some(_))) = timeout(LINGER, queries.next()).await {
                seen.lock().unwrap().asked += 1;
            }
            return Ok(());
        }
    }
    Ok(())
}

fn forever() -> impl Future<Output = ()> {
    std::future::pending()
}
