//! The end of the socket that answers.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::protocol::{Reply, Request};
use crate::socket::{Place, SocketError};

/// Connections at a time; those beyond it wait in the kernel. An `explain` asks for two types at once.
const CONNECTIONS: usize = 8;

/// Bytes of a request: a name has 253 characters.
const MAX_REQUEST: usize = 1024;

/// How long a request may take to come, and a reply to be taken: both ends are one machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer may take: a lookup ends after 4 s.
const ANSWER: Duration = Duration::from_secs(6);

/// Rest when the system has no descriptor or memory for a connection.
const REST: Duration = Duration::from_millis(100);

/// Root, who may ask everything.
const ROOT: u32 = 0;

/// Answers on the socket until it is dropped.
#[derive(Debug)]
pub struct Server {
    task: JoinHandle<()>,
    _place: Place,
}

impl Server {
    /// Answers requests on the socket at `path` by `answer`, in a task of the current tokio runtime.
    /// The caller has seen to it that nobody else does: a socket that is there is replaced.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start<A, F>(path: &Path, answer: A) -> Result<Self, SocketError>
    where
        A: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let (listener, place) = Place::bind(path)?;
        Ok(Self {
            task: tokio::spawn(serve(listener, answer)),
            _place: place,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<A, F>(listener: UnixListener, answer: A)
where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    // With this task end all of its connections.
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        // It is never closed.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = answer.clone();
                tasks.spawn(async move {
                    connection(stream, answer).await;
                    drop(seat);
                });
            }
            Err(error) => {
                debug!(%error, "the control socket");
                sleep(REST).await;
            }
        }
    }
}

async fn connection<A, F>(mut stream: UnixStream, answer: A)
where
    A: Fn(Request) -> F,
    F: Future<Output = Reply>,
{
    // The file's mode says so already, unless somebody has changed it.
    let is_allowed = |uid: u32| uid == ROOT || uid == geteuid().as_raw();
    let reply = match stream.peer_cred() {
        Ok(peer) if is_allowed(peer.uid()) => match timeout(PATIENCE, request(&mut stream)).await {
            Ok(Ok(request)) => match timeout(ANSWER, answer(request)).await {
                Ok(reply) => reply,
                Err(_) => Reply::Refused("there was no answer in time".to_owned()),
            },
            Ok(Err(reason)) => Reply::Refused(reason),
            Err(_) => return,
        },
        _ => Reply::Refused("this is for root and proxify's own user".to_owned()),
    };
    let Ok(mut line) = serde_json::to_vec(&reply) else {
        return;
    };
    line.push(b'\n');
    // Who does not take it in time has gone.
    let _ = timeout(PATIENCE, async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    })
    .await;
}

/// One line.
async fn request(stream: &mut UnixStream) -> Result<Request, String> {
    let mut line = Vec::with_capacity(MAX_REQUEST);
    while !line.contains(&b'\n') {
        if line.len() >= MAX_REQUEST {
            return Err(format!("a request has at most {MAX_REQUEST} bytes"));
        }
        let mut more = [0; MAX_REQUEST];
        match stream.read(&mut more).await {
            Ok(read) if read > 0 => line.extend_from_slice(more.get(..read).unwrap_or_default()),
            Ok(_) => break,
            Err(error) => return Err(format!("the request was not read: {error}")),
        }
    }
    serde_json::from_slice(&line).map_err(|error| format!("not a request: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net;
    use std::path::PathBuf;

    use tempfile::TempDir;
    use tokio::task::spawn_blocking;

    use super::*;
    use crate::client::ask;

    struct Lab {
        path: PathBuf,
        server: Server,
        _directory: TempDir,
    }

    fn start() -> Lab {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("proxify.sock");
        let server = Server::start(&path, async |request| match request {
            Request::Flush { name: Some(name) } => Reply::Flushed {
                entries: name.len() as u64,
            },
            Request::Flush { name: None } => std::future::pending().await,
            // More than any socket keeps for a reader.
            _ => Reply::Refused("long ".repeat(1 << 20)),
        });
        Lab {
            path,
            server: server.unwrap(),
            _directory: directory,
        }
    }

    fn flush() -> Request {
        Request::Flush {
            name: Some("abc".to_owned()),
        }
    }

    async fn is_served(path: &Path) {
        let path = path.to_owned();
        let reply = spawn_blocking(move || ask(&path, &flush())).await.unwrap();
        assert_eq!(reply.unwrap(), Reply::Flushed { entries: 3 });
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
    }

    #[tokio::test]
    async fn what_is_no_request_is_told_so() {
        let lab = start();
        for bytes in [&b"\n"[..], b"hello\n", b"{\"flush\":3}\n", b"\xff\xfe\n"] {
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
            said.is_empty() || said.contains("at most 1024 bytes"),
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
                stream.write_all(b"\"status\"\n").unwrap();
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
        stream.write_all(b"{\"flush\":{}}\n").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.contains("no answer in time"), "{said}");
    }

    #[tokio::test]
    async fn with_the_server_ends_all_that_is_open() {
        let lab = start();
        let mut stream = UnixStream::connect(&lab.path).await.unwrap();
        stream.write_all(b"{\"flush\":{}}\n").await.unwrap();
        drop(lab.server);
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said).await;
        assert_eq!(said, "");
        assert!(!lab.path.exists());
    }
}
