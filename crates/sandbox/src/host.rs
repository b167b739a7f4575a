//! The process that the user started: makes the namespaces, starts the rest in them, passes signals in and the exit
//! status out.

use std::env;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::kill;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::handover;
use crate::namespaces::{self, EnterError};
use crate::roles;
use crate::signals::{Event, Signals};
use crate::terminal::Terminal;

/// Makes a sandbox, waits for CMD in it, and gives CMD's exit status.
pub(crate) fn run() -> Result<ExitCode, HostError> {
    // Before anything is started, so that no signal is lost in between.
    let signals = Signals::block().map_err(HostError::Signals)?;
    namespaces::enter()?;
    let terminal = Terminal::to_ourselves();
    let (mut lifeline, theirs) = UnixStream::pair().map_err(HostError::Start)?;
    // By its path, so that it is opened in the new mount namespace: a file opened in the host's cannot be bind mounted.
    let program = env::current_exe().map_err(HostError::Start)?;
    let mut init = roles::again(program, roles::INIT);
    signals.before().apply(&mut init);
    if terminal.is_some() {
        init.process_group(0);
    }
    let init = handover::spawn(&mut init, theirs).map_err(HostError::Start)?;
    let init = pid(init.id());
    if let Some(terminal) = &terminal {
        terminal.lend(init).map_err(HostError::Terminal)?;
    }
    // It goes on only now, and not if we are dead.
    lifeline.write_all(b"\n").map_err(HostError::Start)?;

    let code = supervise(&signals, &lifeline, terminal.as_ref(), init);
    if let Some(terminal) = &terminal {
        // A terminal that has gone away needs no owner.
        let _ = terminal.take_back();
    }
    code.map(ExitCode::from)
}

fn supervise(
    signals: &Signals,
    mut lifeline: &UnixStream,
    terminal: Option<&Terminal>,
    init: Pid,
) -> Result<u8, HostError> {
    loop {
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(lifeline.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.map_err(HostError::Signals)?,
        };
        let [signal, said] = fds.map(|fd| fd.any().unwrap_or(false));
        if signal {
            match signals.next().map_err(HostError::Signals)? {
                // Gone already is as good as reached.
                Event::PassOn(signal) => drop(kill(init, signal)),
                Event::Child => {
                    let status =
                        waitpid(init, Some(WaitPidFlag::WNOHANG)).map_err(HostError::Signals)?;
                    if let Some(code) = exit_code(status) {
                        return Ok(code);
                    }
                }
                Event::Continued => {
                    if let Some(terminal) = terminal {
                        terminal.go_on(init).map_err(HostError::Terminal)?;
                    }
                }
                Event::Nothing => {}
            }
        } else if said {
            // One byte each time that CMD stops; the end of file comes with its exit status.
            if lifeline.read(&mut [0]).map_err(HostError::Start)? == 0 {
                return wait(init);
            }
            if let Some(terminal) = terminal {
                terminal.stop_with(init).map_err(HostError::Terminal)?;
            }
        }
    }
}

fn wait(init: Pid) -> Result<u8, HostError> {
    loop {
        match waitpid(init, None) {
            Err(Errno::EINTR) => {}
            other => {
                if let Some(code) = exit_code(other.map_err(HostError::Signals)?) {
                    return Ok(code);
                }
            }
        }
    }
}

/// A process id as nix has it.
pub(crate) fn pid(id: u32) -> Pid {
    // Linux's process ids end at 2^22.
    Pid::from_raw(i32::try_from(id).unwrap_or(i32::MAX))
}

/// The exit status that stands for the way a child ended, as shells have it; none if it has not.
pub(crate) fn exit_code(status: WaitStatus) -> Option<u8> {
    match status {
        WaitStatus::Exited(_, code) => Some(u8::try_from(code & 0xFF).unwrap_or(u8::MAX)),
        WaitStatus::Signaled(_, signal, _) => {
            Some(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))
        }
        _ => None,
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error(transparent)]
    Enter(#[from] EnterError),
    #[error("cannot start the sandbox's first process: {0}")]
    Start(io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(Errno),
    #[error("cannot hand over the terminal: {0}")]
    Terminal(Errno),
}
