//! What is answered when, in virtual time.

use super::*;

/// A nameserver on a real socket in virtual time. The paused clock jumps while a runtime has nothing
/// to do, so it must not wait for the socket but ask again and again.
pub(super) struct Polled {
    udp: std::net::UdpSocket,
    pub(super) address: SocketAddr,
}

impl Polled {
    pub(super) fn bind() -> Self {
        let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        udp.set_nonblocking(true).unwrap();
        let address = udp.local_addr().unwrap();
        Self { udp, address }
    }

    pub(super) fn try_receive(&self) -> Option<(Vec<u8>, SocketAddr)> {
        let mut packet = [0; 1500];
        let (length, from) = self.udp.recv_from(&mut packet).ok()?;
        Some((packet[..length].to_vec(), from))
    }

    pub(super) async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        loop {
            if let Some(received) = self.try_receive() {
                return received;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn send(&self, bytes: &[u8], to: SocketAddr) {
        self.udp.send_to(bytes, to).unwrap();
    }
}

/// A connection without a link.
pub(super) fn in_memory(
    pipe: usize,
    nameserver: SocketAddr,
    limits: Limits,
) -> (DuplexStream, tokio::task::JoinHandle<Result<(), DnsError>>) {
    let (near, far) = duplex(pipe);
    let served = tokio::spawn(async move {
        let (relay, _drain) = relay(limits);
        serve(far, nameserver, &seat(&limits), &relay).await
    });
    (near, served)
}

async fn answered(near: &mut DuplexStream) -> Vec<u8> {
    let mut message = Vec::new();
    frame::read(near, &mut message).await.unwrap().unwrap();
    message
}

#[tokio::test(start_paused = true)]
async fn silence_is_told_within_2500_ms() {
    let nameserver = Polled::bind();
    let (mut near, _served) = in_memory(4096, nameserver.address, Limits::default());
    let started = Instant::now();
    frame::write(&mut near, &query(7, true)).await.unwrap();
    let (code, text) = servfail(&answered(&mut near).await, 7);
    assert!(started.elapsed() < ANSWER_WITHIN, "{:?}", started.elapsed());
    assert_eq!(code, ede::NO_ANSWER);
    assert_eq!(
        text,
        format!("{}: no answer within 2.4 s", nameserver.address)
    );
    assert!(nameserver.try_receive().is_some());
    assert!(nameserver.try_receive().is_some(), "sent once more");
    assert!(nameserver.try_receive().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_without_opt_gets_servfail_without_opt() {
    let nameserver = Polled::bind();
    let (mut near, _served) = in_memory(4096, nameserver.address, Limits::default());
    frame::write(&mut near, &query(7, false)).await.unwrap();
    let mut expected = answer(&query(7, false), wire::Flags::RA);
    expected[3] |= rcode::SERVFAIL;
    assert_eq!(answered(&mut near).await, expected);
}

#[tokio::test(start_paused = true)]
async fn silence_over_tcp_keeps_the_same_deadline() {
    let (tcp, nameserver) = loop {
        let nameserver = Polled::bind();
        // The same port over TCP may be another test's.
        if let Ok(tcp) = std::net::TcpListener::bind(nameserver.address) {
            break (tcp, nameserver);
        }
    };
    let (mut near, _served) = in_memory(4096, nameserver.address, Limits::default());
    let started = Instant::now();
    frame::write(&mut near, &query(7, true)).await.unwrap();
    let (packet, from) = nameserver.receive().await;
    nameserver.send(&answer(&packet, wire::Flags::TC), from);
    let (code, text) = servfail(&answered(&mut near).await, 7);
    assert!(started.elapsed() < ANSWER_WITHIN, "{:?}", started.elapsed());
    assert_eq!(code, ede::NO_ANSWER);
    let address = nameserver.address;
    assert_eq!(
        text,
        format!("{address}: answer truncated, and no answer over TCP in time")
    );
    drop(tcp);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_gets_no_socket_gets_servfail_at_once() {
    let nameserver = Polled::bind();
    let limits = Limits {
        dns_sockets: 0,
        ..Limits::default()
    };
    let (mut near, _served) = in_memory(4096, nameserver.address, limits);
    let started = Instant::now();
    frame::write(&mut near, &query(7, true)).await.unwrap();
    let (code, text) = servfail(&answered(&mut near).await, 7);
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(code, ede::UNREACHABLE);
    assert!(text.contains("the relay has too many queries in flight"));
    assert!(nameserver.try_receive().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_free_again_after_an_answer_and_after_a_failure() {
    let nameserver = Polled::bind();
    let limits = Limits {
        dns_sockets: 1,
        ..Limits::default()
    };
    let (mut near, _served) = in_memory(4096, nameserver.address, limits);
    for id in 0..3 {
        frame::write(&mut near, &query(id, true)).await.unwrap();
        let (packet, from) = nameserver.receive().await;
        nameserver.send(&answer(&packet, 0), from);
        assert_eq!(answered(&mut near).await[2..], answer(&packet, 0)[2..]);
    }
    for id in 3..6 {
        frame::write(&mut near, &query(id, true)).await.unwrap();
        let (code, _) = servfail(&answered(&mut near).await, id);
        assert_eq!(code, ede::NO_ANSWER, "it had a socket");
    }
}
