//! Runs in the enclave that an operator on the parent asks for: our own program again, as a child.
//!
//! A child gets no environment, no descriptor but its output, no privilege, and words that are all our
//! own. It is killed at its deadline, when it prints too much, when the relay goes away or says so, and
//! with proxify. After a run rests what it took, so that no parent keeps a processor busy for more than
//! half of the time.
//!
//! A thread of its own starts it and waits for it. Children belong to the thread that forked them:
//! `App::reap` waits for those of the main thread alone, as waitpid(2) has it with __WNOTHREAD, and a child
//! is killed with the thread that it belongs to (PR_SET_PDEATHSIG).

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use report::{FromEnclave, MAX_OUTPUT, MAX_PIECE, RUN, Stream};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// This program, whatever has become of its file.
const PROGRAM: &str = "/proc/self/exe";

/// What waits to be written to the relay; then the child waits.
const WAITING: usize = 4;

/// The run that is under way, if one is, and when the next may begin.
#[derive(Debug, Default)]
pub(super) struct Runs {
    current: Option<Current>,
    /// One that the relay has stopped, until it is told so.
    stopped: Option<u64>,
    rested: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    id: u64,
    began: Instant,
    said: mpsc::Receiver<FromEnclave>,
    task: JoinHandle<()>,
}

impl Drop for Current {
    /// The child is killed with the task.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Runs {
    /// Begins a run of this program with these words, when it may.
    ///
    /// # Errors
    ///
    /// Another one is not over.
    pub(super) fn begin(&mut self, id: u64, words: Vec<String>) -> Result<(), String> {
        if self.current.is_some() {
            return Err("another run is not over".to_owned());
        }
        let now = Instant::now();
        let began = self.rested.map_or(now, |rested| rested.max(now));
        let (sender, said) = mpsc::channel(WAITING);
        let task = tokio::spawn(async move {
            sleep_until(began).await;
            let last = match timeout(RUN, run(id, words, &sender)).await {
                Ok(Ok(status)) => FromEnclave::Ended {
                    id,
                    code: code(status),
                },
                Ok(Err(error)) => FromEnclave::Refused {
                    id,
                    reason: error.to_string(),
                },
                Err(_) => FromEnclave::Refused {
                    id,
                    reason: format!("it took longer than {} s", RUN.as_secs()),
                },
            };
            // Who does not listen any more has dropped this task.
            let _ = sender.send(last).await;
        });
        self.current = Some(Current {
            id,
            began,
            said,
            task,
        });
        Ok(())
    }

    /// Ends the run of this number, if it is not over.
    pub(super) fn stop(&mut self, id: u64) {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.id == id)
        {
            self.end();
            self.stopped = Some(id);
        }
    }

    /// Ends what runs.
    pub(super) fn end(&mut self) {
        self.stopped = None;
        if let Some(current) = self.current.take() {
            // One that was stopped before its time has not shortened the rest that it waited for.
            let rested = Instant::now() + current.began.elapsed();
            self.rested = self.rested.max(Some(rested));
        }
    }

    /// What comes of the run, if there is one.
    pub(super) async fn said(&mut self) -> FromEnclave {
        if let Some(id) = self.stopped.take() {
            let reason = "it was stopped".to_owned();
            return FromEnclave::Refused { id, reason };
        }
        let Some(current) = &mut self.current else {
            return std::future::pending().await;
        };
        let id = current.id;
        match current.said.recv().await {
            Some(said @ FromEnclave::Output { .. }) => said,
            last => {
                self.end();
                let reason = "it has failed".to_owned();
                last.unwrap_or(FromEnclave::Refused { id, reason })
            }
        }
    }
}

/// As a shell has it.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

async fn run(
    id: u64,
    words: Vec<String>,
    said: &mpsc::Sender<FromEnclave>,
) -> Result<ExitStatus, RunError> {
    let (started, start) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let thread = std::thread::Builder::new().name("run".to_owned());
    thread
        .spawn(move || wait(&words, started, ended))
        .map_err(RunError::Start)?;
    let lost = |_| RunError::Start(io::Error::other("its thread ended"));
    let Started {
        out,
        err,
        running: _running,
    } = start.await.map_err(lost)?.map_err(RunError::Start)?;
    let left = Mutex::new(MAX_OUTPUT);
    tokio::try_join!(
        pass_on(id, Stream::Out, out, said, &left),
        pass_on(id, Stream::Err, err, said, &left),
    )?;
    end.await.map_err(lost)?.map_err(RunError::Start)
}

/// Hands over what the child prints as it comes, in whole characters.
async fn pass_on(
    id: u64,
    stream: Stream,
    pipe: OwnedFd,
    said: &mpsc::Sender<FromEnclave>,
    left: &Mutex<usize>,
) -> Result<(), RunError> {
    let mut pipe = Receiver::from_owned_fd(pipe).map_err(RunError::Start)?;
    let mut bytes = Vec::with_capacity(MAX_PIECE);
    loop {
        // What is left of the last piece is less than a character.
        let room = MAX_PIECE.saturating_sub(bytes.len());
        let mut bounded = (&mut pipe).take(room as u64);
        let read = bounded
            .read_buf(&mut bytes)
            .await
            .map_err(RunError::Start)?;
        let whole = match read {
            0 => bytes.len(),
            _ => whole(&bytes),
        };
        {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            *left = left.checked_sub(read).ok_or(RunError::Output)?;
        }
        let rest = bytes.split_off(whole);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        bytes = rest;
        if !text.is_empty() {
            let piece = FromEnclave::Output { id, stream, text };
            // Who does not listen any more has dropped this task.
            let _ = said.send(piece).await;
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Bytes up to a character that has only begun.
fn whole(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

/// A child that runs, until it is dropped.
#[derive(Debug)]
struct Started {
    out: OwnedFd,
    err: OwnedFd,
    running: Running,
}

/// Kills the child when it is dropped. None once it has ended, and its number may be another's.
#[derive(Clone, Debug)]
struct Pids(Arc<Mutex<Option<Pid>>>);

#[derive(Debug)]
struct Running(Pids);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *pid {
            // One that has just ended is waited for elsewhere.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// The thread: starts the child and waits for its end.
fn wait(
    words: &[String],
    started: oneshot::Sender<io::Result<Started>>,
    ended: oneshot::Sender<io::Result<ExitStatus>>,
) {
    let (mut child, start) = match start(words) {
        Ok(begun) => begun,
        Err(error) => return drop(started.send(Err(error))),
    };
    let pids = start.running.0.clone();
    // If nobody waits for it any more it is killed here.
    drop(started.send(Ok(start)));
    let pid = Pid::from_raw(child.id().cast_signed());
    // It keeps its number until it is reaped.
    while let Err(Errno::EINTR) = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
    {
    }
    *pids.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let _ = ended.send(child.wait());
}

fn start(words: &[String]) -> io::Result<(Child, Started)> {
    privileges::keep(&[]).map_err(io::Error::other)?;
    let proxify = std::process::id();
    let inherited = inherited()?;
    let mut command = Command::new(PROGRAM);
    command
        .arg0("proxify")
        .args(words)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A terminal's ^C is for APP.
        .process_group(0);
    // SAFETY: only system calls are made between fork and exec.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            // If proxify was killed before that, nobody would send it.
            if parent_id() != proxify {
                return Err(io::Error::from(Errno::ESRCH));
            }
            for descriptor in &inherited {
                libc::close(*descriptor);
            }
            Ok(SigSet::empty().thread_set_mask()?)
        });
    }
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let running = Running(Pids(Arc::new(Mutex::new(Some(pid)))));
    let missing = || io::Error::other("it has no output");
    let started = Started {
        out: child.stdout.take().ok_or_else(missing)?.into(),
        err: child.stderr.take().ok_or_else(missing)?.into(),
        running,
    };
    Ok((child, started))
}

/// Descriptors that proxify was started with and that APP has too: all others are closed by exec.
fn inherited() -> io::Result<Vec<RawFd>> {
    const OUTPUT: RawFd = 2;
    let mut inherited = Vec::new();
    for entry in std::fs::read_dir(Path::new("/proc/self/fd"))? {
        let number = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let number = number.filter(|number| *number > OUTPUT);
        inherited.extend(number.filter(|number| is_inherited(*number)));
    }
    Ok(inherited)
}

fn is_inherited(number: RawFd) -> bool {
    // SAFETY: a flag is read; of a number that is not open, an error.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Why a run has no end.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("it cannot be run: {0}")]
    Start(io::Error),
    #[error("it printed more than {} MiB", MAX_OUTPUT >> 20)]
    Output,
}

#[cfg(test)]
mod tests;
