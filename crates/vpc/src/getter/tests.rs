//! Over an in-memory stream, in paused time.

use std::time::Duration;

use tokio::io::{AsyncWriteExt, duplex, split};
use tokio::time::timeout;

use super::*;
use crate::fake_parent::{Answer, grpc};

const TEXT: &[u8] = b"nameserver 10.2.0.2\n";

/// What comes of a server that answers so.
async fn answered(answer: &Answer) -> Result<Vec<u8>, String> {
    let (ours, theirs) = duplex(64 * 1024);
    let serve = grpc(theirs, answer, |request| {
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), METHOD);
        for (name, value) in [("te", "trailers"), ("content-type", GRPC)] {
            assert_eq!(request.headers()[name], value);
        }
    });
    let asked = timeout(Duration::from_secs(60), resolv_conf(ours));
    let (asked, ()) = tokio::join!(asked, serve);
    asked
        .expect("an end within the step")
        .map_err(|error| error.to_string())
}

/// Reads a client's connection until its whole request is there.
async fn request(reader: &mut (impl AsyncRead + Unpin)) {
    let end = frame(DATA, 1, 1, NOTHING);
    let mut bytes = Vec::new();
    while !bytes.windows(end.len()).any(|window| window == end) {
        assert_ne!(reader.read_buf(&mut bytes).await.unwrap(), 0);
    }
}

/// What comes of one that answers a request with these bytes, and then nothing, or an end.
async fn said(bytes: &[u8], ends: bool) -> Result<Vec<u8>, String> {
    let (ours, theirs) = duplex(64 * 1024);
    let (mut reader, mut writer) = split(theirs);
    let speak = async {
        request(&mut reader).await;
        let _ = writer.write_all(bytes).await;
        if ends {
            writer.shutdown().await.unwrap();
        }
    };
    let asked = timeout(Duration::from_secs(1), resolv_conf(ours));
    match tokio::join!(asked, speak).0 {
        Ok(asked) => asked.map_err(|error| error.to_string()),
        Err(_) => Err("hung".to_owned()),
    }
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` and `content-type: application/grpc` (RFC 7541 §6).
fn head() -> Vec<u8> {
    [&[0x88, 0x0F, 0x10, 16], GRPC.as_bytes()].concat()
}

/// A message whose field 1 has this text.
fn with(change: impl FnOnce(&mut Answer)) -> Answer {
    let mut answer = Answer::new(TEXT);
    change(&mut answer);
    answer
}

#[tokio::test(start_paused = true)]
async fn the_text_is_that_of_the_one_message() {
    assert_eq!(answered(&Answer::new(TEXT)).await.as_deref(), Ok(TEXT));
    let by_byte = with(|answer| {
        answer.data = answer.data[0].iter().map(|&byte| vec![byte]).collect();
    });
    assert_eq!(answered(&by_byte).await.as_deref(), Ok(TEXT));
    let codec = with(|answer| answer.headers[0].1 = "application/grpc+proto".to_owned());
    assert_eq!(answered(&codec).await.as_deref(), Ok(TEXT));
    let longest = [b'#'; MAX_TEXT - 1];
    assert_eq!(
        answered(&Answer::new(&longest)).await.as_deref(),
        Ok(&longest[..])
    );
}

#[tokio::test(start_paused = true)]
async fn of_the_message_one_field_is_read_in_whatever_encoding_its_text_is() {
    for (message, text) in [
        (&b""[..], &b""[..]),
        (b"\x0A\x02ab", b"ab"),
        (b"\x0A\x02ab\x0A\x01c", b"c"),
        (b"\x10\x07\x0A\x02ab\x1A\x01x", b"ab"),
        (b"\x0A\x03\xFFa\0", b"\xFFa\0"),
    ] {
        let answer = with(|answer| answer.data = vec![Answer::prefixed(0, message)]);
        assert_eq!(answered(&answer).await.as_deref(), Ok(text), "{message:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn everything_else_is_an_error_that_says_what_came() {
    let message = Answer::new(TEXT).data.concat();
    let trailers = |status: &str, message: &str| {
        vec![
            ("grpc-status", status.to_owned()),
            ("grpc-message", message.to_owned()),
        ]
    };
    for (answer, why) in [
        (with(|it| it.status = 404), "the status is 404"),
        (with(|it| it.status = 302), "the status is 302"),
        (with(|it| it.headers.clear()), "content type is ``"),
        (
            with(|it| it.headers[0].1 = "text/html".to_owned()),
            "content type is `text/html`, not application/grpc",
        ),
        (
            with(|it| {
                it.data.clear();
                it.headers.extend(trailers("12", "no%20such method"));
                it.trailers.clear();
            }),
            "gRPC status 12: `no%20such method`",
        ),
        (
            with(|it| {
                it.data.clear();
                it.trailers = trailers("5", "na\u{e9}");
            }),
            "gRPC status 5: `na\\u{e9}`",
        ),
        (
            with(|it| it.trailers = trailers("14", "")),
            "gRPC status 14: ``",
        ),
        (
            with(|it| it.trailers[0].1 = "00".to_owned()),
            "gRPC status 00",
        ),
        (
            with(|it| {
                it.trailers.clear();
            }),
            "without a gRPC status",
        ),
        (with(|it| it.data.clear()), "without a message"),
        (
            with(|it| {
                it.data.clear();
                it.trailers.clear();
            }),
            "without a gRPC status",
        ),
        (with(|it| it.data[0][0] = 1), "compressed"),
        (with(|it| it.data[0][0] = 0xFF), "compressed"),
        (
            with(|it| it.data = vec![b"\0\0\0".to_vec()]),
            "ended early, after 3 bytes",
        ),
        (
            with(|it| it.data[0].truncate(12)),
            "ended early, after 12 bytes",
        ),
        (with(|it| it.data.push(vec![0])), "more than one message"),
        (
            with(|it| it.data.push(message.clone())),
            "more than one message",
        ),
        (
            with(|it| it.data = vec![Answer::prefixed(0, &[b'a'; MAX_MESSAGE + 1])]),
            "16393 bytes, above the limit of 16392",
        ),
        (
            with(|it| it.data = vec![b"\0\xFF\xFF\xFF\xFF".to_vec()]),
            "4294967295 bytes, above",
        ),
        (
            with(|it| it.data = vec![Answer::prefixed(0, b"\x0A\x7Fshort")]),
            "cannot be read",
        ),
        (
            with(|it| it.data = vec![Answer::prefixed(0, b"\x08\x01")]),
            "cannot be read",
        ),
        (
            with(|it| it.data = vec![Answer::prefixed(0, &[0x0B; 500])]),
            "cannot be read",
        ),
        (
            with(|it| it.headers.push(("x-long", "a".repeat(8 * 1024)))),
            "HTTP/2 with 127.0.0.1:1600 failed",
        ),
    ] {
        let error = answered(&answer).await.unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
        assert!(error.len() < 300, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http2_or_ends_in_the_middle_is_an_error_and_its_text_is_not_shown() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let long = "nameserver 192.0.2.66\n".repeat(500);
    let goaway = [&[0, 0, 0, 0, 0, 0, 0, 11], long.as_bytes()].concat();
    let granted = [settings.clone(), frame(HEADERS, END_HEADERS, 1, &head())].concat();
    let well = [
        frame(HEADERS, END_HEADERS, 1, &head()),
        frame(DATA, 0, 1, &Answer::new(TEXT).data.concat()),
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            b"\x00\x0Bgrpc-status\x010",
        ),
    ]
    .concat();
    let plain = [settings.clone(), well.clone()].concat();
    assert_eq!(said(&plain, true).await.as_deref(), Ok(TEXT));
    // GET http://a/, which was declined before.
    let pushed = frame(
        PUSH_PROMISE,
        END_HEADERS,
        1,
        b"\0\0\0\x02\x82\x86\x84\x41\x01a",
    );
    for (bytes, why) in [
        (Vec::new(), "HTTP/2"),
        (settings.clone(), "HTTP/2"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "HTTP/2"),
        (b"nameserver 192.0.2.66\n".repeat(9), "HTTP/2"),
        (
            [settings.clone(), frame(GOAWAY, 0, 0, &goaway)].concat(),
            "excessive load",
        ),
        (
            [settings.clone(), frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])].concat(),
            "refused",
        ),
        (granted.clone(), "HTTP/2"),
        (
            [granted.clone(), frame(DATA, 0, 1, b"\0\0\0\0\x09\x0A")].concat(),
            "HTTP/2",
        ),
        ([settings.clone(), pushed, well].concat(), "HTTP/2"),
    ] {
        let error = said(&bytes, true).await.unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
        assert!(
            !error.contains("192.0.2.66") && error.len() < 300,
            "{error}"
        );
    }
    assert_eq!(said(&granted, false).await, Err("hung".to_owned()));
}

/// However much a server sends, and whatever it is, so much is read.
#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_cut() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let granted = [settings.clone(), frame(HEADERS, END_HEADERS, 1, &head())].concat();
    let unfinished = [settings.clone(), frame(HEADERS, 0, 1, &head())].concat();
    for (start, forever) in [
        (&settings, frame(PING, 0, 0, &[0; 8])),
        (&settings, settings.clone()),
        (&granted, frame(DATA, 0, 1, &[])),
        (&granted, frame(DATA, 8, 1, &[9; 10])),
        (&unfinished, frame(CONTINUATION, 0, 1, &[])),
    ] {
        let (ours, theirs) = duplex(512);
        let (mut reader, mut writer) = split(theirs);
        let mut sent = 0;
        let flood = async {
            request(&mut reader).await;
            // Its answers to pings and settings are not waited for.
            tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
            writer.write_all(start).await.unwrap();
            while writer.write_all(&forever).await.is_ok() {
                sent += forever.len();
            }
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            result = resolv_conf(ours) => result.unwrap_err(),
            () = flood => unreachable!("it never ends"),
        };
        assert!(matches!(error, GetterError::Http2 { .. }), "{error}");
        assert!(sent < 80 * 1024, "{sent}");
    }
}
