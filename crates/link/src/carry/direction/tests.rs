use std::collections::HashSet;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;

use super::*;
use crate::{Local, Stream};

/// A program's socket, and the carried one.
fn pair() -> (StdUnixStream, End) {
    let (program, end) = StdUnixStream::pair().unwrap();
    end.set_nonblocking(true).unwrap();
    let end = End::new(Stream::Unix(Local::new(end.into()).unwrap())).unwrap();
    (program, end)
}

async fn poll_once(direction: &mut Direction, from: &End, to: &End) {
    let polled = poll_fn(|cx| Poll::Ready(direction.poll(cx, from, to, true))).await;
    if let Poll::Ready(Err(fault)) = polled {
        panic!("{fault:?}");
    }
    // Lets the runtime see what has become ready.
    tokio::task::yield_now().await;
}

/// Many times what two sockets and a pipe hold.
const LENGTH: usize = 4_000_000;

/// Carries a stream to a reader that is slower than its writer; says what was held on the way.
async fn stream_to_a_slow_reader(direction: &mut Direction) -> HashSet<&'static str> {
    let (mut near, from) = pair();
    let (mut far, to) = pair();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let (mut sent, mut read) = (0, 0);
    let mut held = HashSet::new();
    while read < LENGTH {
        while sent < LENGTH {
            match near.write(&[7; 50_000][..(LENGTH - sent).min(50_000)]) {
                Ok(written) => sent += written,
                Err(_) => break,
            }
        }
        poll_once(direction, &from, &to).await;
        held.insert(match &direction.held {
            Held::Nothing => "nothing",
            Held::Bytes(_) => "bytes",
            Held::Pipe { .. } => "pipe",
        });
        read += far.read(&mut [0; 20_000]).unwrap_or(0);
    }
    assert!(matches!(direction.held, Held::Nothing));
    assert_eq!(direction.carried(), LENGTH as u64);
    held
}

#[tokio::test]
async fn a_stream_is_spliced_and_holds_no_pipe_afterwards() {
    let held = stream_to_a_slow_reader(&mut Direction::default()).await;
    assert!(held.contains("pipe"), "{held:?}");
}

#[tokio::test]
async fn what_cannot_be_spliced_is_copied() {
    let mut direction = Direction {
        copies_only: true,
        ..Direction::default()
    };
    let held = stream_to_a_slow_reader(&mut direction).await;
    assert!(held.contains("bytes") && !held.contains("pipe"), "{held:?}");
}

#[tokio::test]
async fn small_messages_need_no_pipe_and_keep_nothing() {
    let (mut near, from) = pair();
    let (mut far, to) = pair();
    let mut direction = Direction::default();
    for size in [1, 100, 10_000, BUFFER - 1] {
        near.write_all(&vec![1; size]).unwrap();
        while direction.carried() == 0 {
            poll_once(&mut direction, &from, &to).await;
        }
        far.read_exact(&mut vec![0; size]).unwrap();
        assert!(matches!(direction.held, Held::Nothing) && !direction.bulk);
        direction.carried = 0;
    }
}

#[tokio::test]
async fn a_stream_that_pauses_is_spliced_on_until_it_brings_little() {
    let (mut near, from) = pair();
    let (mut far, to) = pair();
    let mut direction = Direction::default();
    for (size, spliced_on) in [(2 * BUFFER, true), (2 * BUFFER, true), (100, false)] {
        near.write_all(&vec![1; size]).unwrap();
        let end = direction.carried() + size as u64;
        while direction.carried() < end {
            poll_once(&mut direction, &from, &to).await;
        }
        // Once more, to see that the near end is empty.
        poll_once(&mut direction, &from, &to).await;
        far.read_exact(&mut vec![0; size]).unwrap();
        assert_eq!(direction.bulk, spliced_on, "after {size} bytes");
    }
}

#[tokio::test]
async fn a_stream_without_end_leaves_others_their_turn() {
    let (near, from) = pair();
    let (far, to) = pair();
    // Both programs run on threads of their own, so that there is always something to move.
    let writer = std::thread::spawn(move || {
        let mut near = near;
        while near.write_all(&[0; 200_000]).is_ok() {}
    });
    let reader = std::thread::spawn(move || {
        let mut far = far;
        let mut buffer = vec![0; 1 << 20];
        while far.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    let mut direction = Direction::default();
    let (mut turns, mut longest) = (0, 0);
    while direction.carried() < 50 * TURN {
        let before = direction.carried();
        poll_once(&mut direction, &from, &to).await;
        longest = longest.max(direction.carried() - before);
        turns += 1;
    }
    // What the last call of a turn moves may exceed it.
    assert!(longest < 2 * TURN, "{longest} bytes in one turn of {turns}");
    drop((from, to));
    writer.join().unwrap();
    reader.join().unwrap();
}
