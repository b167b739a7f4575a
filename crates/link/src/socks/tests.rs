use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex};
use tokio::time::timeout;

use super::client::{self, ExchangeError};
use super::server::{self, HandshakeError, MAX_METHODS, MAX_NAME};
use super::*;

/// Longer than anything here takes, short enough that a hang is seen.
const SOON: Duration = Duration::from_secs(30);

const GREETING: &[u8] = &[5, 1, 0];
const CONNECT_V4: &[u8] = &[5, 1, 0, 1, 10, 0, 1, 17, 1, 187];

/// Answers from a script, and keeps each write apart.
struct Script {
    answer: &'static [u8],
    writes: Vec<Vec<u8>>,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.answer).poll_read(cx, buf)
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.push(buf.to_vec());
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn ask(
    command: Command,
    answer: &'static [u8],
) -> (Result<SocketAddr, ExchangeError>, Script) {
    let mut script = Script {
        answer,
        writes: Vec::new(),
    };
    (client::request(&mut script, command).await, script)
}

/// What the server makes of `bytes`, what it answered, and what it left on the stream.
async fn serve(bytes: &[u8], step: usize) -> (Result<Command, HandshakeError>, Vec<u8>, Vec<u8>) {
    let (mut near, mut far) = duplex(4096);
    let bytes = bytes.to_vec();
    let sender = tokio::spawn(async move {
        for piece in bytes.chunks(step) {
            near.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        near.shutdown().await.unwrap();
        near
    });
    let result = server::read_request(&mut far).await;
    let mut near = sender.await.unwrap();
    let mut left = Vec::new();
    far.read_to_end(&mut left).await.unwrap();
    drop(far);
    let mut answered = Vec::new();
    near.read_to_end(&mut answered).await.unwrap();
    (result, answered, left)
}

#[tokio::test]
async fn greeting_and_request_leave_in_one_write() {
    let to = "10.0.1.17:443".parse().unwrap();
    let (bound, script) = ask(
        Command::Connect(to),
        &[5, 0, 5, 0, 0, 1, 10, 0, 0, 9, 0x9C, 0x40, b'x'],
    )
    .await;
    assert_eq!(bound.unwrap(), "10.0.0.9:40000".parse().unwrap());
    assert_eq!(script.writes, [[GREETING, CONNECT_V4].concat()]);
    assert_eq!(
        script.answer, b"x",
        "bytes after the reply belong to the stream"
    );
}

#[tokio::test]
async fn each_command_has_its_code_and_reads_back() {
    for (command, code) in [
        (Command::Connect("[2001:db8::1]:443".parse().unwrap()), 0x01),
        (Command::Bind("0.0.0.0:8443".parse().unwrap()), 0x02),
        (Command::Bind("[::1]:8443".parse().unwrap()), 0x02),
        (Command::Dns("10.0.0.2:53".parse().unwrap()), 0xD0),
        (Command::ResolvConf, 0xD1),
        (Command::Report, 0xD2),
    ] {
        let (_, script) = ask(command, &[]).await;
        let sent = &script.writes[0];
        assert_eq!(sent[..6], [5, 1, 0, 5, code, 0]);
        let (received, answered, left) = serve(sent, usize::MAX).await;
        assert_eq!(received.unwrap(), command);
        assert_eq!(answered, [5, 0]);
        assert!(left.is_empty());
    }
}

#[tokio::test]
async fn a_request_may_come_at_once_or_a_byte_at_a_time_and_later_bytes_stay() {
    let bytes = [GREETING, CONNECT_V4, b"early data"].concat();
    for step in [1, 2, 3, 5, 7, 1000] {
        let (command, answered, left) = serve(&bytes, step).await;
        assert_eq!(command.unwrap().to_string(), "CONNECT 10.0.1.17:443");
        assert_eq!(answered, [5, 0]);
        assert_eq!(left, b"early data");
    }
}

#[tokio::test]
async fn a_client_that_has_asked_is_told_method_and_reply_at_once_and_one_that_waits_the_method() {
    const METHOD: &[u8] = &[5, 0];
    const REPLY: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 9, 0x9C, 0x40];
    let bytes = [GREETING, CONNECT_V4].concat();
    for waits_after in [GREETING.len(), bytes.len()] {
        let (mut near, mut far) = duplex(64);
        let client = async {
            let (first, rest) = bytes.split_at(waits_after);
            near.write_all(first).await.unwrap();
            let mut answer = [0; METHOD.len() + REPLY.len()];
            let read = near.read(&mut answer).await.unwrap();
            near.write_all(rest).await.unwrap();
            near.read_exact(&mut answer[read..]).await.unwrap();
            assert_eq!(answer.to_vec(), [METHOD, REPLY].concat());
            read
        };
        let parent = async {
            let request = server::Request::read(&mut far).await.unwrap();
            let bound = "10.0.0.9:40000".parse().unwrap();
            request.reply(&mut far, Reply::Succeeded, bound).await
        };
        let both = async { tokio::join!(client, parent) };
        let (read, replied) = timeout(SOON, both).await.expect("each waits for the other");
        replied.unwrap();
        let has_asked = waits_after == bytes.len();
        assert_eq!(read, METHOD.len() + if has_asked { REPLY.len() } else { 0 });
    }
}

#[tokio::test]
async fn other_methods_may_be_offered_beside_none() {
    let (command, ..) = serve(&[&[5, 3, 2, 1, 0], CONNECT_V4].concat(), 1).await;
    assert!(command.is_ok());
    let (error, answered, _) = serve(&[&[5, 2, 2, 1], CONNECT_V4].concat(), 100).await;
    assert!(matches!(error, Err(HandshakeError::NoMethod)));
    assert_eq!(answered, [5, 0xFF]);
}

#[tokio::test]
async fn a_name_is_read_whole_and_refused_with_reply_8() {
    let request = [GREETING, b"\x05\x01\x00\x03\x05a\nb.c\x01\xbb", b"rest"].concat();
    let (error, _, left) = serve(&request, 1).await;
    let error = error.unwrap_err();
    assert_eq!(error.reply(), Some(Reply::AddressTypeNotSupported));
    assert!(!error.to_string().contains("b.c"), "{error}");
    assert!(
        matches!(&error, HandshakeError::Name { name } if name == r"a\nb.c"),
        "{error:?}"
    );
    assert_eq!(left, b"rest");
}

#[tokio::test]
async fn what_the_link_does_not_know_gets_its_reply() {
    let unknown_command = [GREETING, &[5, 0xF0, 0, 1, 1, 2, 3, 4, 0, 53]].concat();
    let error = serve(&unknown_command, 1).await.0.unwrap_err();
    assert_eq!(error.reply(), Some(Reply::CommandNotSupported));
    let unknown_type = [GREETING, &[5, 1, 0, 9, 1, 2, 3, 4, 0, 53]].concat();
    let error = serve(&unknown_type, 1).await.0.unwrap_err();
    assert_eq!(error.reply(), Some(Reply::AddressTypeNotSupported));
}

#[tokio::test]
async fn malformed_and_oversized_handshakes_get_no_reply() {
    let long_name = [GREETING, &[5, 1, 0, 3, MAX_NAME + 1]].concat();
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n".as_slice(), "malformed: version 0x47"),
        (&[5, 1, 0, 4, 1], "malformed: version of the request 0x04"),
        (&[5, 1, 0, 5, 1, 7, 1], "malformed: reserved byte 0x07"),
        (&[5, MAX_METHODS + 1, 0], "oversized: methods of 17"),
        (&long_name, "oversized: name of 254"),
        (&[], "closed before"),
        (&[5], "closed before"),
        (&[5, 1, 0, 5, 1, 0, 1, 10, 0], "closed before"),
    ] {
        // A longer handshake than this ends in an error at the bad byte; pad it to say so.
        let padded = if expected.starts_with("closed") {
            bytes.to_vec()
        } else {
            [bytes, &[0; 16]].concat()
        };
        let error = serve(&padded, 1).await.0.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.reply(), None);
    }
}

#[tokio::test]
async fn the_largest_handshake_within_the_limits_passes() {
    let methods = [[5, MAX_METHODS].as_slice(), &[0; MAX_METHODS as usize]].concat();
    let (command, ..) = serve(&[&methods, CONNECT_V4].concat(), 1).await;
    assert!(command.is_ok());
    let name = [
        GREETING,
        &[5, 1, 0, 3, MAX_NAME],
        &[b'a'; MAX_NAME as usize],
        &[0, 1],
    ]
    .concat();
    let (error, _, left) = serve(&name, 1000).await;
    assert!(matches!(error, Err(HandshakeError::Name { .. })));
    assert!(left.is_empty());
}

#[tokio::test]
async fn replies_read_as_they_were_written() {
    for code in 0..=u8::MAX {
        assert_eq!(u8::from(Reply::from(code)), code);
    }
    for reply in (1..=9).map(Reply::from) {
        let mut bytes = vec![5, 0];
        server::write_refusal(&mut bytes, reply).await.unwrap();
        let error = client::request(
            &mut Script {
                answer: bytes.leak(),
                writes: Vec::new(),
            },
            Command::ResolvConf,
        )
        .await;
        assert!(matches!(error, Err(ExchangeError::Refused(got)) if got == reply));
    }
    for bound in ["10.0.0.1:1", "[2001:db8::1]:65535", "[::ffff:10.0.0.1]:80"] {
        let bound = bound.parse().unwrap();
        let mut bytes = Vec::new();
        server::write_reply(&mut bytes, Reply::Succeeded, bound)
            .await
            .unwrap();
        assert_eq!(
            client::read_reply(&mut bytes.as_slice()).await.unwrap(),
            bound
        );
    }
}

#[tokio::test]
async fn a_parent_that_closes_or_babbles_is_told_apart() {
    for closed in [&[][..], &[5], &[5, 0], &[5, 0, 5, 0, 0, 1, 1]] {
        let (result, _) = ask(Command::ResolvConf, closed.to_vec().leak()).await;
        assert!(
            matches!(result, Err(ExchangeError::Closed)),
            "{closed:?}: {result:?}"
        );
    }
    for babble in [
        &b"HTTP/1.1 400"[..],
        &[5, 0xFF],
        &[5, 0, 4, 0, 0, 1],
        &[5, 0, 5, 0, 0, 3, 1, b'a', 0, 1],
    ] {
        let (result, _) = ask(Command::ResolvConf, babble.to_vec().leak()).await;
        assert!(
            matches!(result, Err(ExchangeError::Malformed { .. })),
            "{babble:?}: {result:?}"
        );
    }
}

#[tokio::test]
async fn method_and_reply_are_read_in_any_pieces_and_leave_the_rest() {
    let to = "10.0.1.17:443".parse().unwrap();
    for bound in ["10.0.0.9:40000", "[2001:db8::1]:443"] {
        let bound: SocketAddr = bound.parse().unwrap();
        let mut answer = vec![5, 0];
        server::write_reply(&mut answer, Reply::Succeeded, bound)
            .await
            .unwrap();
        for cut in 0..=answer.len() {
            let (mut near, mut far) = duplex(64);
            let (first, second) = answer.split_at(cut);
            let send = async {
                near.write_all(first).await.unwrap();
                tokio::task::yield_now().await;
                near.write_all(&[second, b"rest"].concat()).await.unwrap();
                near.shutdown().await.unwrap();
            };
            let receive = async {
                let got = client::request(&mut far, Command::Connect(to)).await;
                let mut left = Vec::new();
                far.read_to_end(&mut left).await.unwrap();
                (got.unwrap(), left)
            };
            let ((), (got, left)) = tokio::join!(send, receive);
            assert_eq!(got, bound);
            assert_eq!(left, b"rest");
        }
    }
}

/// Both forms of a second reply, with the client that each names.
const SECOND_REPLIES: [(&[u8], &str); 3] = [
    (
        &[
            5, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 0, 2, 7, 0x9C, 0x40,
        ],
        "192.0.2.7:40000",
    ),
    (
        &[
            5, 0, 0, 4, 0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187,
        ],
        "[2001:db8::1]:443",
    ),
    (&[5, 0, 0, 1, 192, 0, 2, 7, 0, 80], "192.0.2.7:80"),
];

#[tokio::test]
async fn a_second_reply_is_read_in_any_pieces_and_leaves_the_rest() {
    for (reply, client) in SECOND_REPLIES {
        for cut in 0..=reply.len() {
            let (mut near, mut far) = duplex(64);
            let (first, second) = reply.split_at(cut);
            let send = async {
                near.write_all(first).await.unwrap();
                tokio::task::yield_now().await;
                near.write_all(second).await.unwrap();
                near.write_all(b"the client's").await.unwrap();
                drop(near);
            };
            let receive = async {
                let from = client::read_second_reply(&mut far).await.unwrap();
                let mut left = Vec::new();
                far.read_to_end(&mut left).await.unwrap();
                (from, left)
            };
            let ((), (from, left)) = tokio::join!(send, receive);
            assert_eq!(from, client.parse().unwrap());
            assert_eq!(left, b"the client's");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_reply_may_take_a_day_but_not_half_of_it() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let (reply, _) = SECOND_REPLIES[0];
    for begun in 1..reply.len() {
        let (mut near, mut far) = duplex(64);
        let waiting = tokio::spawn(async move { client::read_second_reply(&mut far).await });
        tokio::time::sleep(DAY).await;
        assert!(!waiting.is_finished());
        near.write_all(&reply[..begun]).await.unwrap();
        let stalled = tokio::time::Instant::now();
        let error = waiting.await.unwrap();
        assert!(matches!(error, Err(ExchangeError::Stalled)), "{error:?}");
        assert_eq!(stalled.elapsed(), Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_second_reply_that_never_comes_or_is_none_is_told_apart() {
    let (reply, _) = SECOND_REPLIES[0];
    for cut in 0..reply.len() {
        let error = client::read_second_reply(&mut &reply[..cut]).await;
        assert!(matches!(error, Err(ExchangeError::Closed)), "{error:?}");
    }
    for (bytes, expected) in [
        (&[5, 1, 0, 1, 0, 0, 0, 0, 0, 0][..], "general failure"),
        (b"HTTP/1.1 400", "version of the reply 0x48"),
        (&[5, 0, 0, 3, 1, b'a', 0, 1], "address type of the reply"),
    ] {
        let error = client::read_second_reply(&mut &*bytes).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
