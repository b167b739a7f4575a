use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn pair() -> (UnixStream, Local) {
    let (program, end) = UnixStream::pair().unwrap();
    (program, Local::new(end.into()).unwrap())
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Turns of the event loop, in which what has happened is seen.
async fn turns() {
    for _ in 0..3 {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_writer_that_has_room_is_not_woken_when_its_peer_reads() {
    let (mut program, mut end) = pair();
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mut buffer = [0; 8];
    let mut buffer = ReadBuf::new(&mut buffer);
    assert!(
        Pin::new(&mut end)
            .poll_read(&mut cx, &mut buffer)
            .is_pending()
    );
    for _ in 0..3 {
        end.write_all(b"query").await.unwrap();
        program.read_exact(&mut [0; 5]).unwrap();
        turns().await;
    }
    {
        let state = end.state();
        let polled = state.registration().unwrap().poll_write_ready(&mut cx);
        assert!(polled.is_pending(), "it was told of room");
    }
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    program.write_all(b"answer").unwrap();
    turns().await;
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
}

/// In tasks of their own, so that each is woken for itself.
#[tokio::test]
async fn a_writer_without_room_goes_on_when_there_is_and_the_reader_is_not_forgotten() {
    let (mut program, end) = pair();
    let (mut reader, mut writer) = tokio::io::split(end);
    let read = tokio::spawn(async move {
        let mut bytes = [0; 6];
        reader.read_exact(&mut bytes).await.unwrap();
        bytes
    });
    turns().await;
    let sent: Vec<u8> = (0..4_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let expected = sent.clone();
    let write = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer
    });
    turns().await;
    assert!(!write.is_finished(), "4 MB fit into the socket");
    program.write_all(b"answer").unwrap();
    assert_eq!(&timeout(SOON, read).await.unwrap().unwrap(), b"answer");
    let program = tokio::task::spawn_blocking(move || {
        let mut received = vec![0; expected.len()];
        program.read_exact(&mut received).unwrap();
        assert!(received == expected);
        program
    });
    let mut writer = timeout(SOON, write).await.unwrap().unwrap();
    let mut program = timeout(SOON, program).await.unwrap().unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(program.read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn a_peer_that_has_gone_is_an_end_and_a_broken_pipe() {
    let (mut program, mut end) = pair();
    program.write_all(b"last").unwrap();
    drop(program);
    let mut bytes = Vec::new();
    timeout(SOON, end.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bytes, b"last");
    let error = end.write_all(b"late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}
