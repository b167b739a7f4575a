//! What the tests share: a relay in this process, a log to look into, connections in memory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use link::{
    Address, Command, ExchangeError, ListenAddress, Listener, Parent, Peer, Reply, RequestError,
    Stream, frame,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::admission::{Admission, Seat};
use crate::server::Relay;
use crate::{Config, Files, Limits, Policy, connection, serve};

mod enclave;
mod log;
mod old_enclave;

pub(crate) use log::Log;
use log::keep_events_on;

const PORT: u32 = 8888;

/// Longer than anything here takes, short enough that a hang is seen.
const SOON: Duration = Duration::from_secs(30);

/// A relay on a unix socket, in this process.
pub(crate) struct Running {
    pub(crate) parent: Parent,
    pub(crate) socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
    _directory: TempDir,
}

impl Running {
    pub(crate) fn start(config: Config) -> Self {
        keep_events_on();
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("relay");
        let socket = directory.path().join(format!("relay_{PORT}"));
        let listener = Listener::bind(&ListenAddress::Unix(prefix.clone()), PORT).unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, config, async {
            let _ = stopped.await;
        }));
        let parent = Parent::new(Address::Unix(prefix), PORT);
        Self {
            parent,
            socket,
            stop: Some(stop),
            served,
            _directory: directory,
        }
    }

    /// A connection that has sent nothing yet.
    pub(crate) async fn dial(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    /// Asks the relay to stop; its task ends when it has drained.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) async fn stopped(self) {
        timeout(SOON, self.served).await.unwrap().unwrap();
    }
}

/// An enclave of many at a relay on TCP, where each source address is one.
pub(crate) struct Enclave {
    relay: SocketAddr,
    source: Ipv4Addr,
}

impl Enclave {
    /// These enclaves, 127.0.0.N each, at one relay.
    pub(crate) fn at_one_relay<const N: usize>(config: Config, sources: [u8; N]) -> [Self; N] {
        keep_events_on();
        let ip = Ipv4Addr::LOCALHOST;
        let listener = Listener::bind(&ListenAddress::Tcp(ip.into()), 0).unwrap();
        let relay = listener.to_string();
        let relay = relay.strip_prefix("tcp:").unwrap().parse().unwrap();
        tokio::spawn(serve(listener, config, std::future::pending()));
        sources.map(|source| Self {
            relay,
            source: [127, 0, 0, source].into(),
        })
    }

    pub(crate) async fn request(&self, command: Command) -> Result<TcpStream, ExchangeError> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((self.source, 0).into()).unwrap();
        let mut stream = socket.connect(self.relay).await.unwrap();
        let granted = link::socks::client::request(&mut stream, command).await;
        granted.map(|_| stream)
    }
}

/// A relay that lets enclaves reach the servers that the tests make on loopback.
pub(crate) fn loopback() -> Config {
    let allow = ["127.0.0.0/8", "::1"]
        .map(|rule| rule.parse().unwrap())
        .into();
    Config {
        policy: Policy {
            allow,
            deny: Vec::new(),
        },
        ..Config::default()
    }
}

pub(crate) fn limited(change: impl FnOnce(&mut Limits)) -> Config {
    let mut config = loopback();
    change(&mut config.limits);
    config
}

/// What connections without a listener have in common, and what ends them when it is dropped.
pub(crate) fn relay(limits: Limits) -> (Arc<Relay>, watch::Sender<bool>) {
    let config = Config {
        limits,
        ..loopback()
    };
    let (_, resolv_conf) = watch::channel(None);
    let (drain, draining) = watch::channel(false);
    let relay = Arc::new(Relay::new(&config, resolv_conf, draining));
    let quota = Arc::clone(&relay);
    tokio::spawn(async move { quota.quota.run().await });
    (relay, drain)
}

/// A seat at a relay of its own.
pub(crate) fn seat(limits: &Limits) -> Seat {
    Arc::new(Admission::new(limits))
        .admit(Peer::Cid(16))
        .unwrap()
}

/// Connections without a listener, for paused time. The clock jumps to the next deadline while a
/// socket is waited for, so nothing is said of when something happens before it.
struct World {
    relay: Arc<Relay>,
    admission: Arc<Admission>,
    _texts: watch::Sender<Option<Arc<str>>>,
    drain: watch::Sender<bool>,
}

impl World {
    fn new(config: &Config) -> Self {
        let (texts, resolv_conf) = watch::channel(Some("nameserver 10.0.0.2\n".into()));
        let (drain, draining) = watch::channel(false);
        Self {
            relay: Arc::new(Relay::new(config, resolv_conf, draining)),
            admission: Arc::new(Admission::new(&config.limits)),
            _texts: texts,
            drain,
        }
    }

    fn dial(&self, cid: u32) -> UnixStream {
        let (near, far) = UnixStream::pair().unwrap();
        let far = far.try_into().unwrap();
        let seat = self.admission.admit(Peer::Cid(cid)).unwrap();
        let relay = Arc::clone(&self.relay);
        tokio::spawn(connection::run(Stream::Unix(far), seat, relay));
        near
    }
}

async fn read_all(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too: the relay closes with our bytes unread.
    let _ = timeout(SOON, stream.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

pub(crate) fn reply_of(result: Result<link::Accepted, RequestError>) -> Reply {
    match result {
        Err(RequestError::Refused { reply, .. }) => reply,
        other => panic!("no refusal: {other:?}"),
    }
}
