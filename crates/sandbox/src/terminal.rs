//! The caller's terminal, lent to CMD while it runs in the foreground.
//!
//! A terminal knows its foreground by a process group, and the caller's group does not exist in the sandbox's PID
//! namespace: a shell in there sees group 0, and dash fails on handing the terminal back to it. So where the sandbox
//! has the terminal for itself, its inner processes are a group of their own, and get the foreground; when CMD stops
//! (^Z), it returns to the caller's group and the sandbox stops too, as the caller's shell expects of a job.
//!
//! In a pipeline (`sandbox CMD | less`) others of our group need the terminal: there nothing is lent, and all stay one
//! group.

use std::fs::File;
use std::io::{self, IsTerminal as _};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// A terminal to lend, in the process that the caller started.
#[derive(Debug)]
pub(crate) struct Terminal {
    device: File,
    ours: Pid,
}

impl Terminal {
    /// The controlling terminal, if we are in its foreground and all that we read and write is it.
    pub(crate) fn to_ourselves() -> Option<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() || !io::stderr().is_terminal()
        {
            return None;
        }
        let device = File::options()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        let terminal = Self {
            device,
            ours: getpgrp(),
        };
        terminal.is_ours().then_some(terminal)
    }

    /// Puts `group` into the foreground, if we are there.
    pub(crate) fn lend(&self, group: Pid) -> Result<(), Errno> {
        if self.is_ours() {
            tcsetpgrp(&self.device, group)?;
        }
        Ok(())
    }

    /// Takes the foreground back from whoever in the sandbox has it.
    pub(crate) fn take_back(&self) -> Result<(), Errno> {
        // From the background this stops the caller unless SIGTTOU is blocked (tcsetpgrp(3)).
        let before = SigSet::from(Signal::SIGTTOU).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let taken = tcsetpgrp(&self.device, self.ours);
        before.thread_set_mask()?;
        taken
    }

    /// Stops our process group (`cargo run` may be in it, and the shell waits for that) as `group` has been stopped, and
    /// continues both when the caller wishes.
    pub(crate) fn stop_with(&self, group: Pid) -> Result<(), Errno> {
        self.take_back()?;
        // Returns when someone continues us; at once if no shell is there to do so (an orphaned process group).
        killpg(self.ours, Signal::SIGTSTP)?;
        self.go_on(group)
    }

    /// Continues `group`, in the foreground if we were put there.
    pub(crate) fn go_on(&self, group: Pid) -> Result<(), Errno> {
        self.lend(group)?;
        killpg(group, Signal::SIGCONT)
    }

    fn is_ours(&self) -> bool {
        tcgetpgrp(&self.device) == Ok(self.ours)
    }
}
