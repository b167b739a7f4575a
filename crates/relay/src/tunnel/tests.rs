use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::tests::loopback;

#[test]
fn each_failure_has_its_reply() {
    for (errno, reply) in [
        (Errno::ECONNREFUSED, Reply::ConnectionRefused),
        (Errno::EHOSTUNREACH, Reply::HostUnreachable),
        (Errno::EHOSTDOWN, Reply::HostUnreachable),
        (Errno::ENETUNREACH, Reply::NetworkUnreachable),
        (Errno::ENETDOWN, Reply::NetworkUnreachable),
        (Errno::EAFNOSUPPORT, Reply::AddressTypeNotSupported),
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
