//! An enclave that says anything.

use std::sync::Arc;

use link::Peer;
use tokio::io::{DuplexStream, ReadHalf, WriteHalf, duplex};
use tokio::task::JoinHandle;
use tokio::time::advance;

use super::*;
use crate::enclaves::{Enclave, Enclaves};
use crate::tests::Log;

/// An enclave's end, and the relay's.
struct Lab {
    frames: frame::Reader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    enclaves: Arc<Enclaves>,
    drain: watch::Sender<bool>,
    served: JoinHandle<Result<(), ReportError>>,
}

fn lab() -> Lab {
    let enclaves = Arc::new(Enclaves::default());
    let place = enclaves.enter(Peer::Cid(16)).unwrap();
    let (drain, draining) = watch::channel(false);
    let (enclave, relay) = duplex(4 * MAX_FRAME);
    let (read, write) = tokio::io::split(enclave);
    Lab {
        frames: frame::Reader::new(read),
        write,
        enclaves,
        drain,
        served: tokio::spawn(serve(relay, place, draining)),
    }
}

impl Lab {
    async fn says(&mut self, frame: &[u8]) {
        // The relay may have closed.
        let _ = frame::write(&mut self.write, frame).await;
    }

    async fn hears(&mut self) -> ToEnclave {
        loop {
            let frame = self.frames.next().await.unwrap().unwrap();
            match ToEnclave::read(frame).unwrap().unwrap() {
                ToEnclave::Heard => {}
                other => return other,
            }
        }
    }

    fn shown(&self) -> Enclave {
        self.enclaves.snapshot().remove(0)
    }

    fn ask(&self) -> mpsc::UnboundedReceiver<Said> {
        let command = Command::Check(report::Check::default());
        self.enclaves.ask(&self.shown(), command).unwrap()
    }

    async fn error(self) -> String {
        self.served.await.unwrap().unwrap_err().to_string()
    }
}

#[tokio::test]
async fn a_status_is_kept_and_answered() {
    let mut lab = lab();
    lab.says(br#"{"status":{"pid":7,"version":"1\u001b[2J","moons":3}}"#)
        .await;
    let frame = lab.frames.next().await.unwrap().unwrap();
    assert_eq!(frame, b"\"heard\"");
    let status = lab.shown().status.unwrap();
    assert_eq!((status.pid, status.version.as_str()), (7, "1\\u{1b}[2J"));
    lab.says(br#"{"moons":[3]}"#).await;
    lab.write.shutdown().await.unwrap();
    lab.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn lines_are_kept_and_logged_in_one_line_each() {
    let (log, _guard) = Log::capture();
    let mut lab = lab();
    lab.says(br#"{"line":{"level":"warn","text":"it \u001b[2J\nrests"}}"#)
        .await;
    lab.says(br#"{"line":{"level":"error","text":"it is down","left_out":3}}"#)
        .await;
    lab.write.shutdown().await.unwrap();
    lab.served.await.unwrap().unwrap();
    let lines = log.lines("said=it \\u{1b}[2J\\u{a}rests");
    assert!(
        lines.len() == 1 && lines[0].contains("peer=vsock:16"),
        "{lines:?}"
    );
    let lines = log.lines("said=it is down");
    assert!(
        lines.len() == 1 && lines[0].contains("left_out=3"),
        "{lines:?}"
    );
    assert_eq!(lab.enclaves.snapshot()[0].lines.len(), 2);
}

#[tokio::test]
async fn what_is_no_frame_ends_it() {
    let long = vec![b' '; MAX_FRAME + 1];
    let deep = vec![b'['; MAX_FRAME];
    for frame in [&b"{"[..], b"", b"\xff", br#"{"status":3}"#, &long, &deep] {
        let mut lab = lab();
        lab.says(frame).await;
        let error = lab.error().await;
        assert!(error.starts_with("a frame"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_statuses_a_second_are_too_many() {
    let mut lab = lab();
    let status = br#"{"status":{}}"#;
    // As a relay finds it that stood still for a while.
    for _ in 0..FRAMES_AT_ONCE {
        lab.says(status).await;
    }
    for _ in 0..100 {
        advance(Duration::from_secs(5)).await;
        lab.says(status).await;
        while !lab.served.is_finished() && lab.frames.next().await.is_err() {}
    }
    assert!(!lab.served.is_finished());
    for _ in 0..1000 {
        lab.says(status).await;
    }
    let error = lab.error().await;
    assert!(error.contains("64 at once and 2 a second"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it() {
    let lab = lab();
    let start = Instant::now();
    let enclaves = Arc::clone(&lab.enclaves);
    assert_eq!(lab.error().await, "it said nothing for 12500 ms");
    assert_eq!(start.elapsed(), SILENCE);
    assert!(enclaves.snapshot()[0].ended.is_some());
}

#[tokio::test]
async fn the_relays_end_ends_it() {
    let mut lab = lab();
    lab.drain.send(true).unwrap();
    lab.served.await.unwrap().unwrap();
    assert!(lab.frames.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_run_comes_back_piece_by_piece() {
    let mut lab = lab();
    let mut said = lab.ask();
    let ToEnclave::Run { id: 1, command } = lab.hears().await else {
        panic!("no run")
    };
    assert_eq!(command["check"]["json"], false);
    for frame in [
        &br#"{"output":{"id":1,"stream":"out","text":"a"}}"#[..],
        // Another's comes to nobody.
        br#"{"output":{"id":9,"stream":"out","text":"x"}}"#,
        br#"{"status":{}}"#,
        br#"{"output":{"id":1,"stream":"err","text":"b"}}"#,
        br#"{"ended":{"id":1,"code":3}}"#,
    ] {
        lab.says(frame).await;
    }
    let output = |stream, text: &str| Said::Output {
        stream,
        text: text.to_owned(),
    };
    for expected in [
        output(Stream::Out, "a"),
        output(Stream::Err, "b"),
        Said::Ended { code: 3 },
    ] {
        assert_eq!(said.recv().await, Some(expected));
    }
    assert_eq!(said.recv().await, None);
    // The next one has another number.
    let mut said = lab.ask();
    assert!(matches!(lab.hears().await, ToEnclave::Run { id: 2, .. }));
    lab.says(br#"{"refused":{"id":2,"reason":"no"}}"#).await;
    let reason = "no".to_owned();
    assert_eq!(said.recv().await, Some(Said::Refused { reason }));
}

#[tokio::test]
async fn output_without_end_ends_it() {
    let mut lab = lab();
    let _said = lab.ask();
    lab.hears().await;
    let frame = FromEnclave::Output {
        id: 1,
        stream: Stream::Out,
        text: "x".repeat(MAX_PIECE),
    };
    for _ in 0..=MAX_OUTPUT / MAX_PIECE {
        lab.says(&frame.write()).await;
    }
    assert_eq!(lab.error().await, "more output of one run than 1 MiB");

    let mut lab = self::lab();
    let _said = lab.ask();
    lab.hears().await;
    for _ in 0..=FRAMES_OF_RUN {
        lab.says(br#"{"output":{"id":1,"stream":"out","text":""}}"#)
            .await;
    }
    assert_eq!(lab.error().await, "more output of one run than 1 MiB");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_nobody_waits_for_is_stopped_and_the_next_waits_for_its_end() {
    let mut lab = lab();
    let first = lab.ask();
    assert!(matches!(lab.hears().await, ToEnclave::Run { id: 1, .. }));
    drop(first);
    assert_eq!(lab.hears().await, ToEnclave::Stop { id: 1 });
    // Who has gone before it begins is not asked for.
    drop(lab.ask());
    tokio::task::yield_now().await;
    let mut said = lab.ask();
    // What was on its way is no flood.
    for _ in 0..2 * FRAMES_AT_ONCE {
        lab.says(br#"{"output":{"id":1,"stream":"out","text":"x"}}"#)
            .await;
    }
    lab.says(br#"{"refused":{"id":1,"reason":"it was stopped"}}"#)
        .await;
    assert!(matches!(lab.hears().await, ToEnclave::Run { id: 2, .. }));
    lab.says(br#"{"ended":{"id":2,"code":0}}"#).await;
    assert_eq!(said.recv().await, Some(Said::Ended { code: 0 }));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_end_is_given_up() {
    let mut lab = lab();
    let mut said = lab.ask();
    let start = Instant::now();
    let reason = loop {
        lab.says(br#"{"status":{}}"#).await;
        tokio::select! {
            Some(Said::Refused { reason }) = said.recv() => break reason,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    };
    assert_eq!(reason, "the enclave did not end it in time");
    assert_eq!(start.elapsed(), REST + RUN + SLACK);
    // Nor does it hold up others.
    let _said = lab.ask();
    assert!(matches!(lab.hears().await, ToEnclave::Run { id: 1, .. }));
    assert_eq!(lab.hears().await, ToEnclave::Stop { id: 1 });
    for _ in 0..3 {
        lab.says(br#"{"status":{}}"#).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert!(matches!(lab.hears().await, ToEnclave::Run { id: 2, .. }));
}
