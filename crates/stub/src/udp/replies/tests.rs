use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::SockaddrStorage;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_secs(5);

async fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

fn server(socket: UdpSocket) -> Socket {
    Socket::new(socket.into_std().unwrap()).unwrap()
}

fn peer(port: u16) -> SockaddrStorage {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}

/// Replies of these lengths, each to its peer; the bytes are the reply's number.
fn add(replies: &mut Replies, each: &[(SockaddrStorage, usize)]) {
    replies.clear();
    for ((to, length), number) in each.iter().zip(1..) {
        replies.add(to, |out| {
            out[..*length].fill(number);
            Some(*length)
        });
    }
}

fn runs(replies: &Replies) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut next = replies.run(0, 0);
    while next.count > 0 {
        runs.push((next.first, next.count));
        next = replies.run(next.first + next.count, 0);
    }
    runs
}

#[tokio::test]
async fn what_goes_together_is_to_one_peer_in_a_row_and_of_one_length_but_the_last() {
    let mut replies = Replies::new(&server(socket().await));
    replies.segments = true;
    let (a, b) = (peer(1), peer(2));
    let mut check = |each: &[(SockaddrStorage, usize)], expected: &[(usize, usize)]| {
        add(&mut replies, each);
        assert_eq!(runs(&replies), expected, "{each:?}");
    };
    check(&[], &[]);
    check(&[(a, 60)], &[(0, 1)]);
    check(&[(a, 60), (a, 60), (a, 60)], &[(0, 3)]);
    check(&[(a, 60), (a, 60), (a, 40), (a, 40)], &[(0, 3), (3, 1)]);
    check(&[(a, 40), (a, 60), (a, 60)], &[(0, 1), (1, 2)]);
    check(&[(a, 60), (b, 60), (a, 60)], &[(0, 1), (1, 1), (2, 1)]);
    check(&[(a, 60), (a, 60), (b, 60), (b, 60)], &[(0, 2), (2, 2)]);
    // The largest replies: one more would not fit.
    check(&[(a, 4096); 32], &[(0, 15), (15, 15), (30, 2)]);
    replies.segments = false;
    add(&mut replies, &[(a, 60), (a, 60)]);
    assert_eq!(runs(&replies), [(0, 1), (1, 1)]);
}

#[tokio::test]
async fn a_query_without_a_reply_leaves_no_gap() {
    let mut replies = Replies::new(&server(socket().await));
    replies.segments = true;
    let a = peer(1);
    replies.add(&a, |out| {
        out[..2].fill(1);
        Some(2)
    });
    replies.add(&a, |out| {
        out.fill(9);
        None
    });
    replies.add(&a, |_| Some(0));
    replies.add(&a, |out| {
        out[..2].fill(2);
        Some(2)
    });
    assert_eq!(runs(&replies), [(0, 2)]);
    assert_eq!(replies.bytes[..4], [1, 1, 2, 2]);
}

/// What `clients` get, a datagram each, within [`SOON`] for as many as are expected.
async fn received(client: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut buffer = vec![0; 8192];
        let length = timeout(SOON, client.recv(&mut buffer)).await.unwrap();
        buffer.truncate(length.unwrap());
        all.push(buffer);
    }
    assert!(client.try_recv(&mut [0; 8192]).is_err(), "one too many");
    all
}

/// Sends a batch of all sorts to two clients, and compares what they get.
async fn sends_all(server: &Socket, clients: [&UdpSocket; 2], replies: &mut Replies) {
    let [a, b] = clients.map(|client| SockaddrStorage::from(client.local_addr().unwrap()));
    let to_a = [60, 60, 60, 40, 500, 500, 60, 30, 4096, 4096];
    let mut each: Vec<_> = to_a.map(|length| (a, length)).into();
    each.splice(2..2, [(b, 60), (b, 60), (b, 60)]);
    each.extend([(b, 60), (a, 7), (b, 60), (b, 20)]);
    add(replies, &each);
    timeout(SOON, replies.send(server)).await.unwrap();
    for (client, address) in clients.into_iter().zip([a, b]) {
        let numbered = each.iter().zip(1..).filter(|((to, _), _)| *to == address);
        let expected: Vec<Vec<u8>> = numbered
            .map(|((_, length), number)| vec![number; *length])
            .collect();
        assert_eq!(received(client, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn each_client_gets_each_reply_as_a_datagram_in_order() {
    for ip in [
        Ipv4Addr::LOCALHOST.to_string(),
        Ipv6Addr::LOCALHOST.to_string(),
    ] {
        let bind = async || UdpSocket::bind((ip.as_str(), 0)).await.unwrap();
        let (server, a, b) = (server(bind().await), bind().await, bind().await);
        let mut replies = Replies::new(&server);
        let known = replies.segments;
        sends_all(&server, [&a, &b], &mut replies).await;
        assert_eq!(replies.segments, known, "it was refused");
        replies.segments = false;
        sends_all(&server, [&a, &b], &mut replies).await;
    }
}

/// A socket without checksums cannot have its packets taken apart: EINVAL, as on a device that cannot.
#[tokio::test]
async fn replies_that_are_refused_as_one_packet_go_one_by_one() {
    let (server, a, b) = (server(socket().await), socket().await, socket().await);
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, and lives as long as the call.
    #[allow(unsafe_code)]
    let set = unsafe {
        libc::setsockopt(
            server.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            std::ptr::from_ref(&on).cast(),
            libc::socklen_t::try_from(size_of_val(&on)).unwrap(),
        )
    };
    assert_eq!(set, 0);
    let mut replies = Replies::new(&server);
    replies.segments = true;
    sends_all(&server, [&a, &b], &mut replies).await;
    assert!(!replies.segments, "it is tried again for ever");
    sends_all(&server, [&a, &b], &mut replies).await;
}

#[tokio::test]
async fn a_reply_that_cannot_go_does_not_keep_the_others() {
    let (server, client) = (server(socket().await), socket().await);
    let mut replies = Replies::new(&server);
    let a = SockaddrStorage::from(client.local_addr().unwrap());
    // Port 0 is nobody's: EINVAL.
    add(
        &mut replies,
        &[(peer(0), 60), (a, 60), (peer(0), 9), (peer(0), 9), (a, 60)],
    );
    timeout(SOON, replies.send(&server)).await.unwrap();
    assert_eq!(received(&client, 2).await, [[2; 60], [5; 60]]);
}
