//! The stub over real loopback sockets, with a relay made for the test at the other end of a unix
//! socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use link::{Address, Parent, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::relay::{FakeRelay, Manner};
use crate::{BindError, Config, Stub};

mod relay;

/// A client's own limit: glibc's and musl's.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

const NAMESERVER: &str = "10.0.0.2:53";

struct Lab {
    relay: FakeRelay,
    stub: SocketAddr,
    nameservers: watch::Sender<Arc<[SocketAddr]>>,
    ready: watch::Receiver<bool>,
    stop: Option<oneshot::Sender<()>>,
    _dir: tempfile::TempDir,
}

impl Lab {
    fn start(manner: Manner) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("v.sock");
        let relay = FakeRelay::start(&prefix, manner);
        let config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            cache_size: 1 << 20,
        };
        let stub = Stub::bind(&config).unwrap();
        let address = stub.local_addrs()[0];
        let parent = Parent::new(Address::Unix(prefix), link::DEFAULT_PORT);
        let nameserver: SocketAddr = NAMESERVER.parse().unwrap();
        let (nameservers, following) = watch::channel(Arc::from([nameserver]));
        let (is_ready, ready) = watch::channel(false);
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(stub.run(parent, following, is_ready, async {
            let _ = stopped.await;
        }));
        Self {
            relay,
            stub: address,
            nameservers,
            ready,
            stop: Some(stop),
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
async fn queries_pipelined_on_one_connection_are_answered_even_after_its_half_close() {
    let lab = Lab::start(Manner::AnswersAfter(Duration::from_millis(20)));
    let mut stream = TcpStream::connect(lab.stub).await.unwrap();
    for id in 0..300 {
        let name = format!("host-{id}.example.com.");
        frame::write(&mut stream, &query(id, &name)).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let mut left: Vec<bool> = vec![true; 300];
    let mut message = Vec::new();
    while timeout(CLIENT_TIMEOUT, frame::read(&mut stream, &mut message))
        .await
        .unwrap()
        .unwrap()
        .is_some()
    {
        let reply = Message::from_vec(&message).unwrap();
        assert_right(&reply);
        assert!(
            std::mem::take(&mut left[usize::from(reply.id)]),
            "answered twice"
        );
    }
    assert!(!left.contains(&true));
}

/// The promise: each client gets a right answer to its first packet.
#[tokio::test]
async fn the_link_cut_fifty_times_at_random_bytes_costs_no_client_its_answer() {
    let lab = Lab::start(Manner::CutsAtRandom { cuts: 50, seed: 7 });
    let mut clients = JoinSet::new();
    let mut next: u16 = 0;
    while lab.relay.cuts_left() > 0 || !clients.is_empty() {
        while lab.relay.cuts_left() > 0 && clients.len() < 100 {
            let stub = lab.stub;
            let id = next;
            clients.spawn(async move { ask_udp(stub, id, &format!("n{id}.example.com.")).await });
            next += 1;
        }
        if let Some(reply) = clients.join_next().await {
            assert_right(&reply.unwrap());
        }
    }
    assert!(next >= 100);
}

#[tokio::test]
async fn names_resolve_once_a_late_relay_is_there() {
    let mut lab = Lab::start(Manner::IsAway);
    let waits = tokio::spawn(ask_udp(lab.stub, 1, "ssm.us-east-1.amazonaws.com."));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!*lab.ready.borrow());
    lab.relay.set(Manner::Answers);
    assert_right(&waits.await.unwrap());
    timeout(CLIENT_TIMEOUT, lab.ready.wait_for(|ready| *ready))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_lookup_that_nobody_answers_fails_before_its_client_gives_up() {
    let lab = Lab::start(Manner::IsSilent);
    let reply = lab.ask(1, "logs.us-east-1.amazonaws.com.").await;
    assert_eq!(reply.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_connection_that_went_silent_is_replaced() {
    let lab = Lab::start(Manner::IsSilentOnce);
    assert_right(&lab.ask(1, "sns.us-east-1.amazonaws.com.").await);
}

#[tokio::test]
async fn nameservers_change_under_load_without_a_failed_lookup() {
    let lab = Lab::start(Manner::AnswersAfter(Duration::from_millis(5)));
    for round in 0..20u16 {
        let mut clients = JoinSet::new();
        for client in 0..50 {
            let (stub, id) = (lab.stub, round * 50 + client);
            clients.spawn(async move { ask_udp(stub, id, &format!("n{id}.example.com.")).await });
        }
        let nameserver = SocketAddr::from(([10, 0, 0, 3 + u8::try_from(round).unwrap()], 53));
        lab.nameservers.send_replace(Arc::from([nameserver]));
        while let Some(reply) = clients.join_next().await {
            assert_right(&reply.unwrap());
        }
        // A cached name is asked for again, at the new nameserver, and not flushed before.
        assert_right(&lab.ask(9, "n0.example.com.").await);
        assert_eq!(lab.relay.last_nameserver(), Some(nameserver));
    }
}

#[tokio::test]
async fn one_connection_too_many_closes_the_one_that_was_silent_longest() {
    let lab = Lab::start(Manner::Answers);
    let mut streams = Vec::new();
    for _ in 0..crate::tcp::MAX_CONNECTIONS {
        streams.push(TcpStream::connect(lab.stub).await.unwrap());
    }
    // The first speaks, so the second has been silent longest.
    let mut message = Vec::new();
    for stream in [&mut streams[0]] {
        frame::write(stream, &query(1, "a.example.com."))
            .await
            .unwrap();
        frame::read(stream, &mut message).await.unwrap().unwrap();
    }
    let mut extra = TcpStream::connect(lab.stub).await.unwrap();
    frame::write(&mut extra, &query(2, "a.example.com."))
        .await
        .unwrap();
    frame::read(&mut extra, &mut message)
        .await
        .unwrap()
        .unwrap();
    let closed = timeout(CLIENT_TIMEOUT, frame::read(&mut streams[1], &mut message));
    assert_eq!(closed.await.unwrap().unwrap(), None);
    frame::write(&mut streams[0], &query(3, "a.example.com."))
        .await
        .unwrap();
    frame::read(&mut streams[0], &mut message)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config {
        listen: vec![address],
        cache_size: 1 << 20,
    };
    let error = Stub::bind(&config).err().unwrap();
    assert!(matches!(error, BindError::InUse { address: named } if named == address));
}

#[tokio::test]
async fn shutdown_releases_the_port() {
    let mut lab = Lab::start(Manner::Answers);
    assert_right(&lab.ask(1, "a.example.com.").await);
    lab.stop.take().unwrap().send(()).unwrap();
    let released = async {
        while UdpSocket::bind(lab.stub).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(CLIENT_TIMEOUT, released).await.unwrap();
}
