//! Queries that are more than may go out in a second.

use super::deadlines::{Polled, in_memory};
use super::*;
use crate::tests::Enclave;

/// Answers over UDP as queries come, and counts them.
async fn answer_all(udp: UdpSocket, bits: u16) -> usize {
    let mut count = 0;
    let mut packet = [0; 1500];
    let quiet = Duration::from_secs(2);
    while let Ok(received) = timeout(quiet, udp.recv_from(&mut packet)).await {
        let (length, from) = received.unwrap();
        let reply = answer(&packet[..length], bits);
        udp.send_to(&reply, from).await.unwrap();
        count += 1;
    }
    count
}

/// Sends so many queries at once and takes all answers: how many are right, and how many are refused.
async fn ask(enclave: &Enclave, nameserver: SocketAddr, count: u16) -> (usize, usize) {
    let stream = enclave.request(Command::Dns(nameserver)).await.unwrap();
    let (read, mut write) = tokio::io::split(stream);
    let mut frames = Vec::new();
    for id in 0..count {
        frame::encode(&query(id, true), &mut frames).unwrap();
    }
    write.write_all(&frames).await.unwrap();
    let mut answers = frame::Reader::new(read);
    let (mut right, mut refused) = (0, 0);
    for _ in 0..count {
        let reply = timeout(SOON, answers.next()).await.unwrap().unwrap();
        let reply = reply.unwrap();
        if Message::parse(reply).unwrap().header.flags.rcode() == rcode::NOERROR {
            right += 1;
        } else {
            let id = wire::read_u16(reply, 0).unwrap();
            let (code, text) = servfail(reply, id);
            assert_eq!(code, ede::OVER_QUOTA);
            assert!(text.contains("the enclaves ask for more"), "{text}");
            refused += 1;
        }
    }
    (right, refused)
}

#[tokio::test]
async fn a_greedy_enclave_is_refused_and_a_modest_one_is_not() {
    let (log, _guard) = Log::capture();
    let nameserver = Nameserver::bind().await;
    let (udp, nameserver) = (nameserver.udp, nameserver.address);
    let answers = tokio::spawn(answer_all(udp, 0));
    let config = limited(|limits| limits.upstream_pps = 100);
    let [greedy, modest] = Enclave::at_one_relay(config, [11, 12]);
    let flood = tokio::spawn(async move { ask(&greedy, nameserver, 1000).await });
    for _ in 0..10 {
        assert_eq!(ask(&modest, nameserver, 1).await, (1, 0));
    }
    let (right, refused) = flood.await.unwrap();
    assert_eq!(right + refused, 1000);
    assert!(right >= 10 && refused >= 900, "{right} {refused}");
    let lines = log.lines("queries over the quota refused");
    assert_eq!(lines.len(), 1, "one a minute: {lines:?}");
    assert!(lines[0].contains("127.0.0.11"), "{lines:?}");
    assert!(answers.await.unwrap() <= 100, "{right}");
}

/// A packet at once, nine a second more, and room for four that wait.
fn ten_a_second() -> Limits {
    Limits {
        upstream_pps: 10,
        ..Limits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_queue_it_is_told_at_once() {
    let nameserver = Polled::bind();
    let (mut near, _served) = in_memory(4096, nameserver.address, ten_a_second());
    let started = Instant::now();
    for id in 0..6 {
        frame::write(&mut near, &query(id, true)).await.unwrap();
    }
    // One has gone out and four wait.
    let mut message = Vec::new();
    frame::read(&mut near, &mut message).await.unwrap().unwrap();
    assert_eq!(servfail(&message, 5).0, ede::OVER_QUOTA);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

/// A query that waited has the rest of its time, and is answered within the promise all the same.
#[tokio::test(start_paused = true)]
async fn the_wait_counts_in_the_promise() {
    let nameserver = Polled::bind();
    let (mut near, _served) = in_memory(4096, nameserver.address, ten_a_second());
    let started = Instant::now();
    for id in 0..3 {
        frame::write(&mut near, &query(id, true)).await.unwrap();
    }
    let mut message = Vec::new();
    for _ in 0..3 {
        frame::read(&mut near, &mut message).await.unwrap().unwrap();
        let id = wire::read_u16(&message, 0).unwrap();
        assert_eq!(servfail(&message, id).0, ede::NO_ANSWER);
    }
    assert!(started.elapsed() < ANSWER_WITHIN, "{:?}", started.elapsed());
}

/// The first packets of others go before it.
#[tokio::test(start_paused = true)]
async fn a_lost_query_is_not_sent_again_when_there_is_nothing_to_spare() {
    let nameserver = Polled::bind();
    let (mut near, _served) = in_memory(4096, nameserver.address, ten_a_second());
    frame::write(&mut near, &query(1, true)).await.unwrap();
    nameserver.receive().await;
    tokio::time::sleep(Duration::from_millis(950)).await;
    frame::write(&mut near, &query(2, true)).await.unwrap();
    nameserver.receive().await;
    let mut message = Vec::new();
    frame::read(&mut near, &mut message).await.unwrap().unwrap();
    assert_eq!(servfail(&message, 1).0, ede::NO_ANSWER);
    // The second's own retry, 1 s after it, has all there is.
    frame::read(&mut near, &mut message).await.unwrap().unwrap();
    assert!(nameserver.try_receive().is_some());
    assert!(nameserver.try_receive().is_none());
}

/// One packet over UDP and five over TCP.
#[tokio::test]
async fn a_truncated_answer_costs_what_tcp_does() {
    let Nameserver { udp, tcp, address } = Nameserver::bind().await;
    tokio::spawn(answer_all(udp, wire::Flags::TC));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut asked = Vec::new();
            if frame::read(&mut stream, &mut asked).await.is_ok() {
                let _ = frame::write(&mut stream, &answer(&asked, 0)).await;
            }
        }
    });
    let config = limited(|limits| limits.upstream_pps = 120);
    let [enclave] = Enclave::at_one_relay(config, [11]);
    // 12 packets at once, and 54 in half a second: 12 queries, and of them 10 over TCP.
    let (right, refused) = ask(&enclave, address, 30).await;
    assert!((8..=16).contains(&right), "{right} {refused}");
}
