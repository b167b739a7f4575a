use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Instant;

use link::{Command, ListenAddress, Listener, Reply};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::tests::{Server, questions};

const TIMEOUT: Duration = Duration::from_millis(400);

fn lookup(name: &str) -> Lookup {
    let mut lookup = Lookup::default();
    questions(&[name], false).fill(0, &mut lookup);
    lookup
}

fn ask(asker: &mut dyn Ask, name: &str) -> Result<Answer, Failure> {
    asker.ask(&lookup(name))
}

const ANSWER: Result<Answer, Failure> = Ok(Answer { is_empty: false });

#[test]
fn udp_takes_the_reply_to_its_own_query() {
    let server = Server::start(usize::MAX);
    let mut udp = open(&Target::StubUdp(server.address), TIMEOUT).unwrap();
    assert_eq!(ask(&mut *udp, "a.example"), ANSWER);
    assert_eq!(ask(&mut *udp, "stale.example"), ANSWER);
    assert_eq!(
        ask(&mut *udp, "empty.example"),
        Ok(Answer { is_empty: true })
    );
    assert_eq!(ask(&mut *udp, "nx.example"), Err(Failure::NxDomain));
    let failed = ask(&mut *udp, "servfail.example").unwrap_err();
    assert_eq!(
        failed,
        Failure::Rcode {
            rcode: 2,
            ede: Some(22)
        }
    );
    let begun = Instant::now();
    assert_eq!(ask(&mut *udp, "silent.example"), Err(Failure::Timeout));
    assert!(begun.elapsed() >= TIMEOUT);
    assert_eq!(ask(&mut *udp, "a.example"), ANSWER, "and goes on");
}

#[test]
fn what_is_truncated_is_asked_for_over_tcp() {
    let server = Server::start(usize::MAX);
    let mut udp = open(&Target::Server(server.address), TIMEOUT).unwrap();
    assert_eq!(ask(&mut *udp, "large.example"), ANSWER);
    assert_eq!(ask(&mut *udp, "large.example"), ANSWER);
    assert_eq!(server.udp.load(Ordering::SeqCst), 2);
    assert_eq!(server.tcp.load(Ordering::SeqCst), 2);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_connection_that_the_server_closed_is_opened_again() {
    let server = Server::start(3);
    let mut tcp = open(&Target::StubTcp(server.address), TIMEOUT).unwrap();
    for _ in 0..7 {
        assert_eq!(ask(&mut *tcp, "a.example"), ANSWER);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
    assert_eq!(ask(&mut *tcp, "silent.example"), Err(Failure::Timeout));
    assert_eq!(ask(&mut *tcp, "nx.example"), Err(Failure::NxDomain));
}

#[test]
fn getaddrinfo_is_that_of_this_machine() {
    let mut libc = open(&Target::Getaddrinfo { is_remote: false }, TIMEOUT).unwrap();
    assert_eq!(ask(&mut *libc, "localhost"), ANSWER);
    let failed = ask(&mut *libc, "no-such-name.invalid").unwrap_err();
    assert!(matches!(failed, Failure::Libc(_)), "{failed:?}");
}

/// A parent that grants DNS and answers as [`Server`] does over TCP, or knows no such command.
fn parent(knows_dns: bool, server: SocketAddr) -> (tempfile::TempDir, link::Parent) {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("link");
    let address: ListenAddress = format!("unix:{}", prefix.display()).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = {
        let _inside = runtime.enter();
        Listener::bind(&address, 8888).unwrap()
    };
    std::thread::spawn(move || {
        runtime.block_on(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let command = link::socks::server::read_request(&mut stream)
                        .await
                        .unwrap();
                    if !knows_dns {
                        return;
                    }
                    assert!(matches!(command, Command::Dns(_)));
                    link::socks::server::write_reply(&mut stream, Reply::Succeeded, server)
                        .await
                        .unwrap();
                    let mut onward = tokio::net::TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
                    let _ = onward.shutdown().await;
                });
            }
        });
    });
    let parent = link::Parent::new(link::Address::Unix(prefix), 8888);
    (dir, parent)
}

#[test]
fn upstream_is_asked_over_the_links_dns_command() {
    let server = Server::start(3);
    let (_dir, parent) = parent(true, server.address);
    let nameserver = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 2), 53));
    let target = Target::Upstream { parent, nameserver };
    let mut upstream = open(&target, TIMEOUT).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut *upstream, "a.example"), ANSWER);
    }
    assert_eq!(ask(&mut *upstream, "a.example"), Err(Failure::Closed));
    let failed = ask(&mut *upstream, "servfail.example").unwrap_err();
    assert_eq!(
        failed,
        Failure::Rcode {
            rcode: 2,
            ede: Some(22)
        }
    );
    assert_eq!(ask(&mut *upstream, "silent.example"), Err(Failure::Timeout));
    assert_eq!(ask(&mut *upstream, "nx.example"), Err(Failure::NxDomain));
}

#[test]
fn an_old_parent_is_told_as_one() {
    let server = Server::start(usize::MAX);
    let (_dir, parent) = parent(false, server.address);
    let target = Target::Upstream {
        parent,
        nameserver: server.address,
    };
    let error = open(&target, TIMEOUT).err().unwrap().to_string();
    assert!(error.contains("runs no proxify-relay"), "{error}");
}
