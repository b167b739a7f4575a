//! A parent that lies in a nameserver's place, or a nameserver that does: what comes out of the stub,
//! when, and what the log says of it.
//!
//! Each lie is told to a stub that knows nobody else, and to one that knows an honest nameserver too.
//! The first fails as the table says; the second has the right answer. Each nameserver has an address
//! of its own, by which its log lines are found.

use std::future::Future;
use std::sync::atomic::AtomicUsize;

use hickory_proto::op::Edns;
use hickory_proto::rr::rdata::opt::EdnsOption;
use link::socks::server::{read_request, write_reply};
use link::{Command, ListenAddress, Listener, Reply, Stream};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use self::log::Log;
use super::*;

use self::lies::{LIES, Lie, Outcome};

mod lies;
#[path = "../../../relay/src/tests/log.rs"]
mod log;
mod socks;

/// The one that tells the truth, asked second.
const HONEST: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 9, 9)),
    53,
);

/// Names that are asked for at once: a failure that many meet is one line.
const NAMES: [&str; 3] = [
    "www.example.",
    "ftp.example.",
    "a.very.long.name.of.example.",
];

/// A stub behind a parent of the test's.
struct Victim {
    stub: SocketAddr,
    running: JoinHandle<()>,
    _nameservers: watch::Sender<Arc<[SocketAddr]>>,
}

impl Victim {
    /// Behind a parent that treats each connection so.
    fn of<F>(
        nameservers: &[SocketAddr],
        routes: Routes,
        serve: impl Fn(Stream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("v.sock");
        let listen = ListenAddress::Unix(prefix.clone());
        let listener = Listener::bind(&listen, link::DEFAULT_PORT).unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // The stub may leave at any byte.
                tokio::spawn(serve(stream));
            }
        });
        let config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            cache_size: 1 << 20,
            routes,
            pins: Pins::default(),
            upstream_pps: 0,
            query_log: false,
        };
        let stub = Stub::bind(&config).unwrap();
        let address = stub.local_addrs()[0];
        let parent = Parent::new(Address::Unix(prefix), link::DEFAULT_PORT);
        let (nameservers, following) = watch::channel(Arc::from(nameservers));
        let (reach, _) = watch::channel(Reach::Nobody);
        let running = tokio::spawn(async move {
            // What the stub says of a parent that the test has taken away is nobody's concern.
            let _dir = dir;
            stub.run(parent, following, reach, std::future::pending())
                .await;
        });
        Self {
            stub: address,
            running,
            _nameservers: nameservers,
        }
    }

    /// Behind one that lies for all nameservers but the honest one.
    fn lied_to(nameservers: &[SocketAddr], lie: &'static Lie) -> (Self, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let serve = move |stream| lying(stream, lie, Arc::clone(&count));
        (Self::of(nameservers, Routes::default(), serve), asked)
    }

    /// One packet, and the reply to it, which a client waits 5 s for.
    async fn ask(&self, name: &str) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.stub).await.unwrap();
        let mut message = Message::from_vec(&query(7, name)).unwrap();
        message.edns = Some(Edns::new());
        socket.send(&message.to_vec().unwrap()).await.unwrap();
        let mut buffer = [0; 4096];
        let reply = timeout(CLIENT_TIMEOUT, socket.recv(&mut buffer)).await;
        let length = reply
            .unwrap_or_else(|_| panic!("no reply for {name}"))
            .unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Grants DNS and answers all queries, for the honest nameserver honestly.
async fn lying(mut stream: Stream, lie: &Lie, asked: Arc<AtomicUsize>) -> io::Result<()> {
    let Ok(Command::Dns(nameserver)) = read_request(&mut stream).await else {
        return Ok(());
    };
    write_reply(&mut stream, Reply::Succeeded, nameserver).await?;
    let mut query = Vec::new();
    while frame::read(&mut stream, &mut query).await?.is_some() {
        if nameserver == HONEST {
            frame::write(&mut stream, &relay::answer(&query)).await?;
            continue;
        }
        asked.fetch_add(1, Relaxed);
        let bytes = (lie.says)(&query);
        match lie.pace {
            None => stream.write_all(&bytes).await?,
            Some(pace) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await?;
                    sleep(pace).await;
                }
            }
        }
    }
    Ok(())
}

fn ede(reply: &Message) -> Option<u16> {
    match reply.edns.as_ref()?.option(15.into())? {
        EdnsOption::Unknown(15, value) => wire::read_u16(value, 0),
        other => panic!("{other:?}"),
    }
}

/// Warnings about a nameserver.
fn warnings(log: &Log, nameserver: SocketAddr) -> Vec<String> {
    let mut lines = log.lines(&format!("{nameserver}"));
    lines.retain(|line| line.contains(" WARN "));
    lines
}

#[track_caller]
fn assert_one_line(log: &Log, nameserver: SocketAddr, lie: &str, says: Option<&str>) {
    let lines = warnings(log, nameserver);
    let expected = usize::from(says.is_some());
    assert_eq!(lines.len(), expected, "{lie}: {lines:#?}");
    let found = lines
        .iter()
        .all(|line| line.contains(says.unwrap_or_default()));
    assert!(found, "{lie}: not {says:?}: {lines:#?}");
}

#[tokio::test]
async fn a_lie_is_a_failure_in_time_or_another_nameservers_answer_and_one_line() {
    let (log, _guard) = Log::capture();
    let mut waiting = JoinSet::new();
    for (lie, number) in LIES.iter().zip(1..) {
        let alone = SocketAddr::from(([10, 0, 3, number], 53));
        let beside = SocketAddr::from(([10, 0, 4, number], 53));
        let told = tell(lie, alone, beside);
        // Those that are waited for are waited for together.
        if lie.waits() {
            waiting.spawn(told);
        } else {
            told.await;
        }
    }
    while let Some(ended) = waiting.join_next().await {
        ended.unwrap();
    }
    for (lie, number) in LIES.iter().zip(1..) {
        let alone = SocketAddr::from(([10, 0, 3, number], 53));
        assert_one_line(&log, alone, lie.name, lie.line);
        let beside = SocketAddr::from(([10, 0, 4, number], 53));
        assert!(warnings(&log, beside).len() <= 1, "{}", lie.name);
    }
}

async fn tell(lie: &'static Lie, alone: SocketAddr, beside: SocketAddr) {
    let (victim, asked) = Victim::lied_to(&[alone], lie);
    let [first, second, third] = NAMES.map(|name| victim.ask(name));
    let replies = tokio::join!(first, second, third);
    for reply in [&replies.0, &replies.1, &replies.2] {
        lie.assert_outcome(reply);
    }
    if !lie.waits() {
        assert_eq!(
            asked.load(Relaxed),
            NAMES.len(),
            "{}: asked again",
            lie.name
        );
    }
    if let Outcome::Answer { is_kept, .. } = lie.outcome {
        lie.assert_outcome(&victim.ask(NAMES[0]).await);
        let asked = asked.load(Relaxed) - NAMES.len();
        assert_eq!(asked, usize::from(!is_kept), "{}", lie.name);
        return;
    }
    let (victim, _) = Victim::lied_to(&[beside, HONEST], lie);
    for name in NAMES {
        assert_right(&victim.ask(name).await);
    }
}
