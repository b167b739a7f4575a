//! What a program is told, and the log, when the parent answers CONNECT with anything at all.

use std::net::Ipv4Addr;
use std::time::Duration;

use link::{Address, HANDSHAKE, ListenAddress, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use self::log::Log;
use super::*;

#[path = "../../../relay/src/tests/log.rs"]
mod log;

/// What the parent says in place of the greeting's answer and the reply.
struct Parent {
    says: Vec<u8>,
    /// Between two bytes.
    pace: Duration,
    closes: bool,
    told: Answer,
    line: &'static str,
}

const REFUSED: Answer = Answer::Refused;
const HOST: Answer = Answer::Unreachable(Unreachable::Host);
const NETWORK: Answer = Answer::Unreachable(Unreachable::Network);
const PROHIBITED: Answer = Answer::Unreachable(Unreachable::Prohibited);

fn closes(says: impl Into<Vec<u8>>, told: Answer, line: &'static str) -> Parent {
    Parent {
        says: says.into(),
        pace: Duration::ZERO,
        closes: true,
        told,
        line,
    }
}

fn hangs(says: impl Into<Vec<u8>>) -> Parent {
    Parent {
        closes: false,
        ..closes(says, HOST, "did not answer CONNECT")
    }
}

fn reply(code: u8) -> Vec<u8> {
    vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

fn parents() -> Vec<Parent> {
    let closed = "closed without a reply";
    let no_socks = "gave no SOCKS5 answer";
    let mut parents = vec![
        closes([], REFUSED, closed),
        closes([5], REFUSED, closed),
        closes([5, 0, 5, 0, 0, 1, 10], REFUSED, closed),
        closes(
            [5, 0, 5, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            REFUSED,
            closed,
        ),
        closes([5, 0xFF], HOST, no_socks),
        closes([5, 0, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0], HOST, no_socks),
        closes("HTTP/1.1 400 Bad Request\r\n\r\n", HOST, no_socks),
        closes(
            [&[5, 0, 5, 0, 0, 3, 255][..], &[b'a'; 257]].concat(),
            HOST,
            no_socks,
        ),
        closes(vec![0; 65_536], HOST, no_socks),
        hangs([]),
        hangs([5, 0, 5, 0, 0]),
        Parent {
            pace: Duration::from_secs(1),
            ..hangs(reply(0))
        },
    ];
    for code in 1..=u8::MAX {
        let (told, line) = match code {
            2 => (PROHIBITED, "not allowed by the relay's policy"),
            3 => (NETWORK, "network unreachable"),
            5 => (REFUSED, "connection refused"),
            _ => (HOST, "refused CONNECT"),
        };
        parents.push(closes(reply(code), told, line));
    }
    parents
}

/// One connection's worth of it, whoever leaves first.
async fn lie(listener: &Listener, parent: &Parent) {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_exact(&mut [0; 13]).await.unwrap();
    for bytes in parent
        .says
        .chunks(if parent.pace.is_zero() { usize::MAX } else { 1 })
    {
        if stream.write_all(bytes).await.is_err() {
            return;
        }
        sleep(parent.pace).await;
    }
    if !parent.closes {
        let _ = stream.read(&mut [0]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_parent_answers_the_program_is_told_in_time_and_the_log_once() {
    let directory = tempfile::tempdir().unwrap();
    let prefix = directory.path().join("relay");
    let listener =
        Listener::bind(&ListenAddress::Unix(prefix.clone()), link::DEFAULT_PORT).unwrap();
    let dialled = link::Parent::new(Address::Unix(prefix), link::DEFAULT_PORT);
    let dialer = Dialer::new(dialled, Vec::new(), Activity::default());
    for (parent, port) in parents().iter().zip(1..) {
        let (log, _guard) = Log::capture();
        let to = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), port));
        // Programs retry.
        for _ in 0..3 {
            let asked = Instant::now();
            let dial = async { (dialer.dial(to).await, asked.elapsed()) };
            let ((dialled, took), ()) = tokio::join!(dial, lie(&listener, parent));
            let error = dialled.unwrap_err();
            assert!(took <= HANDSHAKE, "{error}: {took:?}");
            assert_eq!(error.answer(), parent.told, "{error}");
            dialer.complain(to, &error, false);
        }
        let lines = log.lines(&format!("no connection to={to} error="));
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(
            lines[0].contains(parent.line),
            "not {}: {lines:#?}",
            parent.line
        );
    }
}
