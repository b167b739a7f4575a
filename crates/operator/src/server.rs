//! The end of the socket that answers.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};
use tracing::debug;

use crate::socket::{Place, SocketError};
use crate::{Conversation, Refusal};

/// Connections at a time; those beyond it wait in the kernel. An `explain` asks for two types at once.
const CONNECTIONS: usize = 8;

/// Bytes of a request: 32 names of 253 characters.
const MAX_REQUEST: usize = 16 * 1024;

/// Bytes read at a time: most requests.
const CHUNK: usize = 1024;

/// How long a request may take to come, and a reply to be taken: both ends are one machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked whether the client is still there, while an answer takes its time.
const LOOK: Duration = Duration::from_millis(250);

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
    /// Answers requests on the socket at `path` by `answer`, in a task of the current tokio runtime; what
    /// that returns is the last reply, or why there is none. When the client goes, `answer` is dropped. The caller has seen to
    /// it that nobody else listens: a socket that is there is replaced.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start<C, A, F>(path: &Path, answer: A) -> Result<Self, SocketError>
    where
        C: Conversation,
        A: Fn(C::Request, Replies<C::Reply>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<C::Reply, String>> + Send + 'static,
    {
        let (listener, place) = Place::bind(path)?;
        Ok(Self {
            task: tokio::spawn(serve::<C, A, F>(listener, answer)),
            _place: place,
        })
    }
}

/// Takes the replies before the last.
#[derive(Debug)]
pub struct Replies<R>(mpsc::UnboundedSender<R>);

impl<R> Replies<R> {
    /// Sends one. They are kept until the client takes them: how many there are, and how long, is for
    /// who sends them to bound.
    pub fn send(&self, reply: R) {
        // A client that has gone is seen to elsewhere.
        let _ = self.0.send(reply);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<C, A, F>(listener: UnixListener, answer: A)
where
    C: Conversation,
    A: Fn(C::Request, Replies<C::Reply>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<C::Reply, String>> + Send + 'static,
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
                    // Who does not take it in time has gone.
                    let _ = connection::<C, A, F>(stream, answer).await;
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

async fn connection<C, A, F>(mut stream: UnixStream, answer: A) -> io::Result<()>
where
    C: Conversation,
    A: Fn(C::Request, Replies<C::Reply>) -> F,
    F: Future<Output = Result<C::Reply, String>>,
{
    // The file's mode says so already, unless somebody has changed it.
    let is_allowed = |uid: u32| uid == ROOT || uid == geteuid().as_raw();
    let last = match stream.peer_cred() {
        Ok(peer) if is_allowed(peer.uid()) => match timeout(PATIENCE, request(&mut stream)).await {
            Ok(Ok(request)) => {
                let (replies, said) = mpsc::unbounded_channel();
                let answer = answer(request, Replies(replies));
                match converse::<C>(&mut stream, answer, said).await? {
                    Some(last) => last,
                    None => return Ok(()),
                }
            }
            Ok(Err(reason)) => Err(reason),
            Err(_) => return Ok(()),
        },
        _ => Err(format!("this is for root and {}'s own user", C::PROGRAM)),
    };
    let last = match last {
        Ok(reply) => line(&reply),
        Err(refused) => line(&Refusal { refused }),
    };
    write(&mut stream, last).await?;
    timeout(PATIENCE, stream.shutdown()).await?
}

/// Passes on what comes before the last reply, which is given; none if the client has gone.
async fn converse<C: Conversation>(
    stream: &mut UnixStream,
    answer: impl Future<Output = Result<C::Reply, String>>,
    mut said: mpsc::UnboundedReceiver<C::Reply>,
) -> io::Result<Option<Result<C::Reply, String>>> {
    let mut answer = pin!(timeout(C::ANSWER, answer));
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            // What has been said before the last goes out before it.
            biased;
            Some(reply) = said.recv() => write(stream, line(&reply)).await?,
            last = &mut answer => {
                while let Ok(reply) = said.try_recv() {
                    write(stream, line(&reply)).await?;
                }
                let late = |_| Err("there was no answer in time".to_owned());
                return Ok(Some(last.unwrap_or_else(late)));
            }
            _ = look.tick() => if has_gone(stream) {
                return Ok(None);
            },
        }
    }
}

/// Whether the client has closed its end. One that has only said all that it has to say is there still.
fn has_gone(stream: &UnixStream) -> bool {
    let mut ends = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let is_polled = poll(&mut ends, PollTimeout::ZERO).is_ok();
    let seen = ends.iter().filter_map(PollFd::revents);
    is_polled
        && seen
            .into_iter()
            .any(|seen| seen.contains(PollFlags::POLLHUP))
}

async fn write(stream: &mut UnixStream, line: io::Result<Vec<u8>>) -> io::Result<()> {
    timeout(PATIENCE, stream.write_all(&line?)).await?
}

fn line(reply: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(line)
}

/// One line.
async fn request<R: DeserializeOwned>(stream: &mut UnixStream) -> Result<R, String> {
    let mut line = Vec::with_capacity(CHUNK);
    while !line.contains(&b'\n') {
        if line.len() >= MAX_REQUEST {
            return Err(format!("a request has at most {MAX_REQUEST} bytes"));
        }
        let mut more = [0; CHUNK];
        match stream.read(&mut more).await {
            Ok(read) if read > 0 => line.extend_from_slice(more.get(..read).unwrap_or_default()),
            Ok(_) => break,
            Err(error) => return Err(format!("the request was not read: {error}")),
        }
    }
    serde_json::from_slice(&line).map_err(|error| format!("not a request: {error}"))
}
