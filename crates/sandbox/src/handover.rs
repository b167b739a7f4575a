//! Descriptors handed to a child process: a pipe through which it says that it is ready, or a socket.

use std::env;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::process::{Child, Command};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Names the descriptor that a role of the sandbox was handed.
pub(crate) const VARIABLE: &str = "SANDBOX_FD";

/// The longest that VPC and relay may take to be ready. They need milliseconds; a loaded machine may need seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// Starts a role of the sandbox and hands it `end`.
pub(crate) fn spawn(command: &mut Command, end: impl Into<OwnedFd>) -> io::Result<Child> {
    let end = inheritable(end)?;
    command.env(VARIABLE, end.as_raw_fd().to_string()).spawn()
}

/// `end`, so that the children started while it is open have it too.
fn inheritable(end: impl Into<OwnedFd>) -> io::Result<OwnedFd> {
    let end = end.into();
    fcntl(&end, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(end)
}

/// What the parent handed us with [`spawn`]; to be called once.
pub(crate) fn take() -> io::Result<OwnedFd> {
    let number: RawFd = env::var(VARIABLE)
        .ok()
        .and_then(|number| number.parse().ok())
        .filter(|number| *number > 2)
        .ok_or_else(|| io::Error::other(format!("{VARIABLE} names no descriptor")))?;
    // SAFETY: `spawn` opened this descriptor for the process that runs this role and for nothing else in it, and each
    // role takes it once, before it opens anything. fcntl below fails if it is not open.
    let end = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(end)
}

/// A pipe through which a child says that it is ready.
pub(crate) struct Readiness {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Readiness {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader, writer })
    }

    /// Starts a role that calls [`ready`] on what it [`take`]s.
    pub(crate) fn spawn(self, command: &mut Command) -> io::Result<(Child, Starting)> {
        let child = spawn(command, self.writer)?;
        Ok((child, Starting(self.reader)))
    }

    /// Starts a program that takes `--ready-fd N`.
    pub(crate) fn spawn_with_option(self, command: &mut Command) -> io::Result<(Child, Starting)> {
        let writer = inheritable(self.writer)?;
        let child = command
            .arg("--ready-fd")
            .arg(writer.as_raw_fd().to_string())
            .spawn()?;
        Ok((child, Starting(self.reader)))
    }
}

/// A child that has not yet said that it is ready.
#[derive(Debug)]
pub(crate) struct Starting(PipeReader);

impl Starting {
    /// Waits until it does.
    pub(crate) fn wait(self) -> io::Result<()> {
        let timeout = PollTimeout::try_from(READY_TIMEOUT).unwrap_or(PollTimeout::NONE);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, timeout) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) if (&self.0).read(&mut [0])? > 0 => return Ok(()),
                Ok(_) => return Err(io::Error::other("it ended before (see above)")),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Tells the parent's [`Starting::wait`] that we are ready.
pub(crate) fn ready(end: OwnedFd) -> io::Result<()> {
    PipeWriter::from(end).write_all(b"\n")
}
