//! The link and the nameservers come, go, change and misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::relay::Manner;
use super::{CLIENT_TIMEOUT, Lab, ask_udp, assert_right};
use crate::Reach;

/// The promise: each client gets a right answer to its first packet.
#[tokio::test]
async fn the_link_cut_fifty_times_at_random_bytes_costs_no_client_its_answer() {
    let lab = Lab::start(Manner::CutsAtRandom { cuts: 50, seed: 7 });
    let mut clients = JoinSet::new();
    let mut next: u16 = 0;
    while lab.relay.cuts_left() > 0 || !clients.is_empty() {
        while lab.relay.cuts_left() > 0 && clients.len() < 100 {
            let stub = lab.stub;
            let id = next;
            clients.spawn(async move { ask_udp(stub, id, &format!("n{id}.example.com.")).await });
            next += 1;
        }
        if let Some(reply) = clients.join_next().await {
            assert_right(&reply.unwrap());
        }
    }
    assert!(next >= 100);
}

#[tokio::test]
async fn names_resolve_once_a_late_relay_is_there() {
    let mut lab = Lab::start(Manner::IsAway);
    let waits = tokio::spawn(ask_udp(lab.stub, 1, "ssm.us-east-1.amazonaws.com."));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(*lab.reach.borrow(), Reach::Nobody);
    lab.relay.set(Manner::Answers);
    assert_right(&waits.await.unwrap());
    timeout(
        CLIENT_TIMEOUT,
        lab.reach.wait_for(|reach| *reach == Reach::Discovered),
    )
    .await
    .unwrap()
    .unwrap();
}

#[tokio::test]
async fn a_lookup_that_nobody_answers_fails_before_its_client_gives_up() {
    let lab = Lab::start(Manner::IsSilent);
    let reply = lab.ask(1, "logs.us-east-1.amazonaws.com.").await;
    assert_eq!(reply.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_connection_that_went_silent_is_replaced() {
    let lab = Lab::start(Manner::IsSilentOnce);
    assert_right(&lab.ask(1, "sns.us-east-1.amazonaws.com.").await);
}

#[tokio::test]
async fn nameservers_change_under_load_without_a_failed_lookup() {
    let lab = Lab::start(Manner::AnswersAfter(Duration::from_millis(5)));
    for round in 0..20u16 {
        let mut clients = JoinSet::new();
        for client in 0..50 {
            let (stub, id) = (lab.stub, round * 50 + client);
            clients.spawn(async move { ask_udp(stub, id, &format!("n{id}.example.com.")).await });
        }
        let nameserver = SocketAddr::from(([10, 0, 0, 3 + u8::try_from(round).unwrap()], 53));
        lab.nameservers.send_replace(Arc::from([nameserver]));
        while let Some(reply) = clients.join_next().await {
            assert_right(&reply.unwrap());
        }
        // A cached name is asked for again, at the new nameserver, and not flushed before.
        assert_right(&lab.ask(9, "n0.example.com.").await);
        assert_eq!(lab.relay.last_nameserver(), Some(nameserver));
    }
}

#[tokio::test]
async fn a_connection_that_answers_nothing_of_ours_is_replaced() {
    let lab = Lab::start(Manner::BabblesOnce);
    assert_right(&lab.ask(1, "sns.us-east-1.amazonaws.com.").await);
}

#[tokio::test]
async fn a_relay_that_babbles_and_closes_is_not_dialled_without_rest() {
    let lab = Lab::start(Manner::BabblesAndCloses);
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Rests of 100, 200 and 400 ms lie between them.
    assert!((1..=4).contains(&lab.relay.connections()));
}

/// The relay closes what was idle for 300 s, and everything when it drains.
#[tokio::test]
async fn a_connection_closed_after_its_last_answer_costs_no_client_its_answer() {
    let lab = Lab::start(Manner::ClosesAfterEachAnswer);
    for id in 0..50 {
        assert_right(&lab.ask(id, &format!("n{id}.example.com.")).await);
    }
    assert!(lab.relay.connections() >= 50);
}

#[tokio::test]
async fn a_link_that_takes_connections_and_never_replies_fails_lookups_in_time() {
    let lab = Lab::start(Manner::NeverReplies);
    let reply = lab.ask(1, "logs.us-east-1.amazonaws.com.").await;
    assert_eq!(reply.response_code, ResponseCode::ServFail);
    assert_eq!(*lab.reach.borrow(), Reach::Nobody);
    // Names resolve as soon as it does.
    lab.relay.set(Manner::Answers);
    assert_right(&lab.ask(2, "ssm.us-east-1.amazonaws.com.").await);
}

/// libc asks again after SERVFAIL.
#[tokio::test]
async fn a_link_that_stalls_costs_libc_less_than_its_own_time() {
    let lab = Lab::start(Manner::Answers);
    assert_right(&lab.ask(1, "known.example.com.").await);
    lab.relay.stall();
    let begin = Instant::now();
    for id in [2, 3] {
        let reply = lab.ask(id, "new.example.com.").await;
        assert_eq!(reply.response_code, ResponseCode::ServFail);
    }
    let took = begin.elapsed();
    assert!(took < CLIENT_TIMEOUT, "{took:?}");
    // What was known is there all the time, and no failure is left behind.
    assert_right(&lab.ask(6, "known.example.com.").await);
    lab.relay.set(Manner::Answers);
    let begin = Instant::now();
    while lab.ask(7, "new.example.com.").await.response_code != ResponseCode::NoError {
        assert!(begin.elapsed() < Duration::from_secs(1));
    }
}

/// A relay that hangs for long finds no questions of those who have gone.
#[tokio::test]
async fn what_nobody_waits_for_is_not_asked_once_the_link_is_back() {
    let lab = Lab::start(Manner::Answers);
    assert_right(&lab.ask(1, "known.example.com.").await);
    lab.relay.stall();
    let mut clients = JoinSet::new();
    for id in 0..100 {
        let stub = lab.stub;
        clients.spawn(async move { ask_udp(stub, id, &format!("n{id}.example.com.")).await });
    }
    while let Some(reply) = clients.join_next().await {
        assert_eq!(reply.unwrap().response_code, ResponseCode::ServFail);
    }
    let before = lab.relay.asked();
    lab.relay.set(Manner::Answers);
    while lab.ask(2, "new.example.com.").await.response_code != ResponseCode::NoError {}
    // What was on the connection before it hung is read, and what was to be asked again is not there.
    while lab.relay.asked() < before + 101 {
        tokio::task::yield_now().await;
    }
    assert_right(&lab.ask(3, "newer.example.com.").await);
    assert_eq!(lab.relay.asked(), before + 102);
}
