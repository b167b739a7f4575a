//! Signals as events: children that end, and what is to be passed on towards CMD.
//!
//! A signal of the terminal (^C, hangup) has reached every process of its foreground group already, CMD among them,
//! and must not be passed on a second time. The kernel marks those (SI_KERNEL); sent ones carry another code.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What is passed on. TSTP keeps its default: a shell stops the sandbox as it does any job.
const PASSED_ON: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// `si_code` of a signal that the kernel itself sent, a terminal's among them (sigaction(2)).
const SI_KERNEL: i32 = 0x80;

/// A queue of signals, instead of their delivery.
#[derive(Debug)]
pub(crate) struct Signals {
    queue: SignalFd,
    before: Mask,
}

/// Which signals were blocked when the program started: children start with the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask(SigSet);

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Some child ended.
    Child,
    /// To be sent on.
    PassOn(Signal),
    /// This process was continued.
    Continued,
    /// Nothing.
    Nothing,
}

impl Signals {
    /// Blocks the signals in this thread, which must be the only one.
    pub(crate) fn block() -> Result<Self, Errno> {
        let mut set: SigSet = PASSED_ON.into_iter().collect();
        set.add(Signal::SIGCHLD);
        set.add(Signal::SIGCONT);
        let before = Mask(set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?);
        let queue = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { queue, before })
    }

    /// What children are to start with.
    pub(crate) fn before(&self) -> Mask {
        self.before
    }

    /// Waits for the next one.
    pub(crate) fn next(&self) -> Result<Event, Errno> {
        let signal = match self.queue.read_signal() {
            Err(Errno::EINTR) => return Ok(Event::Nothing),
            other => other?,
        };
        let Some(info) = signal else {
            return Ok(Event::Nothing);
        };
        let number = i32::try_from(info.ssi_signo).ok();
        Ok(
            match number.and_then(|number| Signal::try_from(number).ok()) {
                Some(Signal::SIGCHLD) => Event::Child,
                Some(Signal::SIGCONT) => Event::Continued,
                Some(signal) if info.ssi_code != SI_KERNEL => Event::PassOn(signal),
                _ => Event::Nothing,
            },
        )
    }
}

impl Mask {
    /// Has `command` start with these blocked and no others.
    pub(crate) fn apply(self, command: &mut Command) {
        // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed: it makes one
        // system call (rt_sigprocmask) on its own copy of the mask, and allocates nothing.
        unsafe { command.pre_exec(move || self.0.thread_set_mask().map_err(io::Error::from)) };
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}
