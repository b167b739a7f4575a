//! Clients over TCP.

use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use link::frame;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::relay::Manner;
use super::{CLIENT_TIMEOUT, Lab, assert_right, query};

#[tokio::test]
async fn queries_pipelined_on_one_connection_are_answered_even_after_its_half_close() {
    let lab = Lab::start(Manner::AnswersAfter(Duration::from_millis(20)));
    let mut stream = TcpStream::connect(lab.stub).await.unwrap();
    for id in 0..300 {
        let name = format!("host-{id}.example.com.");
        frame::write(&mut stream, &query(id, &name)).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let mut left: Vec<bool> = vec![true; 300];
    let mut message = Vec::new();
    while timeout(CLIENT_TIMEOUT, frame::read(&mut stream, &mut message))
        .await
        .unwrap()
        .unwrap()
        .is_some()
    {
        let reply = Message::from_vec(&message).unwrap();
        assert_right(&reply);
        assert!(
            std::mem::take(&mut left[usize::from(reply.id)]),
            "answered twice"
        );
    }
    assert!(!left.contains(&true));
}

#[tokio::test]
async fn a_query_longer_than_any_is_malformed_and_the_next_one_is_answered() {
    let lab = Lab::start(Manner::Answers);
    let mut stream = TcpStream::connect(lab.stub).await.unwrap();
    let mut long = query(1, "a.example.com.");
    long.resize(frame::MAX_MESSAGE, 0);
    frame::write(&mut stream, &long).await.unwrap();
    frame::write(&mut stream, &query(2, "a.example.com."))
        .await
        .unwrap();
    let mut replies = Vec::new();
    for _ in 0..2 {
        let mut message = Vec::new();
        frame::read(&mut stream, &mut message).await.unwrap();
        replies.push(Message::from_vec(&message).unwrap());
    }
    replies.sort_by_key(|reply| reply.id);
    assert_eq!(replies[0].response_code, ResponseCode::FormErr);
    assert_right(&replies[1]);
}

#[tokio::test]
async fn one_connection_too_many_closes_the_one_that_was_silent_longest() {
    let lab = Lab::start(Manner::Answers);
    let mut streams = Vec::new();
    for _ in 0..crate::tcp::MAX_CONNECTIONS {
        streams.push(TcpStream::connect(lab.stub).await.unwrap());
    }
    // The first speaks, so the second has been silent longest.
    let mut message = Vec::new();
    for stream in [&mut streams[0]] {
        frame::write(stream, &query(1, "a.example.com."))
            .await
            .unwrap();
        frame::read(stream, &mut message).await.unwrap().unwrap();
    }
    let mut extra = TcpStream::connect(lab.stub).await.unwrap();
    frame::write(&mut extra, &query(2, "a.example.com."))
        .await
        .unwrap();
    frame::read(&mut extra, &mut message)
        .await
        .unwrap()
        .unwrap();
    let closed = timeout(CLIENT_TIMEOUT, frame::read(&mut streams[1], &mut message));
    assert_eq!(closed.await.unwrap().unwrap(), None);
    frame::write(&mut streams[0], &query(3, "a.example.com."))
        .await
        .unwrap();
    frame::read(&mut streams[0], &mut message)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn as_many_connections_are_closed_as_are_too_many() {
    let lab = Lab::start(Manner::Answers);
    let mut streams = Vec::new();
    for _ in 0..2 * crate::tcp::MAX_CONNECTIONS {
        streams.push(TcpStream::connect(lab.stub).await.unwrap());
        // Those that were closed to make room leave before the next come.
        tokio::task::yield_now().await;
    }
    let mut message = Vec::new();
    for stream in &mut streams[..crate::tcp::MAX_CONNECTIONS] {
        let closed = timeout(CLIENT_TIMEOUT, frame::read(stream, &mut message));
        assert_eq!(closed.await.unwrap().unwrap(), None);
    }
}
