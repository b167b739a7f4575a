//! Listed ports, with a relay whose every step the test decides.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use link::socks::server;
use link::{Address, Command, ListenAddress, Listener, Reply, Stream};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

mod lying;

const PORT: u32 = 8888;

/// Longer than anything here takes, short enough that a hang is seen.
const SOON: Duration = Duration::from_secs(30);

const PARENT: &str = "0.0.0.0:8080";
const CLIENT: &str = "[::ffff:198.51.100.7]:40000";

struct Relay {
    prefix: PathBuf,
    listener: Listener,
    _directory: TempDir,
}

impl Relay {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("relay");
        let listener = Listener::bind(&ListenAddress::Unix(prefix.clone()), PORT).unwrap();
        Self {
            prefix,
            listener,
            _directory: directory,
        }
    }

    /// A port of it that leads to `program`.
    fn publish(&self, listen: &str, program: u16) -> Publisher {
        let publication = Publication {
            parent: listen.parse().unwrap(),
            program,
        };
        Publisher::start(Config {
            parent: Parent::new(Address::Unix(self.prefix.clone()), PORT),
            ports: Ports::List(vec![publication]),
        })
        .unwrap()
    }

    /// The next BIND, not answered yet.
    async fn asked(&self) -> Stream {
        self.asked_for(PARENT).await
    }

    async fn asked_for(&self, listen: &str) -> Stream {
        let (mut stream, _) = timeout(SOON, self.listener.accept())
            .await
            .unwrap()
            .unwrap();
        let command = server::read_request(&mut stream).await.unwrap();
        assert_eq!(command, Command::Bind(listen.parse().unwrap()));
        stream
    }

    /// The next BIND, granted.
    async fn waiting(&self) -> Stream {
        let mut stream = self.asked().await;
        reply(&mut stream, PARENT).await;
        stream
    }

    async fn pool<const N: usize>(&self) -> [Stream; N] {
        let mut streams = Vec::new();
        for _ in 0..N {
            streams.push(self.waiting().await);
        }
        streams.try_into().unwrap()
    }
}

async fn reply(stream: &mut Stream, address: &str) {
    let address = address.parse().unwrap();
    server::write_reply(stream, Reply::Succeeded, address)
        .await
        .unwrap();
}

async fn program() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn read_all(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(SOON, stream.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    bytes
}

#[tokio::test]
async fn a_connection_reaches_the_program_and_each_end_ends_on_its_own() {
    let relay = Relay::start();
    let (listener, port) = program().await;
    let publisher = relay.publish(PARENT, port);
    let activity = publisher.activity();
    let mut stream = relay.waiting().await;
    assert_eq!((activity.open(), activity.total()), (0, 0));
    reply(&mut stream, CLIENT).await;
    stream.write_all(b"question").await.unwrap();
    stream.shutdown().await.unwrap();
    let (mut accepted, from) = listener.accept().await.unwrap();
    assert!(from.ip().is_loopback());
    let mut question = String::new();
    accepted.read_to_string(&mut question).await.unwrap();
    assert_eq!(question, "question");
    let [(publication, true)] = activity.ports()[..] else {
        panic!("{:?}", activity.ports())
    };
    assert_eq!(publication.program, port);
    assert_eq!((activity.open(), activity.total()), (1, 1));
    accepted.write_all(b"answer").await.unwrap();
    drop(accepted);
    assert_eq!(read_all(&mut stream).await, b"answer");
    publisher.end().await;
    assert_eq!((activity.open(), activity.total()), (0, 1));
    assert_eq!(activity.ports(), []);
}

#[tokio::test]
async fn four_wait_when_the_first_is_granted_and_more_when_all_are_taken() {
    let relay = Relay::start();
    let (_listener, port) = program().await;
    let _publisher = relay.publish(PARENT, port);
    let mut first = relay.asked().await;
    // Nothing else is asked before the answer.
    let more = timeout(Duration::from_millis(100), relay.listener.accept()).await;
    assert!(more.is_err());
    reply(&mut first, PARENT).await;
    let mut others = relay.pool::<3>().await;
    // One that is taken is asked for again.
    reply(&mut others[0], CLIENT).await;
    let again = relay.waiting().await;
    let more = timeout(Duration::from_millis(100), relay.listener.accept()).await;
    assert!(more.is_err());
    // All are taken before one is asked for again.
    let [_, second, third] = others;
    for mut stream in [first, second, third, again] {
        reply(&mut stream, CLIENT).await;
    }
    relay.pool::<8>().await;
}

#[tokio::test]
async fn a_wait_that_the_parent_ends_is_asked_for_again() {
    let relay = Relay::start();
    let (_listener, port) = program().await;
    let _publisher = relay.publish(PARENT, port);
    for _ in 0..3 {
        let pool = relay.pool::<4>().await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        drop(pool);
    }
}

#[tokio::test]
async fn a_grant_that_is_taken_back_at_once_is_none() {
    let relay = Relay::start();
    let (_listener, port) = program().await;
    let _publisher = relay.publish(PARENT, port);
    for _ in 0..2 {
        drop(relay.waiting().await);
    }
    let _asked = relay.asked().await;
    let more = timeout(Duration::from_millis(100), relay.listener.accept()).await;
    assert!(more.is_err(), "one asks, until a grant holds");
}

#[tokio::test]
async fn a_program_that_does_not_listen_closes_the_clients_connection() {
    let relay = Relay::start();
    let (listener, port) = program().await;
    drop(listener);
    let _publisher = relay.publish(PARENT, port);
    let mut stream = relay.waiting().await;
    reply(&mut stream, CLIENT).await;
    assert!(read_all(&mut stream).await.is_empty());
    // The port stays published: the program may listen later.
    let mut stream = relay.waiting().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap();
    reply(&mut stream, CLIENT).await;
    timeout(SOON, listener.accept()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_relay_that_comes_back_is_asked_again() {
    let relay = Relay::start();
    let (listener, port) = program().await;
    let _publisher = relay.publish(PARENT, port);
    let pool = relay.pool::<4>().await;
    let Relay {
        prefix,
        listener: old,
        _directory,
    } = relay;
    drop((old, pool));
    let address = ListenAddress::Unix(prefix.clone());
    let relay = Relay {
        listener: Listener::bind(&address, PORT).unwrap(),
        prefix,
        _directory,
    };
    let [mut stream, ..] = relay.pool::<4>().await;
    reply(&mut stream, CLIENT).await;
    timeout(SOON, listener.accept()).await.unwrap().unwrap();
}

/// It takes no notice of the address, and would open the port to all.
#[tokio::test]
async fn an_old_parent_does_not_get_to_open_a_port_to_all_that_was_meant_for_one_address() {
    let relay = Relay::start();
    let (_listener, port) = program().await;
    let _publisher = relay.publish("127.0.0.1:8080", port);
    let mut stream = relay.asked_for("127.0.0.1:8080").await;
    reply(&mut stream, PARENT).await;
    assert!(read_all(&mut stream).await.is_empty());
    let mut stream = relay.asked_for("127.0.0.1:8080").await;
    reply(&mut stream, "127.0.0.1:8080").await;
    relay.asked_for("127.0.0.1:8080").await;
}

#[tokio::test]
async fn at_the_end_the_last_bytes_are_carried() {
    let relay = Relay::start();
    let (listener, port) = program().await;
    let publisher = relay.publish(PARENT, port);
    let mut stream = relay.waiting().await;
    reply(&mut stream, CLIENT).await;
    let (mut accepted, _) = listener.accept().await.unwrap();
    stream.write_all(b"last").await.unwrap();
    let receive = async {
        let mut last = [0; 4];
        accepted.read_exact(&mut last).await.unwrap();
        accepted.write_all(&last).await.unwrap();
        drop(accepted);
        let bytes = read_all(&mut stream).await;
        drop(stream);
        bytes
    };
    let ((), bytes) = tokio::join!(publisher.end(), receive);
    assert_eq!(bytes, b"last");
}
