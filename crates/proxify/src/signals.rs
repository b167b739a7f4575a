//! Signals as a stream: blocked before the runtime starts, read by signalfd(2).
//!
//! A descriptor tells what a handler cannot: who sent a signal. What the terminal sends (ctrl-C)
//! reaches APP by itself, what `kill` sends to proxify has to be passed on.

use std::io;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

use crate::descriptors::{self, Descriptors};

/// What is passed on to APP.
pub(crate) const FORWARDED: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGTSTP,
];

/// What ends proxify while no APP runs.
pub(crate) const ENDING: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// The signals of this process.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: AsyncFd<SignalFd>,
}

/// A signal, and whether the kernel sent it, as it does for the terminal (SI_KERNEL, sigaction(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) signal: Signal,
    pub(crate) from_kernel: bool,
}

/// How signals and the limit on descriptors stood when proxify was started: APP gets them so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inherited {
    mask: SigSet,
    child: SigHandler,
    descriptors: Option<Descriptors>,
}

/// Blocks what [`Signals`] reads, in this thread and those that it starts, and raises the limit on
/// descriptors.
///
/// # Errors
///
/// What the system says; it has no reason to.
pub(crate) fn block() -> Result<Inherited, Errno> {
    // SAFETY: no handler is installed. An ignored SIGCHLD would have the kernel reap APP unseen.
    let child = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    let mask = SigSet::thread_get_mask()?;
    ours().thread_block()?;
    let descriptors = descriptors::raise();
    Ok(Inherited {
        mask,
        child,
        descriptors,
    })
}

impl Inherited {
    /// Gives them back, between fork and exec. Makes system calls only.
    pub(crate) fn restore(&self) -> Result<(), Errno> {
        // SAFETY: no handler is installed: it is the default or to ignore, as it was.
        unsafe { signal(Signal::SIGCHLD, self.child) }?;
        if let Some(descriptors) = self.descriptors {
            descriptors.restore()?;
        }
        self.mask.thread_set_mask()
    }
}

impl Signals {
    /// Reads what [`block`] has blocked. Needs the runtime.
    ///
    /// # Errors
    ///
    /// No descriptor to be had.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signalfd = SignalFd::with_flags(&ours(), flags)?;
        // SAFETY: `SignalFd` owns its descriptor, and gives the same one until it is dropped.
        let descriptor = unsafe { AsyncFd::register(signalfd) }?;
        Ok(Self { descriptor })
    }

    /// The next signal.
    ///
    /// # Errors
    ///
    /// What reading says; it has no reason to.
    pub(crate) async fn next(&mut self) -> io::Result<Received> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            match ready.get_inner().read_signal()? {
                None => ready.clear_ready(),
                Some(info) => {
                    let number = info.ssi_signo.cast_signed();
                    // Only what `ours` names is ever read.
                    if let Ok(signal) = Signal::try_from(number) {
                        return Ok(Received {
                            signal,
                            from_kernel: info.ssi_code == libc::SI_KERNEL,
                        });
                    }
                }
            }
        }
    }

    /// The next signal that ends a proxify without APP.
    ///
    /// # Errors
    ///
    /// As [`Self::next`].
    pub(crate) async fn ending(&mut self) -> io::Result<Signal> {
        loop {
            let signal = self.next().await?.signal;
            if ENDING.contains(&signal) {
                return Ok(signal);
            }
        }
    }
}

fn ours() -> SigSet {
    FORWARDED.into_iter().chain([Signal::SIGCHLD]).collect()
}
