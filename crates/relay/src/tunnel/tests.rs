use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

use super::*;
use crate::tests::loopback;

const NOWHERE: SocketAddr = link::socks::UNSPECIFIED;

#[test]
fn each_failure_has_its_reply() {
    for (errno, reply) in [
        (Errno::ECONNREFUSED, Reply::ConnectionRefused),
        (Errno::EHOSTUNREACH, Reply::HostUnreachable),
        (Errno::ENETUNREACH, Reply::NetworkUnreachable),
        (Errno::ETIMEDOUT, Reply::TimedOut),
        (Errno::EACCES, Reply::NotAllowed),
        (Errno::EPERM, Reply::NotAllowed),
        (Errno::EMFILE, Reply::GeneralFailure),
    ] {
        assert_eq!(
            ConnectError::System {
                source: errno.into()
            }
            .reply(),
            reply,
            "{errno}"
        );
    }
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = connect(held.local_addr().unwrap(), &Limits::default())
        .await
        .unwrap_err();
    assert_eq!(error.reply(), Reply::ConnectionRefused);
}

#[tokio::test]
async fn a_server_that_does_not_answer_times_out_within_the_limit() {
    let limits = Limits {
        connect: Duration::from_millis(300),
        ..loopback().limits
    };
    // With its queue full, Linux drops a listener's SYNs.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf: TcpListener = socket.listen(1).unwrap();
    let to = deaf.local_addr().unwrap();
    let mut queued = Vec::new();
    let error = loop {
        match connect(to, &limits).await {
            Ok(stream) => queued.push(stream),
            Err(error) => break error,
        }
        assert!(queued.len() < 10, "the queue never fills");
    };
    assert_eq!(error.reply(), Reply::TimedOut);
    assert_eq!(error.to_string(), "no answer within 300ms");
}

#[tokio::test(start_paused = true)]
async fn at_most_64_kib_are_buffered_each_way() {
    let limits = Limits::default();
    let (mut near, stream) = duplex(1);
    let (target, mut far) = duplex(1);
    tokio::spawn(async move { serve(stream, target, NOWHERE, &limits).await });
    near.read_exact(&mut [0; 10]).await.unwrap();
    // Each end's pipe holds one byte; the rest of what is taken is in the relay.
    assert_eq!(taken(&mut near).await, 64 * 1024 + 2);
    assert_eq!(taken(&mut far).await, 64 * 1024 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_carries_nothing_ends_and_one_that_carries_little_does_not() {
    let limits = Limits::default();
    let (mut near, stream) = duplex(64);
    let (target, mut far) = duplex(64);
    let served = tokio::spawn(async move { serve(stream, target, NOWHERE, &limits).await });
    near.read_exact(&mut [0; 10]).await.unwrap();
    // A byte now and then, in either direction alone.
    for _ in 0..3 {
        sleep(IDLE * 9 / 10).await;
        near.write_all(&[0]).await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
    }
    for _ in 0..3 {
        sleep(IDLE * 9 / 10).await;
        far.write_all(&[0]).await.unwrap();
        near.read_exact(&mut [0]).await.unwrap();
    }
    let quiet = Instant::now();
    assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
    assert!((IDLE..=2 * IDLE).contains(&quiet.elapsed()));
    let error = served.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

/// How many bytes the stream takes while nobody reads them.
async fn taken(stream: &mut (impl AsyncWrite + Unpin)) -> usize {
    let mut count = 0;
    while let Ok(written) = timeout(Duration::from_secs(1), stream.write(&[0])).await {
        count += written.unwrap();
    }
    count
}
