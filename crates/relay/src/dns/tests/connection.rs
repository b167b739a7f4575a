//! A connection's limits and its end.

use super::deadlines::{Polled, in_memory};
use super::*;

#[tokio::test(start_paused = true)]
async fn at_1024_queries_in_flight_the_relay_stops_reading() {
    crate::cli::raise_descriptor_limit();
    let nameserver = Polled::bind();
    let limits = Limits {
        upstream_pps: 0,
        ..Limits::default()
    };
    let (mut near, _served) = in_memory(64 * 1024, nameserver.address, limits);
    let mut queries = Vec::new();
    for id in 0..1100 {
        let mut frame = Vec::new();
        frame::encode(&query(id, true), &mut frame).unwrap();
        near.write_all(&frame).await.unwrap();
        // At once, as a thousand packets do not fit into a socket.
        if queries.len() < 1024 {
            queries.push(nameserver.receive().await);
        }
    }
    for _ in 0..10_000 {
        assert!(nameserver.try_receive().is_none());
        tokio::task::yield_now().await;
    }
    // One answer makes room for one query.
    let (first, from) = queries.first().unwrap();
    nameserver.send(&answer(first, 0), *from);
    queries.push(nameserver.receive().await);
    for _ in 0..10_000 {
        assert!(nameserver.try_receive().is_none());
        tokio::task::yield_now().await;
    }
    let ports: HashSet<_> = queries.iter().skip(1).map(|(_, from)| *from).collect();
    assert_eq!(ports.len(), 1024);
}

#[tokio::test]
async fn after_the_enclaves_half_close_what_is_in_flight_is_answered() {
    let mut world = World::new().await;
    world.ask(7).await;
    world.write.shutdown().await.unwrap();
    let (packet, from) = world.nameserver.receive().await;
    world.nameserver.send(&answer(&packet, 0), from).await;
    assert_eq!(world.answered().await[..2], [0, 7]);
    assert_eq!(world.frames.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_frame_that_is_no_query_closes_the_connection_with_one_line() {
    for bytes in [&query(7, true)[..11], &answer(&query(7, true), 0), &[]] {
        let (log, _guard) = Log::capture();
        let mut world = World::new().await;
        world.send(bytes).await;
        let ended = timeout(SOON, world.frames.next()).await.unwrap();
        assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
        drop(ended);
        assert_eq!(log.lines("a frame that is no DNS query").len(), 1);
    }
}

#[tokio::test]
async fn what_cannot_be_read_or_is_too_long_is_formerr_without_a_packet() {
    let mut world = World::new().await;
    let mut two_questions = query(7, false);
    two_questions[5] = 2;
    world.send(&two_questions).await;
    let formerr = [0, 7, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(world.answered().await, formerr);
    let mut long = query(8, true);
    long.resize(513, 0);
    world.send(&long).await;
    assert_eq!(world.answered().await[..4], [0, 8, 0x81, 0x81]);
    assert!(world.nameserver.udp.try_recv(&mut [0; 512]).is_err());
    // The longest goes through.
    long.truncate(512);
    world.send(&long).await;
    let (packet, _) = world.nameserver.receive().await;
    assert_eq!(packet[2..], long[2..]);
}

/// One read may bring more frames than may be in flight.
#[tokio::test(start_paused = true)]
async fn a_relay_that_drains_answers_what_it_has_read() {
    let nameserver = Polled::bind();
    let limits = Limits {
        queries_in_flight: 1,
        ..Limits::default()
    };
    let (relay, drain) = relay(limits);
    let (mut near, far) = duplex(4096);
    let address = nameserver.address;
    tokio::spawn(async move { serve(far, address, &seat(&limits), &relay).await });
    let mut frames = Vec::new();
    for id in 0..3 {
        frame::encode(&query(id, true), &mut frames).unwrap();
    }
    near.write_all(&frames).await.unwrap();
    let (first, from) = nameserver.receive().await;
    drain.send(true).unwrap();
    // What comes after is the next relay's.
    frame::write(&mut near, &query(3, true)).await.unwrap();
    nameserver.send(&answer(&first, 0), from);
    for _ in 1..3 {
        let (packet, from) = nameserver.receive().await;
        nameserver.send(&answer(&packet, 0), from);
    }
    let mut answers = frame::Reader::new(near);
    for id in 0..3 {
        assert_eq!(answers.next().await.unwrap().unwrap()[..2], [0, id]);
    }
    assert_eq!(answers.next().await.unwrap(), None);
}

/// Nothing in these tests reaches a nameserver.
const NOWHERE: SocketAddr = link::socks::UNSPECIFIED;

/// A frame that is answered without a nameserver.
fn unreadable() -> Vec<u8> {
    let mut frame = Vec::new();
    frame::encode(&[0; 12], &mut frame).unwrap();
    frame
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_5_minutes() {
    let (mut near, served) = in_memory(4096, NOWHERE, Limits::default());
    let started = Instant::now();
    tokio::time::sleep(IDLE / 2).await;
    near.write_all(&unreadable()).await.unwrap();
    near.read_exact(&mut [0; 14]).await.unwrap();
    assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(started.elapsed(), IDLE / 2 + IDLE);
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_enclave_that_takes_no_answers_fills_64_kib_and_is_closed() {
    let (mut near, served) = in_memory(14, NOWHERE, Limits::default());
    let mut sent = 0;
    let started = Instant::now();
    // Each frame of 14 bytes has an answer of 14 bytes.
    while near.write_all(&unreadable()).await.is_ok() {
        sent += 14;
    }
    assert_eq!(started.elapsed(), STALLED);
    let error = served.await.unwrap().unwrap_err();
    assert!(matches!(error, DnsError::Stalled), "{error}");
    // The buffer of answers, the pipes of both directions, and what was read ahead of them.
    assert!((64 * 1024..64 * 1024 + 9 * 1024).contains(&sent), "{sent}");
}

#[test]
fn the_deadlines_nest() {
    assert_eq!(ANSWER_WITHIN, Duration::from_millis(2500));
    assert_eq!(RESEND, Duration::from_secs(1));
    assert!(RESEND < GIVE_UP && GIVE_UP < ANSWER_WITHIN);
}
