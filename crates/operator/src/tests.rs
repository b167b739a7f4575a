//! Both ends, and rude ones.

use std::io::{Read, Write};
use std::os::unix::net::{self, UnixListener};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::*;

/// As many as are served at a time.
const CONNECTIONS: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Length(String),
    Count(u32),
    Much,
    Wait,
    Refuse,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Number(u64),
    Much(String),
}

struct Toy;

impl Conversation for Toy {
    type Request = Request;
    type Reply = Reply;
    const PROGRAM: &'static str = "toy";
    const NOBODY: &'static str = "no toy plays here";
    const START: &'static str = "start one";
    const ANSWER: Duration = Duration::from_secs(6);
}

struct Lab {
    path: PathBuf,
    server: Server,
    /// False again once an answer that waits has been dropped.
    waits: watch::Receiver<bool>,
    _directory: TempDir,
}

struct Waits(watch::Sender<bool>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

fn start() -> Lab {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("toy.sock");
    let (sender, waits) = watch::channel(false);
    let answer = move |request, replies: Replies<Reply>| {
        let sender = sender.clone();
        async move {
            Ok(match request {
                Request::Length(text) => Reply::Number(text.len() as u64),
                Request::Count(to) => {
                    for number in 0..to {
                        replies.send(Reply::Number(number.into()));
                    }
                    Reply::Number(to.into())
                }
                // More than any socket keeps for a reader.
                Request::Much => Reply::Much("long ".repeat(1 << 17)),
                Request::Wait => {
                    sender.send_replace(true);
                    let _waits = Waits(sender);
                    std::future::pending().await
                }
                Request::Refuse => return Err("not today".to_owned()),
            })
        }
    };
    Lab {
        server: Server::start::<Toy, _, _>(&path, answer).unwrap(),
        path,
        waits,
        _directory: directory,
    }
}

async fn is_served(path: &Path) {
    let path = path.to_owned();
    let request = Request::Length("abc".to_owned());
    let reply = spawn_blocking(move || ask::<Toy>(&path, &request));
    assert_eq!(reply.await.unwrap().unwrap(), Reply::Number(3));
}

async fn says(path: &Path, bytes: Vec<u8>) -> String {
    let path = path.to_owned();
    let said = spawn_blocking(move || {
        let mut stream = net::UnixStream::connect(path).unwrap();
        // The server may have enough before all is written.
        let _ = stream.write_all(&bytes);
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    });
    said.await.unwrap()
}

#[tokio::test]
async fn a_question_is_answered() {
    let lab = start();
    is_served(&lab.path).await;
    let path = lab.path.clone();
    let refused = spawn_blocking(move || ask::<Toy>(&path, &Request::Refuse));
    let error = refused.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "toy does not answer that: not today");
}

#[tokio::test]
async fn what_takes_a_while_comes_piece_by_piece() {
    let lab = start();
    let path = lab.path.clone();
    let heard = spawn_blocking(move || {
        let mut heard = Vec::new();
        listen::<Toy>(&path, &Request::Count(100), |reply| heard.push(reply)).unwrap();
        heard
    });
    let heard = heard.await.unwrap();
    assert_eq!(heard, (0..=100).map(Reply::Number).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_answer_ends_with_the_client_that_asked_for_it() {
    let mut lab = start();
    let mut stream = UnixStream::connect(&lab.path).await.unwrap();
    stream.write_all(b"\"wait\"\n").await.unwrap();
    lab.waits.wait_for(|waits| *waits).await.unwrap();
    // One that only has nothing more to say is there still, as with nc(1).
    stream.shutdown().await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(*lab.waits.borrow());
    drop(stream);
    lab.waits.wait_for(|waits| !*waits).await.unwrap();
}

#[tokio::test]
async fn what_is_no_request_is_told_so() {
    let lab = start();
    for bytes in [&b"\n"[..], b"hello\n", b"{\"count\":-3}\n", b"\xff\xfe\n"] {
        let said = says(&lab.path, bytes.to_vec()).await;
        assert!(said.contains("not a request"), "{said}");
    }
    is_served(&lab.path).await;
}

#[tokio::test]
async fn a_megabyte_is_not_read() {
    let lab = start();
    let said = says(&lab.path, vec![b' '; 1 << 20]).await;
    // Where the rest was still on its way the system may say it with a reset.
    assert!(
        said.is_empty() || said.contains("at most 16384 bytes"),
        "{said}"
    );
    is_served(&lab.path).await;
}

#[tokio::test]
async fn the_silent_are_closed_and_others_served() {
    let lab = start();
    let silent: Vec<_> = (0..2 * CONNECTIONS)
        .map(|_| net::UnixStream::connect(&lab.path).unwrap())
        .collect();
    is_served(&lab.path).await;
    drop(silent);
}

#[tokio::test]
async fn who_never_reads_holds_a_seat_for_a_while_only() {
    let lab = start();
    let deaf: Vec<_> = (0..2 * CONNECTIONS)
        .map(|_| {
            let mut stream = net::UnixStream::connect(&lab.path).unwrap();
            stream.write_all(b"\"much\"\n").unwrap();
            stream
        })
        .collect();
    is_served(&lab.path).await;
    drop(deaf);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_given_up() {
    let lab = start();
    let mut stream = UnixStream::connect(&lab.path).await.unwrap();
    stream.write_all(b"\"wait\"\n").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("no answer in time"), "{said}");
}

#[tokio::test]
async fn with_the_server_ends_all_that_is_open() {
    let lab = start();
    let mut stream = UnixStream::connect(&lab.path).await.unwrap();
    stream.write_all(b"\"wait\"\n").await.unwrap();
    drop(lab.server);
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said).await;
    assert_eq!(said, "");
    assert!(!lab.path.exists());
}

#[test]
fn nobody_there_is_told_in_a_clear_word() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("toy.sock");
    for _ in 0..2 {
        let error = ask::<Toy>(&socket, &Request::Much).unwrap_err();
        assert!(matches!(error, AskError::Nobody { .. }), "{error}");
        assert!(error.to_string().contains("no toy plays here"));
        // Then one that has been killed.
        drop(UnixListener::bind(&socket));
    }
}

#[test]
fn another_program_is_none_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("toy.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let other = std::thread::spawn(move || {
        for said in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = [0; 7];
            stream.read_exact(&mut line).unwrap();
            stream.write_all(said).unwrap();
        }
    });
    let error = ask::<Toy>(&socket, &Request::Much).unwrap_err();
    assert!(matches!(error, AskError::Silent { .. }), "{error}");
    let error = ask::<Toy>(&socket, &Request::Much).unwrap_err();
    assert!(matches!(error, AskError::Reply { .. }), "{error}");
    other.join().unwrap();
}
