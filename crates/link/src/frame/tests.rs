use std::time::Duration;

use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::timeout;

use super::*;

fn frames(messages: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        encode(message, &mut bytes).unwrap();
    }
    bytes
}

#[tokio::test]
async fn many_frames_in_one_read_come_one_by_one() {
    let bytes = frames(&[b"one", b"", b"three"]);
    let mut reader = Reader::new(bytes.as_slice());
    assert_eq!(reader.next_read(), None);
    for expected in [&b"one"[..], b"", b"three"] {
        assert_eq!(reader.next().await.unwrap(), Some(expected));
    }
    assert_eq!(reader.next().await.unwrap(), None);
    let mut reader = Reader::new(bytes.as_slice());
    assert_eq!(reader.next().await.unwrap(), Some(&b"one"[..]));
    for expected in [Some(&b""[..]), Some(b"three"), None] {
        assert_eq!(reader.next_read(), expected);
    }
}

#[tokio::test]
async fn a_frame_may_come_a_byte_at_a_time() {
    // A pipe of one byte.
    let (mut near, far) = duplex(1);
    let bytes = frames(&[&[7; 300], b"next"]);
    let sender = tokio::spawn(async move { near.write_all(&bytes).await });
    let mut reader = Reader::new(far);
    assert_eq!(reader.next().await.unwrap(), Some(&[7; 300][..]));
    assert_eq!(reader.next().await.unwrap(), Some(&b"next"[..]));
    assert_eq!(reader.next().await.unwrap(), None);
    sender.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_longest_message_passes_and_a_longer_one_does_not() {
    let longest = vec![1; MAX_MESSAGE];
    let bytes = frames(&[&longest]);
    let mut reader = Reader::new(bytes.as_slice());
    assert_eq!(reader.next().await.unwrap(), Some(longest.as_slice()));

    let mut out = vec![9];
    let error = encode(&[1; MAX_MESSAGE + 1], &mut out).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(out, [9]);
}

#[tokio::test]
async fn a_long_message_is_cut_and_the_next_one_whole() {
    let bytes = frames(&[&[1; 9], &[2; 60_000], &[3; 10], b"next", &[4; 11]]);
    // In one piece, and with the skipped part in several.
    for size in [bytes.len(), 1, 5000] {
        let (mut near, far) = duplex(size);
        let bytes = bytes.clone();
        let sender = tokio::spawn(async move { near.write_all(&bytes).await });
        let mut reader = Reader::cut(far, 10);
        for expected in [&[1; 9][..], &[2; 10], &[3; 10], b"next", &[4; 10]] {
            assert_eq!(reader.next().await.unwrap(), Some(expected));
        }
        assert_eq!(reader.next().await.unwrap(), None);
        assert!(reader.buffer.capacity() <= 4 * CHUNK, "{size}");
        sender.await.unwrap().unwrap();
    }
    // It ends while the rest is skipped.
    let mut reader = Reader::cut(&[0, 12, 1, 1, 1][..], 2);
    assert_eq!(reader.next().await.unwrap(), Some(&[1, 1][..]));
    let error = reader.next().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn an_end_inside_a_frame_is_an_error() {
    for bytes in [&[0][..], &[0, 3, b'x']] {
        let error = Reader::new(bytes).next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = read(&mut { bytes }, &mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_dropped_between_two_reads_loses_nothing() {
    let (mut near, far) = duplex(64);
    let mut reader = Reader::new(far);
    for byte in frames(&[b"kept"]) {
        assert!(
            timeout(Duration::from_millis(1), reader.next())
                .await
                .is_err()
        );
        near.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(reader.next().await.unwrap(), Some(&b"kept"[..]));
}

#[tokio::test(start_paused = true)]
async fn memory_follows_what_arrived_not_what_was_announced() {
    let (mut near, far) = duplex(64);
    near.write_all(&[0xFF, 0xFF, 1]).await.unwrap();
    let mut reader = Reader::new(far);
    assert!(
        timeout(Duration::from_secs(1), reader.next())
            .await
            .is_err()
    );
    assert!(
        reader.buffer.capacity() <= 2 * CHUNK,
        "{}",
        reader.buffer.capacity()
    );
}

#[tokio::test]
async fn read_takes_one_frame_and_leaves_the_rest() {
    let bytes = frames(&[b"mine", b"yours"]);
    let mut rest = bytes.as_slice();
    let mut message = b"old".to_vec();
    assert_eq!(read(&mut rest, &mut message).await.unwrap(), Some(()));
    assert_eq!(message, b"mine");
    assert_eq!(rest, frames(&[b"yours"]));
    assert_eq!(read(&mut &b""[..], &mut message).await.unwrap(), None);
}

#[tokio::test]
async fn write_sends_length_and_message() {
    let mut out = Vec::new();
    write(&mut out, b"abc").await.unwrap();
    assert_eq!(out, b"\x00\x03abc");
}
