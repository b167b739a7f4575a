//! A reporter with a relay that does anything.

use std::sync::atomic::{AtomicU64, Ordering};

use link::Address;
use report::Stream;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// The relay's end, and what the reporter says.
struct Relay {
    frames: frame::Reader<tokio::io::ReadHalf<DuplexStream>>,
    write: tokio::io::WriteHalf<DuplexStream>,
    reporting: JoinHandle<Lost>,
}

impl Relay {
    fn with(what: Report) -> Self {
        let (enclave, relay) = duplex(64 * 1024);
        let reporter = Reporter {
            parent: link::Parent::new(Address::PARENT, 8888),
            what,
            listen: vec!["127.0.0.1:5300".parse().unwrap()],
        };
        let count = AtomicU64::new(0);
        let status = move || {
            let mut status = Status::default();
            status.totals.queries_total = count.fetch_add(1, Ordering::Relaxed);
            Some(status)
        };
        let reporting = tokio::spawn(async move {
            let mut runs = Runs::default();
            reporter.tell(enclave, &status, &mut runs).await
        });
        let (read, write) = tokio::io::split(relay);
        Self {
            frames: frame::Reader::new(read),
            write,
            reporting,
        }
    }

    async fn hears(&mut self) -> FromEnclave {
        let frame = self.frames.next().await.unwrap().unwrap();
        FromEnclave::read(frame).unwrap().unwrap()
    }

    async fn hears_status(&mut self) -> u64 {
        match self.hears().await {
            FromEnclave::Status(status) => status.totals.queries_total,
            other => panic!("{other:?}"),
        }
    }

    /// What is said to a request, with the statuses left out that come between.
    async fn hears_refusal(&mut self) -> String {
        loop {
            match self.hears().await {
                FromEnclave::Status(_) => {}
                FromEnclave::Refused { id: 3, reason } => return reason,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn says(&mut self, frame: &[u8]) {
        frame::write(&mut self.write, frame).await.unwrap();
    }
}

fn run(command: &str) -> Vec<u8> {
    format!(r#"{{"run":{{"id":3,"command":{command}}}}}"#).into_bytes()
}

#[tokio::test(start_paused = true)]
async fn it_tells_at_once_and_every_five_seconds_while_it_is_heard() {
    let mut relay = Relay::with(Report::Status);
    let start = Instant::now();
    for number in 0..10 {
        assert_eq!(relay.hears_status().await, number);
        assert_eq!(start.elapsed(), HEARTBEAT * u32::try_from(number).unwrap());
        relay.says(b"\"heard\"").await;
    }
    // A relay that was killed with its machine.
    assert!(matches!(relay.reporting.await.unwrap(), Lost::Silent));
    assert_eq!(start.elapsed(), HEARTBEAT * 9 + SILENCE);
}

#[tokio::test]
async fn without_all_nothing_is_run() {
    let mut relay = Relay::with(Report::Status);
    relay.says(&run(r#"{"check":{}}"#)).await;
    let reason = relay.hears_refusal().await;
    assert!(reason.contains("--report all"), "{reason}");
}

#[tokio::test]
async fn odd_runs_are_refused_and_what_newer_relays_say_is_passed_over() {
    let mut relay = Relay::with(Report::All);
    relay.says(br#"{"moons":1}"#).await;
    relay.says(br#"{"stop":{"id":3}}"#).await;
    for odd in [
        r#"{"explain":{"names":["a.test"]}}"#,
        r#"{"check":{"names":["--server=6.6.6.6"]}}"#,
        r#"{"check":{"names":["a;reboot"]}}"#,
        r#"{"check":{"server":"6.6.6.6"}}"#,
        r#"{"bench":{"seconds":3600}}"#,
        r#"{"bench":{"html":"/etc/passwd"}}"#,
        r#"["sh","-c","reboot"]"#,
        "null",
    ] {
        relay.says(&run(odd)).await;
        let reason = relay.hears_refusal().await;
        assert!(
            reason.starts_with("this enclave does not run that: "),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection() {
    let long = vec![b' '; MAX_FRAME + 1];
    for frame in [&b"{"[..], b"\xff", b"", b"{\"run\":{}}", &long] {
        let mut relay = Relay::with(Report::All);
        relay.says(frame).await;
        let lost = relay.reporting.await.unwrap();
        assert!(matches!(lost, Lost::Frame(_)), "{lost}");
        assert!(lost.is_worth_little());
    }
}

#[tokio::test]
async fn a_relay_that_asks_without_end_is_left() {
    let mut relay = Relay::with(Report::Status);
    for _ in 0..=FRAMES_AT_ONCE {
        relay.says(b"\"heard\"").await;
    }
    let lost = relay.reporting.await.unwrap();
    assert!(matches!(lost, Lost::Flood), "{lost}");
}

#[tokio::test]
async fn with_the_relay_ends_the_connection() {
    let mut relay = Relay::with(Report::Status);
    relay.write.shutdown().await.unwrap();
    assert!(matches!(relay.reporting.await.unwrap(), Lost::Closed));
}

/// The test program is no proxify and says so; what counts is that what it says arrives.
#[tokio::test]
async fn a_run_is_told_as_it_comes_with_its_end() {
    let mut relay = Relay::with(Report::All);
    relay.says(&run(r#"{"check":{"names":["a.test"]}}"#)).await;
    let mut said = String::new();
    loop {
        match relay.hears().await {
            FromEnclave::Output {
                id: 3,
                stream: Stream::Err,
                text,
            } => said.push_str(&text),
            FromEnclave::Ended { id: 3, code } => {
                assert_eq!(code, 101, "{said}");
                break;
            }
            FromEnclave::Status(_) | FromEnclave::Line(_) => {}
            other => panic!("{other:?}"),
        }
    }
    // Its harness does not know the first option that we write.
    assert!(said.contains("parent"), "{said}");
}

#[test]
fn a_line_has_our_own_words_before_the_names() {
    let reporter = Reporter {
        parent: link::Parent::new(Address::PARENT, 8888),
        what: Report::All,
        listen: vec!["127.0.0.1:5300".parse().unwrap()],
    };
    let line = |command: &str| {
        let command: Command = serde_json::from_str(command).unwrap();
        reporter.line(&command).join(" ")
    };
    assert_eq!(
        line(r#"{"check":{"names":["a.test"],"json":true}}"#),
        "check --parent=vsock:3 --port=8888 --json -- a.test"
    );
    assert_eq!(
        line(r#"{"bench":{}}"#),
        "bench --parent=vsock:3 --port=8888 --listen=127.0.0.1:5300 --"
    );
}

#[test]
fn waits_grow_and_begin_anew_when_something_else_goes_wrong() {
    let mut pause = Pause::default();
    let millis = |pause: &mut Pause, is_rest| pause.next(is_rest).as_millis();
    let away: Vec<u128> = (0..7).map(|_| millis(&mut pause, false)).collect();
    assert_eq!(away, [100, 200, 400, 800, 1600, 2000, 2000]);
    // The end of file of a relay that was restarting.
    assert_eq!(millis(&mut pause, true), 1000);
    assert_eq!(millis(&mut pause, false), 100);
    let old: Vec<u128> = (0..8).map(|_| millis(&mut pause, true)).collect();
    assert_eq!(
        old,
        [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
    );
    for _ in 0..100 {
        assert_eq!(millis(&mut pause, true), 60_000);
    }
}
