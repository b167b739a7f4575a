//! What reads the stream between the halves, given an adversary's bytes in whatever pieces: framing
//! and SOCKS5, each against a reading of all bytes at once.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frame;
use crate::socks::{Command, Reply, client, server};

/// A peer that says what a fuzzer has it say, and hears everything.
#[derive(Debug)]
pub struct Script<'a> {
    said: &'a [u8],
    /// Bytes that a read gives at most.
    piece: usize,
    /// Whether each read has to be waited for once.
    hesitates: bool,
    is_awaited: bool,
    /// What was written to it.
    pub heard: Vec<u8>,
}

impl<'a> Script<'a> {
    /// The first byte says in what pieces the others come; then the stream ends.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        let (how, said) = data.split_first().unwrap_or((&0, &[]));
        Self {
            said,
            piece: match how & 0x7f {
                0 => usize::MAX,
                piece => piece.into(),
            },
            hesitates: how & 0x80 != 0,
            is_awaited: false,
            heard: Vec::new(),
        }
    }

    /// What has not been read.
    #[must_use]
    pub fn left(&self) -> &'a [u8] {
        self.said
    }
}

impl AsyncRead for Script<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.hesitates {
            self.is_awaited = !self.is_awaited;
            if self.is_awaited {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let size = self.said.len().min(self.piece).min(room.remaining());
        let (piece, rest) = self.said.split_at(size);
        room.put_slice(piece);
        self.said = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs what needs a runtime, one of each thread's own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without a driver for sockets");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Both readers of frames give what stands in the bytes, and tell a frame that is cut.
pub fn frames(data: &[u8]) {
    let (messages, is_whole) = split(data.get(1..).unwrap_or_default());
    block_on(async {
        let mut many = frame::Reader::new(Script::new(data));
        for message in &messages {
            let read = many.next().await.expect("a whole frame");
            assert_eq!(read, Some(*message));
        }
        assert_ended(many.next().await.map(|end| end.is_none()), is_whole);

        let mut stream = Script::new(data);
        let mut one = Vec::new();
        let mut written = Vec::new();
        for message in &messages {
            let read = frame::read(&mut stream, &mut one).await;
            assert_eq!((read.ok(), &*one), (Some(Some(())), *message));
            frame::encode(message, &mut written).expect("no longer than a frame");
        }
        assert!(data.get(1..).unwrap_or_default().starts_with(&written));
        let end = frame::read(&mut stream, &mut one).await;
        assert_ended(end.map(|end| end.is_none()), is_whole);
    });
}

/// The messages in framed bytes, and whether the last is whole.
fn split(mut bytes: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let Some((message, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into())
        else {
            break;
        };
        messages.push(message);
        bytes = rest;
    }
    (messages, bytes.is_empty())
}

fn assert_ended(end: io::Result<bool>, is_whole: bool) {
    match end {
        Ok(is_end) => assert!(is_end && is_whole),
        Err(error) => assert!(!is_whole && error.kind() == io::ErrorKind::UnexpectedEof),
    }
}

/// The relay's side: what is understood of a request, what is read of it, what is said to it.
pub fn socks_server(data: &[u8]) {
    let mut stream = Script::new(data);
    let said = stream.left();
    let understood = block_on(server::read_request(&mut stream));
    let used = said.len() - stream.left().len();
    let expected = request(said);
    match (&understood, expected) {
        // Not a byte more than the request's: what follows is for the command.
        (Ok(command), Some((expected, length))) => {
            assert_eq!((*command, used), (expected, length));
            asked_by_ours(*command);
        }
        (Err(error), None) => assert_ne!(error.reply(), Some(Reply::Succeeded)),
        other => panic!("{other:?}"),
    }
    let methods: [&[u8]; 3] = [&[], &[5, 0], &[5, 0xff]];
    assert!(methods.contains(&&*stream.heard), "{:?}", stream.heard);
    assert!(understood.is_err() || stream.heard == [5, 0]);
}

/// What our enclave sends for this command is read as this command.
fn asked_by_ours(command: Command) {
    let mut parent = Script::new(&[0, 5, 0, 5, 0, 0, 1, 192, 0, 2, 1, 0, 53]);
    let bound = block_on(client::request(&mut parent, command));
    assert_eq!(
        bound.ok(),
        Some("192.0.2.1:53".parse().expect("an address"))
    );
    assert_eq!(request(&parent.heard), Some((command, parent.heard.len())));
}

/// Greeting and request at the start of `bytes`, and their length.
fn request(bytes: &[u8]) -> Option<(Command, usize)> {
    let [5, methods, rest @ ..] = bytes else {
        return None;
    };
    let (offered, rest) = rest.split_at_checked(usize::from(*methods))?;
    if *methods > 16 || !offered.contains(&0) {
        return None;
    }
    let [5, command, 0, rest @ ..] = rest else {
        return None;
    };
    let (to, rest) = address(rest)?;
    let command = match command {
        1 => Command::Connect(to),
        2 => Command::Bind(to),
        0xd0 => Command::Dns(to),
        0xd1 => Command::ResolvConf,
        0xd2 => Command::Report,
        _ => return None,
    };
    Some((command, bytes.len() - rest.len()))
}

/// ATYP, address and port at the start of `bytes`, and what follows.
fn address(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (ip, rest): (IpAddr, _) = match bytes.split_first()? {
        (1, rest) => rest
            .split_first_chunk::<4>()
            .map(|(ip, rest)| ((*ip).into(), rest))?,
        (4, rest) => rest
            .split_first_chunk::<16>()
            .map(|(ip, rest)| ((*ip).into(), rest))?,
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk()?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), rest))
}

/// The enclave's side: what is understood of the parent's replies, and what is read of them.
pub fn socks_client(data: &[u8]) {
    let mut stream = Script::new(data);
    let said = stream.left();
    let asked = Command::Bind("[::]:443".parse().expect("an address"));
    let bound = block_on(client::request(&mut stream, asked));
    let used = said.len() - stream.left().len();
    let expected = said.strip_prefix(&[5, 0]).and_then(reply);
    assert_eq!(
        bound.as_ref().ok(),
        expected.as_ref().map(|(bound, _)| bound)
    );
    let Some((_, rest)) = expected else {
        return assert!(used <= 2 + 22);
    };
    assert_eq!(stream.left(), rest);
    let client = block_on(client::read_second_reply(&mut stream));
    let expected = reply(rest).map(|(client, rest)| {
        assert_eq!(stream.left(), rest);
        SocketAddr::new(client.ip().to_canonical(), client.port())
    });
    assert_eq!(client.ok(), expected);
}

/// A reply that says "succeeded" at the start of `bytes`, and what follows.
fn reply(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    match bytes {
        [5, 0, _, rest @ ..] => address(rest),
        _ => None,
    }
}
