use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use link::{Command, Stream};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;
use wire::ede::relay as ede;
use wire::{Message, rcode};

use super::*;
use crate::Limits;
use crate::tests::{Log, Running, limited, loopback, relay, seat};

mod connection;
mod deadlines;
mod pipelined;
mod quota;

/// A query for A of `ec2.test`, with an OPT record (1232 bytes, DO) or without.
pub(crate) fn query(id: u16, opt: bool) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(opt)]);
    bytes.extend_from_slice(b"\x03ec2\x04test\x00\x00\x01\x00\x01");
    if opt {
        bytes.extend_from_slice(&[0, 0, 41, 4, 0xD0, 0, 0, 0x80, 0, 0, 0]);
    }
    bytes
}

/// The nameserver's answer: the query, with QR and these bits set.
fn answer(query: &[u8], bits: u16) -> Vec<u8> {
    let mut bytes = query.to_vec();
    let flags = u16::from_be_bytes([bytes[2], bytes[3]]) | wire::Flags::QR | bits;
    bytes[2..4].copy_from_slice(&flags.to_be_bytes());
    bytes
}

struct Nameserver {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

impl Nameserver {
    async fn bind() -> Self {
        loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = tcp.local_addr().unwrap();
            // The same port over UDP may be another test's.
            if let Ok(udp) = UdpSocket::bind(address).await {
                return Self { udp, tcp, address };
            }
        }
    }

    async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut packet = vec![0; 1500];
        let (length, from) = timeout(SOON, self.udp.recv_from(&mut packet))
            .await
            .unwrap()
            .unwrap();
        packet.truncate(length);
        (packet, from)
    }

    async fn send(&self, bytes: &[u8], to: SocketAddr) {
        self.udp.send_to(bytes, to).await.unwrap();
    }
}

const SOON: Duration = Duration::from_secs(30);

/// An enclave's end of a DNS connection through a relay, and the nameserver behind it.
struct World {
    _relay: Running,
    nameserver: Nameserver,
    frames: frame::Reader<tokio::io::ReadHalf<Stream>>,
    write: tokio::io::WriteHalf<Stream>,
}

impl World {
    async fn new() -> Self {
        Self::with(loopback(), Nameserver::bind().await).await
    }

    async fn with(config: crate::Config, nameserver: Nameserver) -> Self {
        let relay = Running::start(config);
        let accepted = relay
            .parent
            .request(Command::Dns(nameserver.address))
            .await
            .unwrap();
        let (read, write) = tokio::io::split(accepted.stream);
        Self {
            _relay: relay,
            nameserver,
            frames: frame::Reader::new(read),
            write,
        }
    }

    async fn ask(&mut self, id: u16) {
        self.send(&query(id, true)).await;
    }

    async fn send(&mut self, message: &[u8]) {
        frame::write(&mut self.write, message).await.unwrap();
    }

    async fn answered(&mut self) -> Vec<u8> {
        timeout(SOON, self.frames.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .to_vec()
    }

    /// Waits for a SERVFAIL to `id`; gives its EDE.
    async fn failed(&mut self, id: u16) -> (u16, String) {
        servfail(&self.answered().await, id)
    }
}

/// The EDE of a SERVFAIL to `id`.
fn servfail(bytes: &[u8], id: u16) -> (u16, String) {
    let message = Message::parse(bytes).unwrap();
    assert_eq!(message.header.id, id);
    assert_eq!(message.header.flags.rcode(), rcode::SERVFAIL);
    assert!(
        message
            .header
            .flags
            .has(wire::Flags::QR | wire::Flags::RD | wire::Flags::RA)
    );
    assert_eq!(message.question.name, b"\x03ec2\x04test\x00");
    let edns = message.edns.unwrap();
    assert!(edns.dnssec_ok);
    let opt = message.records().next().unwrap();
    let text = String::from_utf8(opt.rdata[6..].to_vec()).unwrap();
    (edns.ede.unwrap(), text)
}

#[tokio::test]
async fn a_query_leaves_as_udp_and_its_answer_comes_back_with_the_enclaves_id() {
    let mut world = World::new().await;
    world.ask(7).await;
    let (packet, from) = world.nameserver.receive().await;
    assert_eq!(packet[2..], query(7, true)[2..]);
    // Records that nobody here knows pass through byte for byte.
    let mut reply = answer(&packet, 0);
    reply[7] = 1;
    reply.extend_from_slice(b"\xC0\x0C\xFF\x00\x00\x01\x00\x00\x00\x3C\x00\x02\xDE\xAD");
    world.nameserver.send(&reply, from).await;
    let received = world.answered().await;
    assert_eq!(received[..2], [0, 7]);
    assert_eq!(received[2..], reply[2..]);
}

#[tokio::test]
async fn each_query_has_a_port_and_an_id_of_its_own() {
    let mut world = World::new().await;
    let (mut ports, mut ids) = (HashSet::new(), HashSet::new());
    let (mut port_steps, mut id_steps) = (HashSet::new(), HashSet::new());
    let mut last = (0u16, 0u16);
    for id in 0..64 {
        world.ask(id).await;
        let (packet, from) = world.nameserver.receive().await;
        let sent = (from.port(), u16::from_be_bytes([packet[0], packet[1]]));
        world.nameserver.send(&answer(&packet, 0), from).await;
        world.answered().await;
        port_steps.insert(sent.0.wrapping_sub(last.0));
        id_steps.insert(sent.1.wrapping_sub(last.1));
        ports.insert(sent.0);
        ids.insert(sent.1);
        last = sent;
    }
    // 64 of some 28,000 ports and 65,536 ids: a few may coincide, no step may prevail.
    for set in [ports, ids, port_steps, id_steps] {
        assert!(set.len() > 48, "{set:?}");
    }
}

#[tokio::test]
async fn over_ipv6_too() {
    let tcp = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let mut world = World::with(loopback(), Nameserver { udp, tcp, address }).await;
    world.ask(1).await;
    let (packet, from) = world.nameserver.receive().await;
    world.nameserver.send(&answer(&packet, 0), from).await;
    assert_eq!(world.answered().await[..2], [0, 1]);
}

#[tokio::test]
async fn what_does_not_match_is_ignored() {
    let mut world = World::new().await;
    world.ask(7).await;
    let (packet, from) = world.nameserver.receive().await;
    let right = answer(&packet, 0x0400);
    let changed = |at: usize, byte: u8| {
        let mut bytes = right.clone();
        bytes[at] ^= byte;
        bytes
    };
    for wrong in [
        changed(0, 1),    // id
        changed(2, 0x80), // a query
        changed(2, 0x08), // another opcode
        changed(13, 1),   // another name
        changed(22, 1),   // another type
        changed(24, 2),   // another class
        changed(5, 1),    // no question, and no failure
        right[..20].to_vec(),
        right[..5].to_vec(),
        Vec::new(),
    ] {
        world.nameserver.send(&wrong, from).await;
    }
    // The right answer from another port than the nameserver's.
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    stranger
        .send_to(&answer(&packet, 0x0080), from)
        .await
        .unwrap();
    // And in another case (RFC 4343), which is the same name.
    world.nameserver.send(&changed(13, 0x20), from).await;
    let received = world.answered().await;
    assert_eq!(received[2..], changed(13, 0x20)[2..]);
}

#[tokio::test]
async fn a_failure_without_a_question_is_an_answer() {
    let mut world = World::new().await;
    world.ask(7).await;
    let (packet, from) = world.nameserver.receive().await;
    let refusal = [&packet[..2], &[0x81, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    world.nameserver.send(&refusal, from).await;
    assert_eq!(world.answered().await[2..], refusal[2..]);
}

#[tokio::test]
async fn answers_go_back_as_they_come() {
    let mut world = World::new().await;
    world.ask(1).await;
    let (first, first_from) = world.nameserver.receive().await;
    world.ask(2).await;
    let (second, second_from) = world.nameserver.receive().await;
    world
        .nameserver
        .send(&answer(&second, 0), second_from)
        .await;
    assert_eq!(world.answered().await[..2], [0, 2]);
    world.nameserver.send(&answer(&first, 0), first_from).await;
    assert_eq!(world.answered().await[..2], [0, 1]);
}

#[tokio::test]
async fn a_lost_query_is_sent_once_more_after_1_s() {
    let mut world = World::new().await;
    let started = Instant::now();
    world.ask(7).await;
    let (first, _) = world.nameserver.receive().await;
    let (second, from) = world.nameserver.receive().await;
    assert!(started.elapsed() >= RESEND);
    assert_eq!(first, second);
    world.nameserver.send(&answer(&second, 0), from).await;
    assert_eq!(world.answered().await[..2], [0, 7]);
}

#[tokio::test]
async fn a_closed_port_is_told_at_once() {
    let mut nameserver = Nameserver::bind().await;
    nameserver.udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut world = World::with(loopback(), nameserver).await;
    let started = Instant::now();
    world.ask(7).await;
    let (code, text) = world.failed(7).await;
    assert!(started.elapsed() < RESEND);
    assert_eq!(code, ede::UNREACHABLE);
    assert_eq!(
        text,
        format!("{}: connection refused", world.nameserver.address)
    );
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let mut world = World::new().await;
    world.ask(7).await;
    let (packet, from) = world.nameserver.receive().await;
    world
        .nameserver
        .send(&answer(&packet, wire::Flags::TC), from)
        .await;
    let (mut stream, _) = timeout(SOON, world.nameserver.tcp.accept())
        .await
        .unwrap()
        .unwrap();
    let mut over_tcp = Vec::new();
    frame::read(&mut stream, &mut over_tcp)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(over_tcp, packet);
    // A frame that answers something else first.
    frame::write(&mut stream, &answer(&query(1, false), 0))
        .await
        .unwrap();
    let mut whole = answer(&packet, 0);
    whole.resize(60_000, 0xAA);
    frame::write(&mut stream, &whole).await.unwrap();
    let received = world.answered().await;
    assert_eq!(received[..2], [0, 7]);
    assert_eq!(received[2..], whole[2..]);
}

#[tokio::test]
async fn without_tc_there_is_no_tcp() {
    let mut world = World::new().await;
    for bits in [0, 2, 3, 5] {
        world.ask(7).await;
        let (packet, from) = world.nameserver.receive().await;
        world.nameserver.send(&answer(&packet, bits), from).await;
        world.answered().await;
    }
    let connection = timeout(Duration::from_millis(100), world.nameserver.tcp.accept()).await;
    assert!(connection.is_err());
}

#[tokio::test]
async fn when_tcp_fails_the_truncated_answer_is_not_given() {
    let mut world = World::new().await;
    let address = world.nameserver.address;
    // The port is closed over TCP.
    world.nameserver.tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.ask(8).await;
    let (packet, from) = world.nameserver.receive().await;
    world
        .nameserver
        .send(&answer(&packet, wire::Flags::TC), from)
        .await;
    let (code, text) = world.failed(8).await;
    assert_eq!(code, ede::UNREACHABLE);
    assert_eq!(
        text,
        format!("{address}: answer truncated, and over TCP: connection refused")
    );
}
