use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::socks::server;
use crate::{ListenAddress, Listener, Peer};

const PORT: u32 = 8888;

struct Link {
    parent: Parent,
    listener: Listener,
    _directory: tempfile::TempDir,
}

fn unix() -> Link {
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("parent");
    let listener = Listener::bind(&ListenAddress::Unix(prefix.clone()), PORT).unwrap();
    let parent = Parent::new(Address::Unix(prefix), PORT);
    Link {
        parent,
        listener,
        _directory: directory,
    }
}

#[tokio::test]
async fn a_granted_request_gives_a_stream_with_half_close() {
    let link = unix();
    let nameserver = "10.0.0.2:53".parse().unwrap();
    let bound = "10.0.0.9:4000".parse().unwrap();
    let relay = async {
        let (mut stream, peer) = link.listener.accept().await.unwrap();
        assert_eq!(peer, Peer::Unix(std::process::id()));
        let command = server::read_request(&mut stream).await.unwrap();
        assert_eq!(command, Command::Dns(nameserver));
        server::write_reply(&mut stream, Reply::Succeeded, bound)
            .await
            .unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        stream.write_all(b"after the half-close").await.unwrap();
        received
    };
    let enclave = async {
        let mut accepted = link.parent.request(Command::Dns(nameserver)).await.unwrap();
        assert_eq!(accepted.bound, bound);
        accepted.stream.write_all(b"to the relay").await.unwrap();
        accepted.stream.shutdown().await.unwrap();
        let mut received = Vec::new();
        accepted.stream.read_to_end(&mut received).await.unwrap();
        // The peer has gone: closing again is no failure.
        accepted.stream.shutdown().await.unwrap();
        received
    };
    let (at_relay, at_enclave) = tokio::join!(relay, enclave);
    assert_eq!(at_relay, b"to the relay");
    assert_eq!(at_enclave, b"after the half-close");
}

#[tokio::test]
async fn the_same_over_tcp_on_loopback() {
    let ip = "127.0.0.1".parse().unwrap();
    let listener = Listener::bind(&ListenAddress::Tcp(ip), 0).unwrap();
    let port = listener
        .to_string()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let parent = Parent::new(Address::Tcp(ip), port);
    assert_eq!(parent.to_string(), listener.to_string());
    let relay = async {
        let (mut stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, Peer::Tcp(ip));
        server::read_request(&mut stream).await.unwrap();
        server::write_refusal(&mut stream, Reply::NotAllowed)
            .await
            .unwrap();
    };
    let command = Command::Connect("169.254.169.254:80".parse().unwrap());
    let (result, ()) = tokio::join!(parent.request(command), relay);
    let error = result.unwrap_err();
    assert!(matches!(
        error,
        RequestError::Refused {
            reply: Reply::NotAllowed,
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("CONNECT 169.254.169.254:80: not allowed"),
        "{text}"
    );
}

#[tokio::test]
async fn a_parent_that_closes_without_a_reply_is_named() {
    let link = unix();
    let relay = async { drop(link.listener.accept().await.unwrap()) };
    let (result, ()) = tokio::join!(link.parent.request(Command::ResolvConf), relay);
    assert!(
        matches!(result, Err(RequestError::Closed { .. })),
        "{result:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_parent_is_given_up_after_the_handshake_time() {
    assert_eq!(HANDSHAKE, Duration::from_secs(10));
    let link = unix();
    let started = tokio::time::Instant::now();
    let result = link.parent.request(Command::ResolvConf).await;
    assert!(
        matches!(result, Err(RequestError::TimedOut { .. })),
        "{result:?}"
    );
    assert!(started.elapsed() >= HANDSHAKE);
}

#[tokio::test]
async fn no_relay_is_an_error_that_says_where_and_what_to_try() {
    let parent = Parent::new("unix:/nowhere/parent".parse().unwrap(), PORT);
    let error = parent
        .request(Command::ResolvConf)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("unix:/nowhere/parent_8888"), "{error}");
    assert!(error.contains("is proxify-relay running"), "{error}");
}

#[tokio::test]
async fn tcp_beyond_loopback_must_be_asked_for() {
    let parent = Parent::new("tcp:192.0.2.1".parse().unwrap(), PORT);
    let error = parent
        .request(Command::ResolvConf)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("192.0.2.1 is not loopback"), "{error}");
    let parent = Parent::new("tcp:127.0.0.1".parse().unwrap(), 70_000);
    let error = parent
        .request(Command::ResolvConf)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("70000 is not a TCP port"), "{error}");
}
