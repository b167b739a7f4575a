//! APP: a child that does not notice that it is one.
//!
//! It has the environment, descriptors, signal mask and controlling terminal that proxify was
//! started with. Signals sent to proxify reach it, killing proxify kills it, as when the old
//! `proxify` became APP by exec, and proxify ends with its status.
//!
//! All waiting is done in one place, [`App::reap`], for every child of the main thread: as PID 1 proxify
//! is given the orphans of APP, and reaps them too. Another thread's child is that thread's to wait for.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::process::{CommandExt, parent_id};
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getsid};
use tracing::{debug, warn};

use crate::signals::{Inherited, Received, Signals};

/// APP while it runs.
#[derive(Debug)]
pub(crate) struct App {
    pid: Pid,
}

/// How APP ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl App {
    /// Starts APP. To be called from the main thread: APP is killed when the thread that started
    /// it ends (prctl(2), PR_SET_PDEATHSIG).
    ///
    /// # Errors
    ///
    /// It is not there, or cannot be executed.
    pub(crate) fn start(
        program: &OsStr,
        args: &[OsString],
        inherited: Inherited,
    ) -> Result<Self, StartError> {
        let proxify = std::process::id();
        let mut command = Command::new(program);
        command.args(args);
        // SAFETY: only system calls are made between fork and exec.
        unsafe {
            command.pre_exec(move || {
                set_pdeathsig(Signal::SIGKILL)?;
                // If proxify was killed before that, nobody would send it.
                if parent_id() != proxify {
                    return Err(io::Error::from(Errno::ESRCH));
                }
                Ok(inherited.restore()?)
            });
        }
        let child = command
            .spawn()
            .map_err(|source| StartError::new(program, source))?;
        let pid = Pid::from_raw(child.id().cast_signed());
        debug!(%pid, ?program, "APP started");
        Ok(Self { pid })
    }

    /// Passes signals on until APP has ended.
    ///
    /// # Errors
    ///
    /// Signals cannot be read any more.
    pub(crate) async fn wait(self, signals: &mut Signals) -> io::Result<End> {
        loop {
            if let Some(end) = self.reap() {
                return Ok(end);
            }
            match signals.next().await? {
                Received {
                    signal: Signal::SIGCHLD,
                    ..
                } => {}
                received => self.forward(received),
            }
        }
    }

    /// Collects every child that has ended or stopped; says how APP ended, if it did.
    fn reap(&self) -> Option<End> {
        while let Some((pid, status)) = wait_any() {
            if pid != self.pid {
                debug!(%pid, status, "orphan reaped");
            } else if libc::WIFEXITED(status) {
                return Some(End::Exited(libc::WEXITSTATUS(status)));
            } else if libc::WIFSIGNALED(status) {
                return Some(End::Killed(libc::WTERMSIG(status)));
            } else if libc::WIFSTOPPED(status) {
                stop_as(libc::WSTOPSIG(status));
            }
        }
        None
    }

    fn forward(&self, received: Received) {
        if self.has_it_already(received) {
            return;
        }
        match kill(self.pid, received.signal) {
            Ok(()) => debug!(signal = %received.signal, "passed on to APP"),
            Err(error) => warn!(signal = %received.signal, %error, "cannot be passed on to APP"),
        }
    }

    /// The terminal signals the whole process group, APP in it. Only a hangup goes to the session
    /// leader alone.
    fn has_it_already(&self, received: Received) -> bool {
        let alone = received.signal == Signal::SIGHUP && getsid(None) == Ok(getpid());
        received.from_kernel && !alone && getpgid(Some(self.pid)) == Ok(getpgrp())
    }
}

impl End {
    /// The exit code that a shell would give: the status, or 128 + N.
    pub(crate) fn code(self) -> u8 {
        let code = match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => 128 + signal,
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

/// One child that has ended or stopped, and its raw status: real-time signals have no name.
fn wait_any() -> Option<(Pid, i32)> {
    let mut status = 0;
    let options = libc::WNOHANG | libc::WUNTRACED | libc::__WNOTHREAD;
    // SAFETY: `status` is a valid place to write to.
    let result = unsafe { libc::waitpid(-1, &raw mut status, options) };
    match Errno::result(result) {
        Ok(0) | Err(_) => None,
        Ok(pid) => Some((Pid::from_raw(pid), status)),
    }
}

/// Stops proxify as APP was stopped, so that the shell that waits for proxify has its terminal
/// back (ctrl-Z). `fg` continues both. Where nobody could continue us the kernel ignores the
/// signal (an orphaned process group, setpgid(2)).
fn stop_as(signal: i32) {
    let stopped = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU]
        .into_iter()
        .find(|each| *each as i32 == signal);
    let (Some(signal), Ok(_)) = (stopped, File::open("/dev/tty")) else {
        return;
    };
    debug!(%signal, "APP is stopped, and proxify with it");
    // Sent while it is blocked, so that it is one with the terminal's, if that still waits to be
    // read, and `fg` is needed once.
    let stop = || {
        let only = SigSet::from(signal);
        let mask = only.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let sent = kill(getpid(), signal);
        only.thread_unblock()?;
        mask.thread_set_mask().and(sent)
    };
    if let Err(error) = stop() {
        warn!(%signal, %error, "cannot stop with APP");
    }
}

/// Why APP does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// No such program.
    #[error("cannot run {program}: {source}; {hint}")]
    NotFound {
        program: String,
        source: io::Error,
        hint: &'static str,
    },
    /// It is there, but no program.
    #[error("cannot run {program}: {source}; {hint}")]
    NotExecutable {
        program: String,
        source: io::Error,
        hint: &'static str,
    },
}

impl StartError {
    fn new(program: &OsStr, source: io::Error) -> Self {
        let path = Path::new(program);
        let by_path = path.components().count() > 1 || path.is_absolute();
        let program = path.display().to_string();
        let hint = match source.kind() {
            ErrorKind::NotFound if by_path && fs::metadata(path).is_ok() => {
                let hint = "the file is there: what its first line or its ELF header names to \
                            run it, such as /lib64/ld-linux-x86-64.so.2, is not in this image";
                return Self::NotExecutable {
                    program,
                    source,
                    hint,
                };
            }
            ErrorKind::NotFound => {
                let hint = if by_path {
                    "there is no such file"
                } else {
                    "it is not in PATH"
                };
                return Self::NotFound {
                    program,
                    source,
                    hint,
                };
            }
            ErrorKind::PermissionDenied if fs::metadata(path).is_ok_and(|file| file.is_dir()) => {
                "it is a directory"
            }
            ErrorKind::PermissionDenied if !by_path => {
                "what PATH has by that name needs execute permission (chmod +x), or a directory of \
                 PATH is closed to this user"
            }
            ErrorKind::PermissionDenied => {
                "it needs execute permission (chmod +x), also on each \
                                            directory above it, and a file system without noexec"
            }
            _ => "it is not a program for this machine, or a script without #! in its first line",
        };
        Self::NotExecutable {
            program,
            source,
            hint,
        }
    }

    /// What shells and env(1) exit with.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
        }
    }
}
