//! The stub over real loopback sockets, with a relay made for the test at the other end of a unix
//! socket.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use link::{Address, Parent, frame};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use self::relay::{FakeRelay, Manner};
use crate::{BindError, Config, Handle, Pins, Reach, Routes, Stub};

mod handle;
mod link_lost;
mod lying;
mod old_parent;
mod quota;
mod relay;
mod routes;
mod tcp;

/// A client's own limit: glibc's and musl's.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

const NAMESERVER: &str = "10.0.0.2:53";

struct Lab {
    relay: FakeRelay,
    stub: SocketAddr,
    nameservers: watch::Sender<Arc<[SocketAddr]>>,
    reach: watch::Receiver<Reach>,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Lab {
    fn start(manner: Manner) -> Self {
        let nameserver: SocketAddr = NAMESERVER.parse().unwrap();
        Self::with_routes(manner, &[nameserver], Routes::default())
    }

    fn with_routes(manner: Manner, discovered: &[SocketAddr], routes: Routes) -> Self {
        Self::with(manner, discovered, routes, 0)
    }

    fn with_quota(manner: Manner, upstream_pps: u32) -> Self {
        let nameserver = NAMESERVER.parse().unwrap();
        Self::with(manner, &[nameserver], Routes::default(), upstream_pps)
    }

    fn with(manner: Manner, discovered: &[SocketAddr], routes: Routes, upstream_pps: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("v.sock");
        let relay = FakeRelay::start(&prefix, manner);
        let config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            cache_size: 1 << 20,
            routes,
            pins: Pins::default(),
            upstream_pps,
            query_log: false,
        };
        let stub = Stub::bind(&config).unwrap();
        let (address, handle) = (stub.local_addrs()[0], stub.handle());
        let parent = Parent::new(Address::Unix(prefix), link::DEFAULT_PORT);
        let (nameservers, following) = watch::channel(Arc::from(discovered));
        let (reaches, reach) = watch::channel(Reach::Nobody);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(stub.run(parent, following, reaches, async {
            let _ = stopped.await;
        }));
        Self {
            relay,
            stub: address,
            nameservers,
            reach,
            handle,
            stop: Some(stop),
            running,
            _dir: dir,
        }
    }

    async fn ask(&self, id: u16, name: &str) -> Message {
        ask_udp(self.stub, id, name).await
    }
}

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

/// The answer to one packet, sent once: a test fails on silence.
async fn ask_udp(stub: SocketAddr, id: u16, name: &str) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(stub).await.unwrap();
    socket.send(&query(id, name)).await.unwrap();
    let mut buffer = [0; 4096];
    let length = timeout(CLIENT_TIMEOUT, socket.recv(&mut buffer))
        .await
        .unwrap_or_else(|_| panic!("no reply for {name}"))
        .unwrap();
    let reply = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(reply.id, id);
    reply
}

/// The address that the nameserver of the test gives a name.
fn address_of(name: &Name) -> [u8; 4] {
    let sum = name.to_ascii().bytes().fold(7u16, |sum, byte| {
        sum.wrapping_mul(31)
            .wrapping_add(byte.to_ascii_lowercase().into())
    });
    let [high, low] = sum.to_be_bytes();
    [10, 0, high, low]
}

fn assert_right(reply: &Message) {
    assert_eq!(reply.response_code, ResponseCode::NoError);
    let [b0, b1, b2, b3] = address_of(reply.queries[0].name());
    let expected = RData::A(A::new(b0, b1, b2, b3));
    let found: Vec<_> = reply
        .answers
        .iter()
        .map(|record: &Record| &record.data)
        .collect();
    assert_eq!(found, [&expected]);
}

#[tokio::test]
async fn a_name_resolves_over_udp_and_tcp_and_is_asked_for_once() {
    let lab = Lab::start(Manner::Answers);
    assert_right(&lab.ask(1, "ec2.us-east-1.amazonaws.com.").await);
    assert_right(&lab.ask(2, "EC2.us-east-1.amazonaws.COM.").await);

    let mut stream = TcpStream::connect(lab.stub).await.unwrap();
    frame::write(&mut stream, &query(3, "ec2.us-east-1.amazonaws.com."))
        .await
        .unwrap();
    let mut message = Vec::new();
    frame::read(&mut stream, &mut message)
        .await
        .unwrap()
        .unwrap();
    assert_right(&Message::from_vec(&message).unwrap());

    assert_eq!(lab.relay.asked(), 1);
}

#[tokio::test]
async fn a_thousand_askers_of_one_name_are_one_question_upstream() {
    let lab = Lab::start(Manner::AnswersAfter(Duration::from_millis(200)));
    let mut clients = JoinSet::new();
    for id in 0..1000 {
        let stub = lab.stub;
        clients.spawn(async move { ask_udp(stub, id, "sqs.us-east-1.amazonaws.com.").await });
    }
    while let Some(reply) = clients.join_next().await {
        assert_right(&reply.unwrap());
    }
    assert_eq!(lab.relay.asked(), 1);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config {
        listen: vec![address],
        cache_size: 1 << 20,
        routes: Routes::default(),
        pins: Pins::default(),
        upstream_pps: 0,
        query_log: false,
    };
    let error = Stub::bind(&config).err().unwrap();
    assert!(matches!(error, BindError::InUse { address: named } if named == address));
}

#[tokio::test]
async fn shutdown_closes_everything_that_is_open_or_in_flight() {
    let mut lab = Lab::start(Manner::IsSilent);
    let _open = TcpStream::connect(lab.stub).await.unwrap();
    let _waits = tokio::spawn(ask_udp(lab.stub, 1, "a.example.com."));
    while lab.relay.asked() == 0 {
        tokio::task::yield_now().await;
    }
    // The connection to the former nameserver has something in flight still.
    lab.nameservers
        .send_replace(Arc::from([SocketAddr::from(([10, 0, 0, 3], 53))]));
    while lab.relay.last_accepted() != Some(SocketAddr::from(([10, 0, 0, 3], 53))) {
        tokio::task::yield_now().await;
    }
    lab.stop.take().unwrap().send(()).unwrap();
    lab.running.await.unwrap();
    std::net::UdpSocket::bind(lab.stub).unwrap();
}

#[tokio::test]
async fn dropping_the_stub_closes_everything_too() {
    let lab = Lab::start(Manner::Answers);
    assert_right(&lab.ask(1, "a.example.com.").await);
    lab.running.abort();
    let released = async {
        while UdpSocket::bind(lab.stub).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(CLIENT_TIMEOUT, released).await.unwrap();
}

/// Tokio does not count readiness against a task: one that always finds a full batch must give way
/// by itself.
#[tokio::test]
async fn a_flood_over_udp_starves_nobody_else() {
    let lab = Lab::start(Manner::Answers);
    let cached = "sqs.us-east-1.amazonaws.com.";
    assert_right(&lab.ask(1, cached).await);
    let (stub, floods) = (lab.stub, Arc::new(AtomicBool::new(true)));
    for id in 0..4 {
        let floods = Arc::clone(&floods);
        tokio::task::spawn_blocking(move || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let packet = query(id, cached);
            while floods.load(Relaxed) {
                let _ = socket.send_to(&packet, stub);
            }
        });
    }
    let ask = move |id| -> io::Result<()> {
        let mut stream = std::net::TcpStream::connect(stub)?;
        stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        let mut frame = Vec::new();
        frame::encode(&query(id, &format!("n{id}.example.com.")), &mut frame)?;
        stream.write_all(&frame)?;
        stream.read_exact(&mut [0; 2])
    };
    // On a thread of its own, since the test's may be starved as well.
    let others = tokio::task::spawn_blocking(move || {
        let served = (0..20).try_for_each(ask);
        floods.store(false, Relaxed);
        served
    });
    others.await.unwrap().unwrap();
}

#[tokio::test]
async fn addresses_that_are_all_left_out_are_an_error() {
    let bind = |listen: &[&str]| {
        let listen = listen.iter().map(|at| at.parse().unwrap()).collect();
        Stub::bind(&Config {
            listen,
            cache_size: 1 << 20,
            routes: Routes::default(),
            pins: Pins::default(),
            upstream_pps: 0,
            query_log: false,
        })
    };
    // For documentation only (RFC 3849), so no system has them.
    let absent = ["[2001:db8::1]:0", "[2001:db8::2]:0"];
    assert!(matches!(bind(&absent).err(), Some(BindError::Io { .. })));
    let stub = bind(&[absent[0], "127.0.0.1:0"]).unwrap();
    assert_eq!(stub.local_addrs().len(), 1);
}
