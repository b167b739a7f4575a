//! Published ports over real sockets.

use std::net::Ipv6Addr;

use link::{Accepted, Command, ExchangeError, Parent, RequestError};
use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::AsRawFd;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::tests::{Enclave, Log, Running, limited, loopback, reply_of};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

/// A BIND that waits, and the port it got.
async fn bind(parent: &Parent, port: u16) -> (Accepted, u16) {
    let command = Command::Bind(SocketAddr::new(LOCALHOST, port));
    let accepted = parent.request(command).await.unwrap();
    let port = accepted.bound.port();
    (accepted, port)
}

async fn client(port: u16) -> TcpStream {
    TcpStream::connect((LOCALHOST, port)).await.unwrap()
}

async fn accept(waiting: &mut Accepted) -> Result<SocketAddr, ExchangeError> {
    timeout(SOON, waiting.accept_peer()).await.unwrap()
}

/// Until `done`, which changes in another task.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    let loops = async {
        while !done().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, loops).await.unwrap();
}

/// All that comes, a reset being an end too.
async fn read_all(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

async fn is_reset(mut stream: TcpStream) -> bool {
    let read = timeout(SOON, stream.read(&mut [0])).await.unwrap();
    read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// What the old `proxify` sends, and the fixed sizes that it reads.
#[tokio::test]
async fn an_old_enclave_is_served_byte_for_byte() {
    let relay = Running::start(loopback());
    let request = |port: u16| {
        let [high, low] = port.to_be_bytes();
        [5, 1, 0, 5, 2, 0, 1, 0, 0, 0, 0, high, low]
    };
    let mut port = 0;
    for from in [LOCALHOST, Ipv6Addr::LOCALHOST.into()] {
        for cut in 0..=request(0).len() {
            let mut enclave = relay.dial().await;
            let request = request(port);
            let (head, tail) = request.split_at(cut);
            enclave.write_all(head).await.unwrap();
            tokio::task::yield_now().await;
            enclave.write_all(tail).await.unwrap();
            let mut first = [0; 12];
            enclave.read_exact(&mut first).await.unwrap();
            assert_eq!(first[..10], [5, 0, 5, 0, 0, 1, 0, 0, 0, 0]);
            port = u16::from_be_bytes([first[10], first[11]]);

            let mut client = TcpStream::connect((from, port)).await.unwrap();
            let mut second = [0; 22];
            enclave.read_exact(&mut second).await.unwrap();
            assert_eq!(second[..4], [5, 0, 0, 4]);
            let address: [u8; 16] = second[4..20].try_into().unwrap();
            assert_eq!(Ipv6Addr::from(address).to_canonical(), from);
            let own = client.local_addr().unwrap().port();
            assert_eq!(second[20..], own.to_be_bytes());

            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(read_all(&mut enclave).await, b"question");
            enclave.write_all(b"answer after the end").await.unwrap();
            drop(enclave);
            assert_eq!(read_all(client).await, b"answer after the end");
        }
    }
}

#[tokio::test]
async fn a_connection_is_told_with_its_client_and_carried() {
    let (log, _guard) = Log::capture();
    let relay = Running::start(loopback());
    for local in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0", "[::1]:0"] {
        let local: SocketAddr = local.parse().unwrap();
        let mut waiting = relay.parent.request(Command::Bind(local)).await.unwrap();
        assert_eq!(waiting.bound.ip(), local.ip());
        let to = match local {
            SocketAddr::V4(_) => LOCALHOST,
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let mut client = TcpStream::connect((to, waiting.bound.port()))
            .await
            .unwrap();
        let from = accept(&mut waiting).await.unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        waiting.stream.write_all(b"from the enclave").await.unwrap();
        waiting.stream.shutdown().await.unwrap();
        assert_eq!(read_all(&mut client).await, b"from the enclave");
        client.write_all(b"to the enclave").await.unwrap();
        drop(client);
        assert_eq!(read_all(waiting.stream).await, b"to the enclave");
    }
    let lines = log.lines("connection what=from");
    assert!(
        !lines.is_empty() && lines[0].contains("127.0.0.1:"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn more_clients_than_waiting_binds_are_served_as_these_come() {
    let relay = Running::start(loopback());
    let (first, port) = bind(&relay.parent, 0).await;
    let mut clients: Vec<_> = Vec::new();
    for number in 0..50 {
        let mut client = client(port).await;
        client.write_u8(number).await.unwrap();
        clients.push(client);
    }
    let mut seen = Vec::new();
    let mut waiting = first;
    for _ in 0..50 {
        accept(&mut waiting).await.unwrap();
        seen.push(waiting.stream.read_u8().await.unwrap());
        waiting = bind(&relay.parent, port).await.0;
    }
    assert_eq!(seen, (0..50).collect::<Vec<u8>>());
}

#[tokio::test]
async fn a_bind_whose_enclave_has_gone_gets_no_connection() {
    let relay = Running::start(loopback());
    let (mut oldest, port) = bind(&relay.parent, 0).await;
    // Each is asked last, and would be served first.
    for _ in 0..20 {
        drop(bind(&relay.parent, port).await);
        let client = client(port).await;
        let from = accept(&mut oldest).await.unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        oldest = bind(&relay.parent, port).await.0;
    }
}

/// The reply cannot be written, and no end of file came before.
#[tokio::test]
async fn a_connection_that_cannot_be_handed_over_goes_to_the_next() {
    let relay = Running::start(loopback());
    let (mut next, port) = bind(&relay.parent, 0).await;
    let (deaf, _) = bind(&relay.parent, port).await;
    let link::Stream::Unix(stream) = &deaf.stream else {
        panic!("the relay is on a unix socket");
    };
    shutdown(stream.as_raw_fd(), Shutdown::Read).unwrap();
    let client = client(port).await;
    let from = accept(&mut next).await.unwrap();
    assert_eq!(from, client.local_addr().unwrap());
}

#[tokio::test]
async fn a_port_belongs_to_one_enclave_at_a_time() {
    let (log, _guard) = Log::capture();
    let [owner, other] = Enclave::at_one_relay(loopback(), [1, 2]);
    let free = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let ask = |ip| Command::Bind(SocketAddr::new(ip, port));
    let mut waiting = owner.request(ask(LOCALHOST)).await.unwrap();
    for ip in [
        LOCALHOST,
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv6Addr::UNSPECIFIED.into(),
    ] {
        let refused = other.request(ask(ip)).await;
        assert!(
            matches!(refused, Err(ExchangeError::Refused(Reply::NotAllowed))),
            "{refused:?}"
        );
    }
    let mut lines = Vec::new();
    until(async || {
        lines = log.lines("is taken by tcp:127.0.0.1");
        !lines.is_empty()
    })
    .await;
    assert!(
        lines.len() == 1 && lines[0].contains("tcp:127.0.0.2"),
        "{lines:?}"
    );

    // Nobody waits, and it is still the owner's, who has a connection.
    let taken = client(port).await;
    let next = client(port).await;
    server_side(&mut waiting, &taken).await;
    let since = tokio::time::Instant::now();
    while since.elapsed() < 2 * ports::GONE {
        assert!(other.request(ask(LOCALHOST)).await.is_err());
    }

    // The owner has gone, with a client waiting for it: the other gets the port, not the client.
    drop((waiting, taken));
    let mut got = None;
    until(async || {
        got = other.request(ask(LOCALHOST)).await.ok();
        got.is_some()
    })
    .await;
    assert!(is_reset(next).await);
    let new = client(port).await;
    server_side(&mut got.unwrap(), &new).await;
    assert!(owner.request(ask(LOCALHOST)).await.is_err());
}

async fn server_side(waiting: &mut TcpStream, client: &TcpStream) {
    let second = link::socks::client::read_second_reply(waiting);
    let from = timeout(SOON, second).await.unwrap().unwrap();
    assert_eq!(from, client.local_addr().unwrap());
}

#[tokio::test]
async fn a_port_closes_when_nobody_has_waited_for_the_grace() {
    let grace = Duration::from_millis(100);
    let relay = Running::start(limited(|limits| limits.port_grace = grace));
    let (mut waiting, port) = bind(&relay.parent, 0).await;
    let mut taken = client(port).await;
    accept(&mut waiting).await.unwrap();
    let unserved = client(port).await;
    assert!(is_reset(unserved).await);
    until(async || TcpStream::connect((LOCALHOST, port)).await.is_err()).await;
    // What was handed over is not concerned.
    taken.write_all(b"x").await.unwrap();
    assert_eq!(waiting.stream.read_u8().await.unwrap(), b'x');
    // And it may be had again.
    let (mut waiting, _) = bind(&relay.parent, port).await;
    let client = client(port).await;
    assert_eq!(
        accept(&mut waiting).await.unwrap(),
        client.local_addr().unwrap()
    );
}

#[tokio::test]
async fn a_wait_ends_without_a_second_reply_and_the_next_is_served() {
    let wait = Duration::from_millis(50);
    let relay = Running::start(limited(|limits| limits.bind_wait = wait));
    let (mut waiting, port) = bind(&relay.parent, 0).await;
    let over = accept(&mut waiting).await;
    assert!(matches!(over, Err(ExchangeError::Closed)), "{over:?}");
    let _client = client(port).await;
    let (mut waiting, _) = bind(&relay.parent, port).await;
    accept(&mut waiting).await.unwrap();
}

#[tokio::test]
async fn crowds_of_clients_and_binds_that_come_and_go_lose_no_connection() {
    const CLIENTS: usize = 300;
    let relay = Running::start(limited(|limits| {
        limits.bind_wait = Duration::from_millis(20);
    }));
    let (first, port) = bind(&relay.parent, 0).await;
    let mut served = JoinSet::new();
    for _ in 0..8 {
        let parent = relay.parent.clone();
        served.spawn(async move {
            loop {
                let (mut waiting, _) = bind(&parent, port).await;
                if waiting.accept_peer().await.is_err() {
                    continue;
                }
                let mut stream = waiting.stream;
                let byte = stream.read_u8().await.unwrap();
                stream.write_u8(byte).await.unwrap();
            }
        });
    }
    drop(first);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(async move {
            let mut client = client(port).await;
            let byte = u8::try_from(number % 256).unwrap();
            client.write_u8(byte).await.unwrap();
            assert_eq!(read_all(client).await, [byte]);
        });
    }
    timeout(SOON, clients.join_all()).await.unwrap();
    served.abort_all();
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_refused_with_its_cause() {
    let (log, _guard) = Log::capture();
    let taken = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let address = taken.local_addr().unwrap();
    for (listen, reply, line) in [
        (address, Reply::GeneralFailure, "a program of the parent's"),
        (
            "192.0.2.1:80".parse().unwrap(),
            Reply::HostUnreachable,
            "not an address of the parent",
        ),
    ] {
        let relay = Running::start(loopback());
        let refused = relay.parent.request(Command::Bind(listen)).await;
        assert_eq!(reply_of(refused), reply);
        until(async || log.lines(line).len() == 1).await;
    }
}

/// Whatever it asks for, it gets a listener of the parent's or a refusal, and then one line.
#[tokio::test]
async fn hostile_addresses_and_ports_are_granted_or_refused_and_never_both() {
    for address in [
        "0.0.0.0:0",
        "[::]:0",
        "[::ffff:127.0.0.1]:0",
        "[::ffff:0.0.0.0]:0",
        "0.0.0.1:0",
        "224.0.0.1:0",
        "255.255.255.255:0",
        "240.0.0.1:65535",
        "[ff02::1]:0",
        "[fe80::1]:0",
        "[2001:db8::1]:1",
        "192.0.2.1:65535",
    ] {
        let (log, _guard) = Log::capture();
        let relay = Running::start(loopback());
        let asked: SocketAddr = address.parse().unwrap();
        match relay.parent.request(Command::Bind(asked)).await {
            Ok(granted) => {
                assert!(granted.bound.is_ipv4() || asked.is_ipv6(), "{address}");
                assert_ne!(granted.bound.port(), 0, "{address}");
                assert!(log.lines("port not opened").is_empty(), "{address}");
            }
            Err(RequestError::Refused { reply, .. }) => {
                let codes = [Reply::GeneralFailure, Reply::HostUnreachable];
                assert!(codes.contains(&reply), "{address}: {reply}");
                until(async || log.lines("port not opened").len() == 1).await;
            }
            Err(other) => panic!("{address}: {other}"),
        }
    }
}

#[test]
fn a_privileged_port_says_what_is_missing() {
    let denied = nix::errno::Errno::EACCES;
    let address = "[::]:443".parse().unwrap();
    let error = listener::ListenError::new(address, denied.into());
    assert!(
        error.to_string().contains("CAP_NET_BIND_SERVICE"),
        "{error}"
    );
}

#[tokio::test]
async fn the_operator_limits_where_ports_are_opened() {
    let _log = Log::capture();
    let only = crate::Config {
        bind_to: "127.0.0.1".parse().unwrap(),
        ..loopback()
    };
    let relay = Running::start(only);
    let any = Command::Bind("[::]:0".parse().unwrap());
    let waiting = relay.parent.request(any).await.unwrap();
    assert_eq!(waiting.bound.ip(), LOCALHOST);
    let elsewhere = Command::Bind("127.0.0.2:0".parse().unwrap());
    assert_eq!(
        reply_of(relay.parent.request(elsewhere).await),
        Reply::NotAllowed
    );
    let none = crate::Config {
        bind_to: "none".parse().unwrap(),
        ..loopback()
    };
    let relay = Running::start(none);
    assert_eq!(reply_of(relay.parent.request(any).await), Reply::NotAllowed);
    assert!("eth0".parse::<BindTo>().is_err());
}

#[tokio::test]
async fn an_enclave_gets_64_ports_and_128_waits_on_each() {
    let (log, _guard) = Log::capture();
    let relay = Running::start(loopback());
    let mut held = Vec::new();
    let (first, port) = bind(&relay.parent, 0).await;
    for _ in 1..128 {
        held.push(bind(&relay.parent, port).await);
    }
    let ask = |port| {
        relay
            .parent
            .request(Command::Bind(SocketAddr::new(LOCALHOST, port)))
    };
    assert_eq!(reply_of(ask(port).await), Reply::GeneralFailure);
    until(async || log.lines("128 wait on the port already").len() == 1).await;
    drop(first);
    until(async || match ask(port).await {
        Ok(accepted) => {
            held.push((accepted, port));
            true
        }
        Err(_) => false,
    })
    .await;
    for _ in 1..64 {
        held.push(bind(&relay.parent, 0).await);
    }
    assert_eq!(reply_of(ask(0).await), Reply::GeneralFailure);
}

#[tokio::test]
async fn bytes_before_a_connection_end_the_wait() {
    let (log, _guard) = Log::capture();
    let relay = Running::start(loopback());
    let (mut waiting, _) = bind(&relay.parent, 0).await;
    waiting.stream.write_all(b"early").await.unwrap();
    assert!(accept(&mut waiting).await.is_err());
    assert_eq!(log.lines("bytes came before").len(), 1);
}

#[tokio::test]
async fn a_relay_that_stops_closes_its_ports_and_ends_the_waits() {
    let mut relay = Running::start(loopback());
    let (mut waiting, port) = bind(&relay.parent, 0).await;
    relay.stop();
    assert!(matches!(
        accept(&mut waiting).await,
        Err(ExchangeError::Closed)
    ));
    until(async || TcpStream::connect((LOCALHOST, port)).await.is_err()).await;
    assert!(matches!(
        relay.parent.request(Command::ResolvConf).await,
        Err(RequestError::Connect { .. })
    ));
    relay.stopped().await;
}
